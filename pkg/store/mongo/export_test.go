package mongo

import (
	"context"
	"time"
)

// Sweep removes the contents that no file has and that nobody worked on since.
func (s *Store) Sweep(ctx context.Context, since time.Time) error {
	return s.Files.contents.sweep(ctx, since)
}

// KeepAlive is what a Put that is under way does now and then.
func (s *Store) KeepAlive(ctx context.Context, content string) error {
	return s.Files.contents.keepAlive(ctx, content)
}
