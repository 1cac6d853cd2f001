package embedded_test

import (
	"database/sql"
	"errors"
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
		ID: "PATTERN", Project: "pattern", Status: cyclone.StatusSuccess, Ref: "refs/heads/main",
		Commit: cyclone.Commit{SHA: "3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c", Message: "Change something\n\nand say why", Author: "A <a@example.com>"},
		Stages: make([]cyclone.StageState, 5),
	}
	if err := errors.Join(s.Events.Create(t.Context(), pattern), s.Close()); err != nil {
		t.Fatal(err)
	}
	seed(t, raw(t, dir), n)
	return open(t, dir)
}

// seed writes events straight into the file, and makes indexes and totals
// afterwards: one by one through the store, a million would take minutes.
func seed(t testing.TB, file *sql.DB, n int) {
	t.Helper()
	file.SetMaxOpenConns(1)
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := file.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	var drop, remake string
	err := file.QueryRow(`SELECT group_concat('DROP ' || type || ' ' || name, ';'), group_concat(sql, ';')
		FROM sqlite_master WHERE tbl_name = 'events' AND type IN ('index', 'trigger') AND sql IS NOT NULL`).Scan(&drop, &remake)
	if err != nil {
		t.Fatal(err)
	}
	exec("PRAGMA synchronous = OFF")
	exec(drop)
	exec(`INSERT INTO events (id, project, number, status, kind, branch, created, key, revision, notice_due, event, run)
		SELECT printf('id-%09d', i), 'orders', i,
			CASE i % 4 WHEN 0 THEN 'pending' WHEN 1 THEN 'failure' ELSE 'success' END,
			CASE WHEN i % 50 = 0 THEN 'manual' ELSE 'push' END, CASE WHEN i % 10 = 0 THEN 'fix' ELSE 'main' END,
			1700000000000 + i * 1000, printf('key-%09d', i), 1, NULL, replace(p.event, 'PATTERN', printf('id-%09d', i)), p.run
		FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n),
			(SELECT event, run FROM events) p`, n)
	exec(remake)
	exec("INSERT INTO event_totals SELECT project, kind, status, count(*) FROM events WHERE project = 'orders' GROUP BY 1, 2, 3")
	exec("INSERT INTO branch_totals SELECT project, branch, kind, status, count(*) FROM events WHERE project = 'orders' GROUP BY 1, 2, 3, 4")
	// What was written so far must not be the first measured commit's burden.
	exec("PRAGMA synchronous = FULL")
	exec("PRAGMA wal_checkpoint(TRUNCATE)")
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
	{"claim and release", func(s *embedded.Store) error {
		e, err := s.Events.Claim(bg, cyclone.Claim{Project: "orders", Worker: "w", Now: time.Now(), Lease: time.Minute})
		if err != nil {
			return err
		}
		e.Status = cyclone.StatusPending
		return s.Events.Replace(bg, e)
	}},
	{"waiting", func(s *embedded.Store) error { return second(s.Events.Waiting(bg)) }},
	{"notices due", func(s *embedded.Store) error { return second(s.Events.NoticesDue(bg, time.Now(), 50)) }},
	{"find by key", func(s *embedded.Store) error { return second(s.Events.FindByKey(bg, "key-000000500")) }},
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
	for range 9 {
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
