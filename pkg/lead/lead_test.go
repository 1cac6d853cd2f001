package lead_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/lead"
)

// shop is a store of leases that can be down and counts its calls, and a clock.
type shop struct {
	cyclone.LeaseStore
	down  bool
	asked int
	now   time.Time
}

func newShop() *shop {
	return &shop{LeaseStore: cyclonetest.NewMemory().Leases, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (s *shop) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (bool, error) {
	s.asked++
	if s.down {
		return false, cyclone.Unavailable("the store is away")
	}
	return s.LeaseStore.Acquire(ctx, name, holder, now, ttl)
}

func (s *shop) Release(ctx context.Context, name, holder string) error {
	if s.down {
		return cyclone.Unavailable("the store is away")
	}
	return s.LeaseStore.Release(ctx, name, holder)
}

func (s *shop) lease(holder string) *lead.Lease {
	return &lead.Lease{Store: s, Name: "work", Holder: holder, Now: func() time.Time { return s.now }}
}

func held(t *testing.T, l *lead.Lease, want bool, when string) {
	t.Helper()
	got, err := l.Held(t.Context())
	if err != nil || got != want {
		t.Errorf("%s: held is %v, %v; want %v", when, got, err, want)
	}
}

func TestNilLeaseIsAlwaysHeld(t *testing.T) {
	var l *lead.Lease
	held(t, l, true, "a nil lease")
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
}

func TestTheStoreIsAskedWhenAThirdHasPassed(t *testing.T) {
	s := newShop()
	a, b := s.lease("a"), s.lease("b")
	for _, c := range []struct {
		after       time.Duration
		lease       *lead.Lease
		held, asked bool
		what        string
	}{
		{0, a, true, true, "a takes it"},
		{0, b, false, true, "b finds it taken"},
		{lead.DefaultTTL/3 - time.Millisecond, a, true, false, "a has just taken it"},
		{0, b, false, true, "b asks each time"},
		{2 * time.Millisecond, a, true, true, "a extends it"},
		{lead.DefaultTTL - time.Millisecond, b, false, true, "it is a's until the extension's end"},
		{time.Millisecond, b, true, true, "b takes it over"},
		{0, a, false, true, "a has lost it"},
		{0, b, true, false, "b has just taken it"},
	} {
		s.now = s.now.Add(c.after)
		before := s.asked
		held(t, c.lease, c.held, c.what)
		if asked := s.asked > before; asked != c.asked {
			t.Errorf("%s: the store was asked: %v; want %v", c.what, asked, c.asked)
		}
	}
}

func TestHeldWhileTheStoreIsAway(t *testing.T) {
	s := newShop()
	l := s.lease("a")
	held(t, l, true, "at first")
	s.down = true
	s.now = s.now.Add(lead.DefaultTTL - time.Millisecond)
	held(t, l, true, "until the lease runs out")
	s.now = s.now.Add(time.Millisecond)
	if got, err := l.Held(t.Context()); got || !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("after it ran out: held is %v, %v; want false and that the store is unavailable", got, err)
	}
	s.down = false
	held(t, l, true, "when the store is back")
}

func TestRelease(t *testing.T) {
	s := newShop()
	a, b := s.lease("a"), s.lease("b")
	held(t, a, true, "a")
	if err := errors.Join(b.Release(t.Context()), a.Release(t.Context())); err != nil {
		t.Errorf("release: %v", err)
	}
	held(t, b, true, "b after a's release")
	if err := a.Release(t.Context()); err != nil {
		t.Errorf("release again: %v", err)
	}
	held(t, a, false, "a, as its second release released nothing")
	s.down = true
	if err := b.Release(t.Context()); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("release while the store is away: %v", err)
	}
}

func TestOneOfManyHoldsIt(t *testing.T) {
	s := cyclonetest.NewMemory()
	now := time.Now()
	var holders atomic.Int32
	var all sync.WaitGroup
	for _, holder := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		l := &lead.Lease{Store: s.Leases, Name: "work", Holder: holder, Now: func() time.Time { return now }}
		all.Go(func() {
			for range 10 {
				if got, err := l.Held(context.Background()); err != nil || !got {
					return
				}
			}
			holders.Add(1)
		})
	}
	all.Wait()
	if n := holders.Load(); n != 1 {
		t.Errorf("%d hold the lease; want 1", n)
	}
}
