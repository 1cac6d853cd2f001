package trigger_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// oracle is a forge that can be asked.
type oracle struct {
	mu       sync.Mutex
	asked    []string // in the order of the questions
	at       []time.Time
	fail     func(n int) error // of the n-th question
	takes    time.Duration
	paths    []string
	writers  []string
	requests map[int]*cyclone.PullRequestInfo
}

func (o *oracle) question(ctx context.Context, format string, args ...any) error {
	o.mu.Lock()
	o.asked = append(o.asked, fmt.Sprintf(format, args...))
	o.at = append(o.at, time.Now())
	n, fail, takes := len(o.asked), o.fail, o.takes
	o.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if fail != nil {
		return fail(n)
	}
	return nil
}

func (o *oracle) Changed(ctx context.Context, p *cyclone.Project, before, after string, number int) ([]string, error) {
	if err := o.question(ctx, "changed %s %.3s %.3s %d", p.Name, before, after, number); err != nil {
		return nil, err
	}
	return o.paths, nil
}

func (o *oracle) PullRequest(ctx context.Context, _ *cyclone.Project, number int) (*cyclone.PullRequestInfo, error) {
	if err := o.question(ctx, "pull request %d", number); err != nil {
		return nil, err
	}
	if info := o.requests[number]; info != nil {
		c := *info
		return &c, nil
	}
	return nil, cyclone.NotFound("there is no pull request #%d", number)
}

func (o *oracle) MayWrite(ctx context.Context, _ *cyclone.Project, user string) (bool, error) {
	if err := o.question(ctx, "may %s write", user); err != nil {
		return false, err
	}
	return slices.Contains(o.writers, user), nil
}

func (o *oracle) questions() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.asked...)
}

// asking is a bubble whose project has a credential and, for paths, filters.
func asking(t *testing.T, o *oracle) *world {
	t.Helper()
	w := newWorld(t, func(p *cyclone.Project) {
		p.Repository.Credential = "forge"
		p.Triggers.Push = &cyclone.PushTrigger{Paths: []string{"src/**"}}
		p.Triggers.PullRequest.Paths = []string{"src/**"}
	})
	w.now, w.Wake, w.Asks = time.Now().Add(-time.Minute), nil, o
	w.Now = time.Now
	return w
}

// arrive hands a hook in as a request does, just now.
func (w *world) arrive(h *cyclone.Hook) *cyclone.Delivery {
	w.t.Helper()
	w.now = time.Now().Add(-time.Minute) // stored adds a minute
	d := w.stored(h)
	w.must(w.Deliver(w.t.Context(), d))
	return d
}

const older = "aaaa1b9c3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c"

// cutOff is a push whose payload does not tell all paths.
func cutOff() *cyclone.Hook {
	return with(push("main"), func(h *cyclone.Hook) { h.Before = older })
}
