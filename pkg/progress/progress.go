// Package progress is what becomes of a running event: it lets a worker in,
// hands it its job, takes its log, reports and result, passes cancellations to
// it, and works off the one list of what happens at the end.
//
// Invariants that are kept here:
//
//   - One event is run by at most one worker at a time: every write names its
//     attempt (cyclone.Fence), and one of an older attempt is ErrConflict.
//   - Only progress and the queue's claim change a status, and a final status
//     never changes.
//   - A line that a viewer saw is in the stored log, under the same number.
//   - The end is reached exactly once: result and notices are saved in one
//     write before anybody is told.
//
// It is not the queue (the store is), it launches nothing (dispatch does), and
// it knows neither websockets nor mails: callers and notifiers do.
package progress

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
	"cyclone/pkg/livelog"
	"cyclone/pkg/metrics"
)

// Progress takes events from their claim to their end. All fields are
// required unless they say otherwise; its methods are safe for concurrent use.
type Progress struct {
	Events   cyclone.EventStore
	Queue    cyclone.Queue
	Projects cyclone.ProjectStore
	Secrets  cyclone.SecretStore
	Clusters cyclone.ClusterStore
	Logs     cyclone.LogStore
	// Files keeps artifacts, reports and outputs; nil keeps none.
	Files  cyclone.FileStore
	Sealer cyclone.Sealer
	Hub    *livelog.Hub
	// Launcher removes workers on Node, the only one that this server serves.
	// Those on other nodes are left to the servers of these; see remove.
	Launcher cyclone.Launcher
	Node     string
	Nodes    cyclone.NodeStore
	// Mail tells the project's recipients about a final event; nil sends none.
	Mail cyclone.Notifier
	// Status sets how far the event is beside the commit at its forge, where
	// StatusWanted says that this can be done; nil sets none. Comment keeps
	// the comment on its pull request, in the same way.
	Status, Comment             cyclone.Notifier
	StatusWanted, CommentWanted func(*cyclone.Project, *cyclone.Event) bool
	// Credentials opens what a project's repository is reached with.
	Credentials cyclone.CredentialSource
	// Engine is what workers start their Docker engine with.
	Engine cyclone.EngineConfig
	// Registries are credentials by registry host; forks never get them.
	Registries map[string]cyclone.RegistryAuth
	// Timeout is how long an event of a project without a limit may run;
	// 0 means DefaultTimeout.
	Timeout time.Duration
	// MaxTimeout bounds the time of every event; 0 is no bound.
	MaxTimeout time.Duration
	// PendingTimeout is how long an event may wait for a worker; 0 is for ever.
	PendingTimeout time.Duration
	// LogLimit bounds the log of an attempt; 0 is no bound.
	LogLimit cyclone.Size
	// CacheLimit bounds what the caches of an event's project may hold on a
	// node, FileLimit the files that are kept with an event; 0 is no bound.
	CacheLimit, FileLimit cyclone.Size
	// Lease lets one of several servers end what is overdue; nil when there is
	// one only.
	Lease *lead.Lease
	// Metrics is optional.
	Metrics *metrics.Metrics
	// Tick is how often Run looks for what is due without being woken; 0
	// means DefaultTick.
	Tick time.Duration
	// EventURL is the address of an event's page; nil for none.
	EventURL func(*cyclone.Event) string
	Log      *slog.Logger
	Now      func() time.Time
	// Wake tells the dispatcher that something is pending or has ended; nil
	// leaves it to its own tick.
	Wake func()

	locks   [64]sync.Mutex // see lock
	mu      sync.Mutex
	tails   map[cyclone.EventID]int64 // last line stored through this process
	cancels map[cyclone.EventID]map[*subscription]struct{}
	kick    chan struct{} // wakes Run; made by kicks

	// Only Run touches these.
	lookedForWaiting time.Time
	lookedForEnded   time.Time
	trouble          string // what was last logged as wrong
}

// DefaultTick is how often Run looks for what is due.
const DefaultTick = time.Second

// DefaultTimeout is how long an event may run when nothing else is said.
const DefaultTimeout = time.Hour

// lock keeps the writes to one event's log, and its end, in order within this
// process. Between processes the store's own rules hold: chunks follow one
// another without gap, and every change of an event compares its revision.
func (p *Progress) lock(id cyclone.EventID) (unlock func()) {
	h := fnv.New32a()
	// A hash never fails to write.
	_, _ = h.Write([]byte(id))
	m := &p.locks[h.Sum32()%uint32(len(p.locks))]
	m.Lock()
	return m.Unlock
}

// maxTries bounds how often a write that lost against others is repeated.
const maxTries = 100

// change reads an event, applies fn and writes it back, again and again until
// nobody else wrote in between. An error of fn ends it. When the write changes
// what the forge is to be told, it makes that due.
func (p *Progress) change(ctx context.Context, id cyclone.EventID, fn func(*cyclone.Event) error) (*cyclone.Event, error) {
	for range maxTries {
		e, err := p.Events.Find(ctx, id)
		if err != nil {
			return nil, err
		}
		before := e.Status
		if err := fn(e); err != nil {
			return nil, err
		}
		// Invariant: a final status never changes. The store refuses it too.
		if before.Final() && e.Status != before {
			return nil, over(e, before)
		}
		told, err := p.retell(ctx, e)
		if err != nil {
			return nil, err
		}
		err = p.Events.Replace(ctx, e)
		if err == nil {
			if told {
				p.kicked()
			}
			return e, nil
		}
		if !errors.Is(err, cyclone.ErrConflict) {
			return nil, err
		}
	}
	return nil, cyclone.Unavailable("event %s is written by too many at once; try again", id)
}

// held is change for the attempt that holds the event.
// Invariant: one event is run by at most one worker at a time, so a late
// writer of an older attempt gets ErrConflict and changes nothing.
func (p *Progress) held(ctx context.Context, f cyclone.Fence, fn func(*cyclone.Event) error) (*cyclone.Event, error) {
	return p.change(ctx, f.Event, func(e *cyclone.Event) error {
		if !f.Holds(e) {
			return fenced(f, e)
		}
		return fn(e)
	})
}

// check returns the event if the attempt holds it.
func (p *Progress) check(ctx context.Context, f cyclone.Fence) (*cyclone.Event, error) {
	e, err := p.Events.Find(ctx, f.Event)
	if err != nil {
		return nil, err
	}
	if !f.Holds(e) {
		return nil, fenced(f, e)
	}
	return e, nil
}

func fenced(f cyclone.Fence, e *cyclone.Event) error {
	return cyclone.Conflict("attempt %d of worker %s at event %s is over: the event is %s, attempt %d",
		f.Attempt, f.Worker, f.Event, e.Status, e.Worker.Attempt)
}

func over(e *cyclone.Event, s cyclone.Status) error {
	return cyclone.Conflict("event #%d is over: %s", e.Number, s)
}

func fenceOf(e *cyclone.Event) cyclone.Fence {
	return cyclone.Fence{Event: e.ID, Worker: e.Worker.ID, Attempt: e.Worker.Attempt}
}

// publish tells viewers that an event changed. They get a copy of their own.
func (p *Progress) publish(e *cyclone.Event) {
	shown := *e
	p.Hub.Publish(string(e.ID), livelog.Message{Size: 2048, Value: &shown})
}

func (p *Progress) wake() {
	if p.Wake != nil {
		p.Wake()
	}
}

// now is the time as stores keep it.
func (p *Progress) now() time.Time { return cyclone.Stamp(p.Now()) }

// Report takes the whole state that a worker tells, and counts as a sign of
// life. ErrConflict when the attempt is over.
func (p *Progress) Report(ctx context.Context, f cyclone.Fence, r cyclone.Report) error {
	lines, err := p.Logs.Last(ctx, f.Event)
	if err != nil {
		return fmt.Errorf("report of event %s: %w", f.Event, err)
	}
	e, err := p.held(ctx, f, func(e *cyclone.Event) error {
		apply(e, r)
		e.LogLines = max(e.LogLines, lines)
		p.alive(e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("report of event %s: %w", f.Event, err)
	}
	p.publish(e)
	p.learn(ctx, e, r.HostKeys)
	return nil
}

// alive extends the lease; it never shortens one.
func (p *Progress) alive(e *cyclone.Event) {
	if until := p.now().Add(cyclone.LeaseTime); until.After(e.Run.LeaseUntil) {
		e.Run.LeaseUntil = until
	}
}

// apply takes a report over. What pinned the event stays: a commit, version
// or file that is known already is not replaced by what the worker says.
func apply(e *cyclone.Event, r cyclone.Report) {
	if e.Commit.SHA == "" {
		e.Commit.SHA = r.Commit.SHA
	}
	if e.Commit.SHA == r.Commit.SHA {
		fill(&e.Commit.Message, r.Commit.Short().Message)
		fill(&e.Commit.Author, r.Commit.Author)
		fill(&e.Commit.URL, r.Commit.URL)
	}
	fill(&e.Version, cyclone.DockerTag(r.Version))
	if r.Image.Name != "" {
		e.Image = r.Image
	}
	if r.Images != nil {
		e.Images = r.Images[:min(len(r.Images), maxImages)]
	}
	if len(e.Run.Config) == 0 {
		e.Run.Config = r.Config
	}
	applyFindings(e, r)
	if r.Stages != nil {
		e.Stages = r.Stages
	}
	if r.Deployments != nil {
		e.Deployments = r.Deployments
	}
}

func fill(to *string, from string) {
	if *to == "" {
		*to = from
	}
}

// Renew is a worker's heartbeat: it extends the lease and returns why the
// event is to be canceled, or nil. ErrConflict when the attempt is over.
func (p *Progress) Renew(ctx context.Context, f cyclone.Fence) (*cyclone.Cancellation, error) {
	e, err := p.Queue.Renew(ctx, f, p.now().Add(cyclone.LeaseTime))
	if err != nil {
		return nil, fmt.Errorf("renew lease of event %s: %w", f.Event, err)
	}
	if e.Run.CancelReason == "" {
		return nil, nil
	}
	c := cancellation(e)
	return &c, nil
}
