package progress_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
	"cyclone/pkg/logchunk"
	"cyclone/pkg/store/embeddedtest"
)

// onEmbedded puts a world on a real store.
func onEmbedded(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	s := embeddedtest.Open(t)
	w.Events, w.Queue, w.Projects, w.Logs = s.Events, s.Events, s.Projects, s.Logs
	w.must(s.Projects.Create(t.Context(), w.project))
	return w
}

// contested is an event on which workers, users and the dispatcher act at once.
type contested struct {
	*world
	id cyclone.EventID
}

func (c contested) attempt(i int) (cyclone.Fence, bool) {
	ctx := c.t.Context()
	e, err := c.Queue.Claim(ctx, cyclone.Claim{
		Project: "orders", Worker: cyclone.WorkerID(fmt.Sprint("w-", i)), Node: "local", Now: time.Now(), Lease: time.Minute,
	})
	if errors.Is(err, cyclone.ErrNotFound) {
		return cyclone.Fence{}, false
	}
	if err != nil {
		c.t.Error(err)
		return cyclone.Fence{}, false
	}
	return cyclone.Fence{Event: e.ID, Worker: e.Worker.ID, Attempt: e.Worker.Attempt}, true
}

// work appends, reports and finishes as a worker does, until it is told that
// its attempt is over.
func (c contested) work(f cyclone.Fence) {
	ctx := c.t.Context()
	last, err := c.Logs.Last(ctx, f.Event)
	if err != nil {
		c.t.Error(err)
		return
	}
	for n := last + 1; n <= last+20; n++ {
		err := c.Append(ctx, f, chunk(c.t, n, fmt.Sprintf("line of attempt %d", f.Attempt)))
		if err == nil {
			err = c.Report(ctx, f, cyclone.Report{Version: "v1"})
		}
		if err == nil {
			_, err = c.Renew(ctx, f)
		}
		if errors.Is(err, cyclone.ErrConflict) {
			return
		}
		if err != nil {
			c.t.Error(err)
			return
		}
	}
	err = c.Finish(ctx, f, cyclone.Result{Status: cyclone.StatusSuccess, LastLine: last + 20})
	if err != nil && !errors.Is(err, cyclone.ErrConflict) {
		c.t.Error(err)
	}
}

func (c contested) disturb(do func(e *cyclone.Event) error) {
	for {
		e, err := c.Events.Find(c.t.Context(), c.id)
		if err != nil {
			c.t.Error(err)
			return
		}
		if e.Status.Final() {
			return
		}
		if e.Status == cyclone.StatusRunning {
			err = do(e)
		}
		if err != nil && !errors.Is(err, cyclone.ErrConflict) {
			c.t.Error(err)
			return
		}
	}
}

// Whatever happens at once: the event gets one final status, its log has no
// gaps, viewers saw nothing that is not stored, and everybody is told once.
func TestEverythingAtOnce(t *testing.T) {
	for round := range 4 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			c := contested{onEmbedded(t), "e1"}
			e := &cyclone.Event{ID: c.id, Project: "orders", Status: cyclone.StatusPending, CreatedAt: time.Now()}
			c.must(c.Events.Create(t.Context(), e))
			stop := c.start()
			r := c.Hub.Subscribe(string(c.id))
			seen := make(chan map[int64]string)
			viewing, stopViewing := context.WithCancel(t.Context())
			go func() { seen <- view(t, viewing, r) }()

			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() {
					for n := 0; ; n++ {
						f, ok := c.attempt(i*1000 + n)
						if ok {
							c.work(f)
						}
						if e, err := c.Events.Find(t.Context(), c.id); err != nil || e.Status.Final() {
							return
						}
					}
				})
			}
			wg.Go(func() {
				c.disturb(func(e *cyclone.Event) error { return c.Lost(t.Context(), e, "so the test says") })
			})
			if round%2 == 1 {
				wg.Go(func() {
					c.disturb(func(e *cyclone.Event) error {
						if e.Worker.Attempt < 2 {
							return nil
						}
						_, err := c.Cancel(t.Context(), c.id, "so the test says")
						return err
					})
				})
			}
			wg.Wait()
			c.settled()
			stop()
			stopViewing()
			c.judge(<-seen)
		})
	}
}

// settled waits until all notices are told.
func (c contested) settled() {
	c.eventually("all notices told", func() bool {
		e, err := c.Events.Find(c.t.Context(), c.id)
		c.must(err)
		return e.NoticeDue().IsZero()
	})
}

func (c contested) judge(seen map[int64]string) {
	t := c.t
	e, err := c.Events.Find(t.Context(), c.id)
	c.must(err)
	texts := logText(t, c.Logs, c.id)
	if int64(len(texts)) != e.LogLines {
		t.Errorf("the log has %d lines, the event says %d", len(texts), e.LogLines)
	}
	for n, text := range seen {
		if n > int64(len(texts)) || texts[n-1] != text {
			t.Errorf("viewers saw line %d as %q; it is not in the log", n, text)
		}
	}
	if got := c.mail.of(c.id); len(got) != 1 || got[0] != e.Status {
		t.Errorf("mails %v about an event that is %s", got, e.Status)
	}
}

// view collects the lines that a viewer sees until ctx ends.
func view(t *testing.T, ctx context.Context, r *livelog.Reader) map[int64]string {
	defer r.Close()
	seen := map[int64]string{}
	for {
		m, err := r.Next(ctx)
		if errors.Is(err, livelog.ErrLagged) {
			continue
		}
		if err != nil {
			return seen
		}
		c, ok := m.Value.(cyclone.Chunk)
		if !ok {
			continue
		}
		lines, err := logchunk.Decode(c)
		if err != nil {
			t.Error(err)
		}
		for _, l := range lines {
			seen[l.N] = l.Text
		}
	}
}
