package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

func claim(project cyclone.ProjectName, worker string) cyclone.Claim {
	return cyclone.Claim{
		Project: project, Worker: cyclone.WorkerID(worker), Node: "node of " + worker,
		TokenHash: []byte("token of " + worker), Now: at(100), Lease: time.Minute,
	}
}

func fence(e *cyclone.Event) cyclone.Fence {
	return cyclone.Fence{Event: e.ID, Worker: e.Worker.ID, Attempt: e.Worker.Attempt}
}

var queue = []clause{
	{"Claim gives the oldest pending event worker, node, lease, token and attempt", func(t *testing.T, s Stores) {
		made := create(t, s, "orders", 2)
		create(t, s, "other", 1)
		got := must1(s.Queue.Claim(t.Context(), claim("orders", "w1")))(t)
		now := cyclone.Stamp(at(100))
		want := stored(made[0])
		want.Status, want.StartedAt = cyclone.StatusRunning, &now
		want.Worker = cyclone.WorkerRef{ID: "w1", Node: "node of w1", Attempt: 1}
		want.Run.LeaseUntil, want.Run.TokenHash = now.Add(time.Minute), []byte("token of w1")
		want.Run.Revision = 2
		same(t, want, got, "claimed event")
		same(t, want, must1(s.Events.Find(t.Context(), got.ID))(t), "claimed event as stored")
	}},
	{"Claim without a pending event is ErrNotFound", func(t *testing.T, s Stores) {
		_, err := s.Queue.Claim(t.Context(), claim("orders", "w"))
		is(t, err, cyclone.ErrNotFound, "Claim of nothing")
		for _, status := range cyclone.Statuses {
			if status != cyclone.StatusPending {
				e := newEvent("orders")
				e.Status = status
				must(t, s.Events.Create(t.Context(), e))
			}
		}
		_, err = s.Queue.Claim(t.Context(), claim("orders", "w"))
		is(t, err, cyclone.ErrNotFound, "Claim among events that are not pending")
	}},
	{"20 claimers: each event has one owner, and each project's go oldest first", claimers},
	{"a released event goes first again, as the next attempt without the old session", func(t *testing.T, s Stores) {
		create(t, s, "orders", 2)
		e := must1(s.Queue.Claim(t.Context(), claim("orders", "w1")))(t)
		old := fence(e)
		e.Run.SessionHash = []byte("session")
		must(t, s.Events.Replace(t.Context(), e))
		e.Status, e.Worker.ID, e.Worker.Node, e.Run.LeaseUntil, e.Reason = cyclone.StatusPending, "", "", time.Time{}, "worker lost"
		must(t, s.Events.Replace(t.Context(), e))
		_, err := s.Queue.Renew(t.Context(), old, at(200))
		is(t, err, cyclone.ErrConflict, "Renew of a released attempt")
		again := must1(s.Queue.Claim(t.Context(), claim("orders", "w2")))(t)
		same(t, e.ID, again.ID, "event claimed after the release")
		same(t, cyclone.WorkerRef{ID: "w2", Node: "node of w2", Attempt: 2}, again.Worker, "worker")
		if again.Run.SessionHash != nil || again.Reason != "" {
			t.Errorf("session %q and reason %q are left from the attempt before", again.Run.SessionHash, again.Reason)
		}
		_, err = s.Queue.Renew(t.Context(), old, at(200))
		is(t, err, cyclone.ErrConflict, "Renew of an older attempt")
		old.Attempt = 2
		_, err = s.Queue.Renew(t.Context(), old, at(200))
		is(t, err, cyclone.ErrConflict, "Renew by another worker")
	}},
	{"Renew extends the lease of the attempt that holds the event, and never shortens it", func(t *testing.T, s Stores) {
		create(t, s, "orders", 1)
		e := must1(s.Queue.Claim(t.Context(), claim("orders", "w1")))(t)
		renewed := must1(s.Queue.Renew(t.Context(), fence(e), at(500)))(t)
		e.Run.LeaseUntil, e.Run.Revision = cyclone.Stamp(at(500)), e.Run.Revision+1
		same(t, e, renewed, "renewed event")
		again := must1(s.Queue.Renew(t.Context(), fence(e), at(300)))(t)
		e.Run.Revision++
		same(t, e, again, "event renewed to an earlier time")
		same(t, e, must1(s.Events.Find(t.Context(), e.ID))(t), "event as stored")
		e.Status = cyclone.StatusSuccess
		must(t, s.Events.Replace(t.Context(), e))
		_, err := s.Queue.Renew(t.Context(), fence(e), at(600))
		is(t, err, cyclone.ErrConflict, "Renew of an event that is over")
		_, err = s.Queue.Renew(t.Context(), cyclone.Fence{Event: "none", Worker: "w", Attempt: 1}, at(600))
		is(t, err, cyclone.ErrConflict, "Renew of no event")
	}},
	{"a write that read before a claim or a renewal is refused", func(t *testing.T, s Stores) {
		e := create(t, s, "orders", 1)[0]
		claimed := must1(s.Queue.Claim(t.Context(), claim("orders", "w1")))(t)
		e.Status = cyclone.StatusCanceled
		is(t, s.Events.Replace(t.Context(), e), cyclone.ErrConflict, "Replace by one who saw it pending")
		must1(s.Queue.Renew(t.Context(), fence(claimed), at(500)))(t)
		is(t, s.Events.Replace(t.Context(), claimed), cyclone.ErrConflict, "Replace with the lease of before")
	}},
	{"Waiting lists projects with pending events, the longest waiting first", func(t *testing.T, s Stores) {
		same(t, 0, len(must1(s.Queue.Waiting(t.Context()))(t)), "waiting projects of an empty store")
		for i, project := range []cyclone.ProjectName{"c", "a", "b", "a", "c"} {
			e := newEvent(project)
			e.CreatedAt = at(i)
			must(t, s.Events.Create(t.Context(), e))
		}
		same(t, []cyclone.ProjectName{"c", "a", "b"}, must1(s.Queue.Waiting(t.Context()))(t), "waiting")
		must1(s.Queue.Claim(t.Context(), claim("c", "w")))(t)
		same(t, []cyclone.ProjectName{"a", "b", "c"}, must1(s.Queue.Waiting(t.Context()))(t), "waiting after c's oldest was claimed")
		must1(s.Queue.Claim(t.Context(), claim("b", "w")))(t)
		same(t, []cyclone.ProjectName{"a", "c"}, must1(s.Queue.Waiting(t.Context()))(t), "waiting after b's only one was claimed")
	}},
	{"Running lists exactly the running events", func(t *testing.T, s Stores) {
		create(t, s, "orders", 3)
		create(t, s, "other", 1)
		same(t, 0, len(must1(s.Queue.Running(t.Context()))(t)), "running events")
		a := must1(s.Queue.Claim(t.Context(), claim("orders", "w1")))(t)
		b := must1(s.Queue.Claim(t.Context(), claim("orders", "w2")))(t)
		same(t, []*cyclone.Event{a, b}, must1(s.Queue.Running(t.Context()))(t), "running events")
		a.Status = cyclone.StatusFailure
		must(t, s.Events.Replace(t.Context(), a))
		same(t, []*cyclone.Event{b}, must1(s.Queue.Running(t.Context()))(t), "running events")
	}},
	{"NoticesDue finds final events with an undone notice whose time has come", noticesDue},
}

func claimers(t *testing.T, s Stores) {
	const perProject = 15
	names := []cyclone.ProjectName{"a", "b"}
	for _, name := range names {
		create(t, s, name, perProject)
	}
	var mu sync.Mutex
	owners := map[cyclone.EventID][]string{}
	errs := together(20, func(i int) error {
		last := map[cyclone.ProjectName]int64{}
		for {
			name := names[i%2]
			e, err := s.Queue.Claim(t.Context(), claim(name, numbered(i)))
			if errors.Is(err, cyclone.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			if e.Number <= last[name] {
				return errors.New("a claimer got an older event after a younger one")
			}
			last[name] = e.Number
			mu.Lock()
			owners[e.ID] = append(owners[e.ID], string(e.Worker.ID))
			mu.Unlock()
		}
	})
	for _, err := range errs {
		must(t, err)
	}
	same(t, 2*perProject, len(owners), "events that have an owner")
	for id, who := range owners {
		e := must1(s.Events.Find(t.Context(), id))(t)
		if len(who) != 1 || string(e.Worker.ID) != who[0] || e.Worker.Attempt != 1 {
			t.Errorf("event %s was given to %v; the store says %+v", id, who, e.Worker)
		}
	}
}

func noticesDue(t *testing.T, s Stores) {
	notice := func(done bool, next time.Time) cyclone.Notice {
		return cyclone.Notice{Name: "mail", Done: done, NextAt: next}
	}
	var want []cyclone.EventID
	for i, c := range []struct {
		status  cyclone.Status
		notices []cyclone.Notice
		due     bool
	}{
		{cyclone.StatusSuccess, []cyclone.Notice{notice(false, time.Time{})}, true}, // at once
		{cyclone.StatusRunning, []cyclone.Notice{notice(false, at(1))}, true},
		{cyclone.StatusPending, []cyclone.Notice{notice(false, at(2))}, true},
		{cyclone.StatusBlocked, []cyclone.Notice{notice(true, at(1)), notice(false, at(3))}, true},
		{cyclone.StatusFailure, []cyclone.Notice{notice(true, at(1)), notice(false, at(10)), notice(false, at(99))}, true},
		{cyclone.StatusFailure, []cyclone.Notice{notice(false, at(20))}, true},
		{cyclone.StatusFailure, []cyclone.Notice{notice(false, at(21))}, false},
		{cyclone.StatusSuccess, []cyclone.Notice{notice(true, at(1))}, false},
		{cyclone.StatusSuccess, nil, false},
	} {
		e := newEvent("orders")
		e.CreatedAt = at(i)
		must(t, s.Events.Create(t.Context(), e))
		e.Status, e.Run.Notices = c.status, c.notices
		must(t, s.Events.Replace(t.Context(), e))
		if c.due {
			want = append(want, e.ID)
		}
	}
	ids := func(limit int) []cyclone.EventID {
		var got []cyclone.EventID
		for _, e := range must1(s.Queue.NoticesDue(t.Context(), at(20), limit))(t) {
			got = append(got, e.ID)
		}
		return got
	}
	same(t, want, ids(10), "events with a notice due, the longest due first")
	same(t, want[:2], ids(2), "the first two of them")
	e := must1(s.Events.Find(t.Context(), want[0]))(t)
	e.Run.Notices[0].Done = true
	must(t, s.Events.Replace(t.Context(), e))
	if slices.Contains(ids(10), e.ID) {
		t.Error("an event whose notices are done is still due")
	}
	// A claim and a renewal leave notices as they are.
	claimed := must1(s.Queue.Claim(t.Context(), claim("orders", "w")))(t)
	same(t, want[2], claimed.ID, "claimed event")
	renewed := must1(s.Queue.Renew(t.Context(), fence(claimed), at(500)))(t)
	same(t, []cyclone.Notice{{Name: "mail", NextAt: cyclone.Stamp(at(2))}}, renewed.Run.Notices, "notices of a claimed event")
	same(t, want[1:], ids(10), "events with a notice due after a claim")
}
