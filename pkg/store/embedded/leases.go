package embedded

import (
	"context"
	"time"
)

// Leases hands out named leases. One server holds the folder, so that it gets
// each of them; what they are for is the same program on a shared store.
type Leases struct{ db *db }

// Acquire takes the lease, or extends the holder's own, until now+ttl. It
// reports false while another holds it.
func (s *Leases) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (bool, error) {
	held := false
	err := s.db.write(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO leases (name, holder, until) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE
			SET holder = excluded.holder, until = excluded.until WHERE holder = excluded.holder OR until <= ?`,
			name, holder, milliCeil(now.Add(ttl)), now.UnixMilli())
		held = n > 0
		return err
	})
	return held && err == nil, wrap(err, "acquire lease %s", name)
}

// Release gives the holder's lease back. One that is another's, or nobody's,
// is left alone.
func (s *Leases) Release(ctx context.Context, name, holder string) error {
	err := s.db.write(ctx, func(t *tx) error {
		_, err := t.exec("DELETE FROM leases WHERE name = ? AND holder = ?", name, holder)
		return err
	})
	return wrap(err, "release lease %s", name)
}
