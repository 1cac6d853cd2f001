package progress_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

func TestAttach(t *testing.T) {
	w := newWorld(t)
	w.event("e1", nil)
	f := w.claim("w-1")
	cases := []struct {
		name, worker, token, session string
		kind                         error // nil: let in
	}{
		{"unknown worker", "w-2", "token", "a", cyclone.ErrConflict},
		{"no worker", "", "token", "a", cyclone.ErrForbidden},
		{"no session", "w-1", "token", "", cyclone.ErrForbidden},
		{"wrong token", "w-1", "other", "a", cyclone.ErrForbidden},
		{"first session", "w-1", "token", "a", nil},
		{"reconnect", "w-1", "token", "a", nil},
		{"token used again by another", "w-1", "token", "b", cyclone.ErrForbidden},
		{"wrong token of the right session", "w-1", "other", "a", cyclone.ErrForbidden},
	}
	for _, c := range cases {
		got, engine, err := w.Attach(t.Context(), cyclone.WorkerID(c.worker), c.token, c.session)
		if c.kind != nil {
			wantKind(t, err, c.kind)
			continue
		}
		if err != nil || got != f || engine.RegistryMirror == "" {
			t.Errorf("%s: Attach = %+v, %+v, %v", c.name, got, engine, err)
		}
	}
	if e := w.find("e1"); cmp.Equal(e.Run.SessionHash, []byte("a")) || cmp.Equal(e.Run.TokenHash, []byte("token")) {
		t.Error("token or session key is stored in clear")
	}
}

// A one-time token is good for one session, also when many try at once.
func TestAttachOnlyOneSessionBinds(t *testing.T) {
	w := newWorld(t)
	w.event("e1", nil)
	w.claim("w-1")
	var wg sync.WaitGroup
	let := make(chan int, 20)
	for i := range 20 {
		wg.Go(func() {
			if _, _, err := w.Attach(t.Context(), "w-1", "token", fmt.Sprint("session ", i)); err == nil {
				let <- i
			}
		})
	}
	wg.Wait()
	if len(let) != 1 {
		t.Errorf("%d sessions were let in with one token", len(let))
	}
}

// Invariant: a late writer of an older attempt gets ErrConflict and changes
// nothing.
func TestOlderAttemptIsFenced(t *testing.T) {
	w := newWorld(t)
	old := w.running("e1")
	w.must(w.Append(t.Context(), old, chunk(t, 1, "one")))
	w.must(w.Lost(t.Context(), w.find("e1"), "its container is gone"))
	now := w.claim("w-new")
	if now.Attempt != old.Attempt+1 {
		t.Fatalf("attempt is %d after %d", now.Attempt, old.Attempt)
	}
	before, log := w.find("e1"), w.text("e1")
	next := int64(len(log)) + 1
	writes := map[string]func(cyclone.Fence) error{
		"append": func(f cyclone.Fence) error { return w.Append(t.Context(), f, chunk(t, next, "late")) },
		"report": func(f cyclone.Fence) error { return w.Report(t.Context(), f, cyclone.Report{Version: "x"}) },
		"finish": func(f cyclone.Fence) error {
			return w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusFailure, LastLine: 1})
		},
		"renew": func(f cyclone.Fence) error { _, err := w.Renew(t.Context(), f); return err },
		"job":   func(f cyclone.Fence) error { _, err := w.Job(t.Context(), f); return err },
	}
	for name, write := range writes {
		for what, f := range map[string]cyclone.Fence{
			"older attempt": old,
			"other worker":  {Event: "e1", Worker: "w-x", Attempt: now.Attempt},
			"its number":    {Event: "e1", Worker: old.Worker, Attempt: now.Attempt},
		} {
			t.Run(name+" of "+what, func(t *testing.T) { wantKind(t, write(f), cyclone.ErrConflict) })
		}
	}
	if diff := cmp.Diff(before, w.find("e1")); diff != "" {
		t.Errorf("the event changed:\n%s", diff)
	}
	if diff := cmp.Diff(log, w.text("e1")); diff != "" {
		t.Errorf("the log changed:\n%s", diff)
	}
}

// Invariant: a final status never changes, whoever tries.
func TestFinalStatusNeverChanges(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	stale := w.find("e1")
	w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}))
	_, err := w.Cancel(t.Context(), "e1", "too late")
	wantKind(t, err, cyclone.ErrConflict)
	_, err = w.Approve(t.Context(), "e1", "alice")
	wantKind(t, err, cyclone.ErrConflict)
	wantKind(t, w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusFailure}), cyclone.ErrConflict)
	wantKind(t, w.Report(t.Context(), f, cyclone.Report{}), cyclone.ErrConflict)
	w.must(w.Lost(t.Context(), stale, "seen too late"))
	w.must(w.LaunchFailed(t.Context(), stale, fmt.Errorf("seen too late")))
	w.wantStatus("e1", cyclone.StatusSuccess)
}

func TestReport(t *testing.T) {
	w := newWorld(t)
	w.event("e1", func(e *cyclone.Event) { e.Commit.SHA = "" })
	f := w.claim("w-1")
	w.must(w.Append(t.Context(), f, chunk(t, 1, "a", "b")))
	changes := w.Hub.Subscribe("e1")
	defer changes.Close()
	r := cyclone.Report{
		Commit: cyclone.Commit{SHA: sha, Message: "Fix"}, Version: "ci-3f2a1b9", Config: []byte("build: {}"),
		Image:  cyclone.Image{Name: "r/o", Tag: "ci-3f2a1b9", Digest: "sha256:1"},
		Stages: []cyclone.StageState{{Name: cyclone.StageClone, Status: cyclone.StatusSuccess}},
	}
	w.must(w.Report(t.Context(), f, r))
	w.must(w.Report(t.Context(), f, r)) // twice does no harm
	e := w.find("e1")
	if e.Commit != r.Commit || e.Version != r.Version || e.Image != r.Image || string(e.Run.Config) != "build: {}" || e.LogLines != 2 {
		t.Errorf("event is %+v", e)
	}
	// What pinned the event stays.
	other := r
	other.Commit, other.Version, other.Config = cyclone.Commit{SHA: "b" + sha[1:], Message: "x"}, "other", []byte("x")
	w.must(w.Report(t.Context(), f, other))
	e = w.find("e1")
	if e.Commit != r.Commit || e.Version != r.Version || string(e.Run.Config) != "build: {}" {
		t.Errorf("pinned values were replaced: %+v", e)
	}
	m, err := changes.Next(t.Context())
	w.must(err)
	if shown, ok := m.Value.(*cyclone.Event); !ok || len(shown.Stages) != 1 {
		t.Errorf("viewers got %+v", m.Value)
	}
}

func TestRenew(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	base := time.Now()
	w.Now = func() time.Time { return base.Add(time.Hour) }
	if cancel, err := w.Renew(t.Context(), f); err != nil || cancel != nil {
		t.Errorf("Renew = %+v, %v", cancel, err)
	}
	if until := w.find("e1").Run.LeaseUntil; until.Before(base.Add(time.Hour)) {
		t.Errorf("lease runs out at %v", until)
	}
	_, err := w.Cancel(t.Context(), "e1", "no longer needed")
	w.must(err)
	if cancel, err := w.Renew(t.Context(), f); err != nil || cancel == nil || cancel.Reason != "no longer needed" {
		t.Errorf("Renew = %+v, %v", cancel, err)
	}
}

// watchedLog calls stored between the moment a chunk is stored and the moment
// Append returns.
type watchedLog struct {
	cyclone.LogStore
	stored func(cyclone.Chunk)
}

func (l watchedLog) Append(ctx context.Context, id cyclone.EventID, c cyclone.Chunk) error {
	err := l.LogStore.Append(ctx, id, c)
	if err == nil {
		l.stored(c)
	}
	return err
}

// Invariant: a line a viewer saw is in the stored log, with the same number.
func TestStoredBeforeSeen(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	r := w.Hub.Subscribe("e1")
	defer r.Close()
	inner := w.Logs
	w.Logs = watchedLog{inner, func(cyclone.Chunk) {
		// When the store has it nobody has seen it yet.
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if m, err := r.Next(ctx); err == nil {
			t.Errorf("a viewer saw %+v before it was stored", m.Value)
		}
	}}
	for i := range int64(5) {
		w.must(w.Append(t.Context(), f, chunk(t, i+1, fmt.Sprint("line ", i+1))))
		m, err := r.Next(t.Context())
		w.must(err)
		c, ok := m.Value.(cyclone.Chunk)
		last, err := inner.Last(t.Context(), "e1")
		w.must(err)
		if !ok || last < c.Last() {
			t.Errorf("viewers have line %d, the store ends at %d", c.Last(), last)
		}
	}
}

type fullLog struct{ cyclone.LogStore }

func (fullLog) Append(context.Context, cyclone.EventID, cyclone.Chunk) error {
	return cyclone.Unavailable("the disk is full")
}

func TestNotStoredNotSeen(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	r := w.Hub.Subscribe("e1")
	defer r.Close()
	logs := w.Logs
	w.Logs = fullLog{logs}
	wantKind(t, w.Append(t.Context(), f, chunk(t, 1, "x")), cyclone.ErrUnavailable)
	w.Logs = logs
	wantKind(t, w.Append(t.Context(), f, chunk(t, 3, "gap")), cyclone.ErrConflict)
	first := chunk(t, 1, "first")
	w.must(w.Append(t.Context(), f, first))
	w.must(w.Append(t.Context(), f, first))       // sent again
	w.Partial(f, cyclone.Line{N: 1, Text: "fir"}) // late
	w.Partial(f, cyclone.Line{N: 2, Text: "sec"})
	for _, want := range []int64{1, 2} {
		m, err := r.Next(t.Context())
		w.must(err)
		switch v := m.Value.(type) {
		case cyclone.Chunk:
			if v.First != want {
				t.Errorf("viewers got chunk %d; want %d", v.First, want)
			}
		case cyclone.Line:
			if v.N != want {
				t.Errorf("viewers got partial line %d; want %d", v.N, want)
			}
		}
	}
}

func TestApprove(t *testing.T) {
	w := newWorld(t)
	woken := 0
	w.Wake = func() { woken++ }
	w.event("e1", func(e *cyclone.Event) { e.Status = cyclone.StatusBlocked })
	e, err := w.Approve(t.Context(), "e1", "alice")
	if err != nil || e.Status != cyclone.StatusPending || e.Reason != "approved by alice" || woken != 1 {
		t.Errorf("Approve = %+v, %v; woken %d times", e, err, woken)
	}
	_, err = w.Approve(t.Context(), "e1", "alice")
	wantKind(t, err, cyclone.ErrConflict)
	_, err = w.Approve(t.Context(), "nothing", "alice")
	wantKind(t, err, cyclone.ErrNotFound)
}
