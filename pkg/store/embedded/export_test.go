package embedded

import (
	"context"
	"fmt"
)

// Schema is the one that this program writes.
var Schema = len(migrations)

// LimitPages keeps the file from growing beyond so many pages, as a full disk does.
func (s *Store) LimitPages(ctx context.Context, pages int) error {
	return s.db.write(ctx, func(t *tx) error {
		return t.d.conn.QueryRowContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(new(int))
	})
}
