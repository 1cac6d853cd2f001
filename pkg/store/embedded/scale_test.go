package embedded_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
)

// seeded is a store with n events of project "orders": one in ten on branch
// "fix", one in fifty manual, a quarter failed, half succeeded, a quarter
// pending.
func seeded(t testing.TB, n int) *embedded.Store {
	t.Helper()
	dir := t.TempDir()
	s, err := embedded.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	pattern := &cyclone.Event{
		Project: "pattern", Status: cyclone.StatusSuccess, Ref: "refs/heads/main",
		Commit: cyclone.Commit{SHA: "3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c", Message: "Change something\n\nand say why", Author: "A <a@example.com>"},
		Stages: make([]cyclone.StageState, 5),
	}
	if err := s.Events.Create(t.Context(), pattern); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Straight into the file: through the store a million would take minutes.
	_, err = raw(t, dir).Exec(`
		INSERT INTO events (id, project, number, status, kind, branch, created, key, revision, notice_due, event, run)
		SELECT printf('id-%09d', i), 'orders', i, status, kind, branch, created, printf('key-%d', i), 1, NULL,
			json_set(p.event, '$.id', printf('id-%09d', i), '$.project', 'orders', '$.number', i, '$.status', status,
				'$.trigger.kind', kind, '$.branch', branch), p.run
		FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			SELECT i, 1700000000000 + i * 1000 AS created,
				CASE i % 4 WHEN 0 THEN 'pending' WHEN 1 THEN 'failure' ELSE 'success' END AS status,
				CASE WHEN i % 50 = 0 THEN 'manual' ELSE 'push' END AS kind,
				CASE WHEN i % 10 = 0 THEN 'fix' ELSE 'main' END AS branch FROM n), (SELECT event, run FROM events) p`, n)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

// operation is something whose time must not depend on the number of events.
type operation struct {
	name string
	do   func(s *embedded.Store) error
}

func list(q cyclone.EventQuery) func(*embedded.Store) error {
	return func(s *embedded.Store) error {
		l, err := s.Events.List(bg, q)
		if err == nil && len(l.Items) != 50 {
			err = fmt.Errorf("%d events listed", len(l.Items))
		}
		return err
	}
}

var final = []cyclone.Status{cyclone.StatusSuccess, cyclone.StatusFailure}

var operations = []operation{
	{"list", list(cyclone.EventQuery{})},
	{"list by project", list(cyclone.EventQuery{Project: "orders"})},
	{"list by statuses", list(cyclone.EventQuery{Statuses: final})},
	{"list by project and statuses", list(cyclone.EventQuery{Project: "orders", Statuses: final})},
	{"list by branch", list(cyclone.EventQuery{Project: "orders", Branch: "fix"})},
	{"list by branch and status", list(cyclone.EventQuery{Project: "orders", Branch: "fix", Statuses: final[:1]})},
	{"claim", func(s *embedded.Store) error {
		_, err := s.Events.Claim(bg, cyclone.Claim{Project: "orders", Worker: "w", Now: time.Now(), Lease: time.Minute})
		return err
	}},
	{"waiting", func(s *embedded.Store) error { return second(s.Events.Waiting(bg)) }},
	{"notices due", func(s *embedded.Store) error { return second(s.Events.NoticesDue(bg, time.Now(), 50)) }},
	{"find by key", func(s *embedded.Store) error { return second(s.Events.FindByKey(bg, "key-500")) }},
	{"create", func(s *embedded.Store) error {
		return s.Events.Create(bg, &cyclone.Event{Project: "orders", Status: cyclone.StatusSkipped})
	}},
}

// TestScale compares the times with few and with many events in the same run.
func TestScale(t *testing.T) {
	small, large := seeded(t, 1000), seeded(t, manyEvents)
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			few, many := fastest(t, small, op), fastest(t, large, op)
			t.Logf("1,000 events: %v; %d: %v", few, manyEvents, many)
			// A scan would take manyEvents/1,000 times as long.
			if limit := 4*few + time.Millisecond; many > limit {
				t.Errorf("takes %v with %d events, %v with 1,000; want at most %v", many, manyEvents, few, limit)
			}
		})
	}
}

// fastest is the shortest of several runs: what the work itself takes, when
// nothing else is in the way.
func fastest(t *testing.T, s *embedded.Store, op operation) time.Duration {
	t.Helper()
	var times []time.Duration
	for range 15 {
		begin := time.Now()
		if err := op.do(s); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(begin))
	}
	return slices.Min(times)
}

// BenchmarkScale measures the same up to a million events.
func BenchmarkScale(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		s := seeded(b, n)
		for _, op := range operations {
			b.Run(fmt.Sprintf("%s/%d", op.name, n), func(b *testing.B) {
				for b.Loop() {
					if err := op.do(s); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
