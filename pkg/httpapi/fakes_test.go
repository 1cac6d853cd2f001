package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
	"cyclone/pkg/store/embedded"
)

// fakeForge signs with the secret itself.
type fakeForge struct{}

func (fakeForge) DeliveryID(h http.Header, _ []byte) cyclone.DeliveryID {
	return cyclone.DeliveryID(h.Get("X-Github-Delivery"))
}

func (fakeForge) Verify(h http.Header, _, secret []byte) error {
	if h.Get("X-Test-Signature") != string(secret) {
		return cyclone.Forbidden("wrong signature")
	}
	return nil
}

func (fakeForge) Parse(http.Header, []byte) (*cyclone.Hook, error) { return &cyclone.Hook{}, nil }

// fakeTrigger makes an event of every delivery whose body does not ask for
// something else.
type fakeTrigger struct {
	store *embedded.Store
	mu    sync.Mutex
	count int
}

func (f *fakeTrigger) next() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	return f.count
}

func (f *fakeTrigger) Deliver(ctx context.Context, d *cyclone.Delivery) error {
	now := cyclone.Stamp(time.Now())
	d.HandledAt = &now
	switch string(d.Body) {
	case `{"other":true}`:
		d.Error = "repository: the payload is about another repository"
		return errors.Join(cyclone.Invalid("repository", "the payload is about another repository"), f.store.Deliveries.Replace(ctx, d))
	case `{"broken":true}`:
		return errors.New("something broke")
	case `{"ping":true}`:
		d.Ignored = "ping"
	default:
		d.Events = []cyclone.EventID{cyclone.EventID("event-of-" + d.ID)}
	}
	return f.store.Deliveries.Replace(ctx, d)
}

func (f *fakeTrigger) Start(ctx context.Context, p *cyclone.Project, r cyclone.StartRequest) (*cyclone.Event, error) {
	id := cyclone.EventID(fmt.Sprintf("e%020d", f.next()))
	e := &cyclone.Event{ID: id, Project: p.Name, Status: cyclone.StatusPending, Branch: r.Branch,
		Trigger: cyclone.Trigger{Kind: cyclone.KindManual, Actor: r.Actor}, CreatedAt: cyclone.Stamp(time.Now()), Run: cyclone.Run{Key: string(id)}}
	return e, f.store.Events.Create(ctx, e)
}

func (f *fakeTrigger) Rerun(ctx context.Context, parent *cyclone.Event, actor string, from cyclone.Stage) (*cyclone.Event, error) {
	id := cyclone.EventID(fmt.Sprintf("e%020d", f.next()))
	e := &cyclone.Event{ID: id, Project: parent.Project, Status: cyclone.StatusPending, Reason: "from " + string(from),
		Trigger: cyclone.Trigger{Kind: cyclone.KindRerun, Actor: actor, Parent: parent.ID}, CreatedAt: cyclone.Stamp(time.Now()), Run: cyclone.Run{Key: string(id)}}
	return e, f.store.Events.Create(ctx, e)
}

// attempt is what fakeProgress knows of a worker.
type attempt struct {
	token, session string
	fence          cyclone.Fence
}

// records are the stores that fakeProgress writes to.
type records struct {
	Events cyclone.EventStore
	Logs   cyclone.LogStore
}

// fakeProgress stores what workers report.
type fakeProgress struct {
	store   records
	live    *livelog.Hub
	cancels chan cyclone.Cancellation

	mu      sync.Mutex
	tokens  map[cyclone.WorkerID]attempt
	over    bool // the attempt
	renews  int
	cancel  *cyclone.Cancellation
	reports []cyclone.Report
	broken  error // of Append
	left    int   // connections that have ended
}

func (f *fakeProgress) admit(e *cyclone.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens[e.Worker.ID] = attempt{token: "one-time", fence: cyclone.Fence{Event: e.ID, Worker: e.Worker.ID, Attempt: 1}}
}

func (f *fakeProgress) set(change func(*fakeProgress)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeProgress) Attach(_ context.Context, id cyclone.WorkerID, token, session string) (cyclone.Fence, cyclone.EngineConfig, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.tokens[id]
	if f.over {
		return cyclone.Fence{}, cyclone.EngineConfig{}, cyclone.Conflict("the attempt is over")
	}
	if !ok || a.token != token || (a.session != "" && a.session != session) {
		return cyclone.Fence{}, cyclone.EngineConfig{}, cyclone.Forbidden("wrong token")
	}
	a.session = session
	f.tokens[id] = a
	return a.fence, cyclone.EngineConfig{RegistryMirror: "http://mirror"}, nil
}

func (f *fakeProgress) state() (cancel *cyclone.Cancellation, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return nil, cyclone.Conflict("the attempt is over")
	}
	return f.cancel, nil
}

func (f *fakeProgress) Job(ctx context.Context, fence cyclone.Fence) (*cyclone.Job, error) {
	if _, err := f.state(); err != nil {
		return nil, err
	}
	e, err := f.store.Events.Find(ctx, fence.Event)
	if err != nil {
		return nil, err
	}
	return &cyclone.Job{Fence: fence, Event: *e, Stages: cyclone.Stages}, nil
}

func (f *fakeProgress) Renew(context.Context, cyclone.Fence) (*cyclone.Cancellation, error) {
	f.set(func(f *fakeProgress) { f.renews++ })
	return f.state()
}

func (f *fakeProgress) Cancels(cyclone.Fence) (<-chan cyclone.Cancellation, func()) {
	return f.cancels, func() { f.set(func(f *fakeProgress) { f.left++ }) }
}

func (f *fakeProgress) ended() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left
}

func (f *fakeProgress) Append(ctx context.Context, fence cyclone.Fence, c cyclone.Chunk) error {
	if _, err := f.state(); err != nil {
		return err
	}
	f.mu.Lock()
	broken := f.broken
	f.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := f.store.Logs.Append(ctx, fence.Event, c); err != nil {
		return err
	}
	f.live.Publish(string(fence.Event), livelog.Message{Size: len(c.Data), Value: c})
	return nil
}

func (f *fakeProgress) Partial(fence cyclone.Fence, l cyclone.Line) {
	f.live.Publish(string(fence.Event), livelog.Message{Size: len(l.Text), Value: l})
}

func (f *fakeProgress) Report(_ context.Context, _ cyclone.Fence, r cyclone.Report) error {
	f.set(func(f *fakeProgress) { f.reports = append(f.reports, r) })
	_, err := f.state()
	return err
}

func (f *fakeProgress) Finish(ctx context.Context, fence cyclone.Fence, r cyclone.Result) error {
	if _, err := f.state(); err != nil {
		return err
	}
	e, err := f.store.Events.Find(ctx, fence.Event)
	if err != nil {
		return err
	}
	e.Status, e.LogLines = r.Status, r.LastLine
	if err := f.store.Events.Replace(ctx, e); err != nil {
		return err
	}
	f.set(func(f *fakeProgress) { f.over = true })
	f.live.Publish(string(e.ID), livelog.Message{Value: e})
	return nil
}

func (f *fakeProgress) Cancel(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error) {
	return f.change(ctx, id, func(e *cyclone.Event) error {
		if e.Status.Final() {
			return cyclone.Conflict("event #%d is over", e.Number)
		}
		e.Status, e.Reason = cyclone.StatusCanceled, reason
		return nil
	})
}

func (f *fakeProgress) Approve(ctx context.Context, id cyclone.EventID, actor string) (*cyclone.Event, error) {
	return f.change(ctx, id, func(e *cyclone.Event) error {
		if e.Status != cyclone.StatusBlocked {
			return cyclone.Conflict("event #%d is %s", e.Number, e.Status)
		}
		e.Status, e.Reason = cyclone.StatusPending, "approved by "+actor
		return nil
	})
}

func (f *fakeProgress) change(ctx context.Context, id cyclone.EventID, fn func(*cyclone.Event) error) (*cyclone.Event, error) {
	e, err := f.store.Events.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := fn(e); err != nil {
		return nil, err
	}
	return e, f.store.Events.Replace(ctx, e)
}
