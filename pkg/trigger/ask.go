package trigger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// asker asks the forges of projects. ErrNotFound, ErrForbidden and ErrInvalid
// are final: there is nobody to ask, or no answer; anything else may pass.
type asker interface {
	// Changed lists the paths in which two commits differ, or those of a pull
	// request when number is not 0; nil when the forge does not tell all.
	Changed(ctx context.Context, p *cyclone.Project, before, after string, number int) ([]string, error)
	PullRequest(ctx context.Context, p *cyclone.Project, number int) (*cyclone.PullRequestInfo, error)
	MayWrite(ctx context.Context, p *cyclone.Project, user string) (bool, error)
}

const (
	// askTime bounds one question, askedTime an attempt in which some are put.
	askTime   = 12 * time.Second
	askedTime = 45 * time.Second
	// putOffTime is for how long a delivery that waits for its forge is left
	// to the server that took it. When that is gone, any other goes on then.
	putOffTime = time.Minute
	// askAtOnce bounds the deliveries whose forges are asked at the same time,
	// of each project one: a forge that hangs holds up its own projects.
	askAtOnce = 8
	// mostQuestions bounds the deliveries that are kept in mind.
	mostQuestions = 200
)

// errLater says that the forge has to be asked, and that the caller does not
// wait for that.
var errLater = errors.New("the forge must be asked first")

// unanswered is the failure of a question that may be answered later.
type unanswered struct{ error }

func (u *unanswered) Unwrap() error { return u.error }

// mute is why a question has no answer and will have none.
type mute struct{ why string }

func (m *mute) Error() string { return m.why }

// unaskable says why the project's forge cannot be asked anything, or "".
func (m *matter) unaskable() string {
	r := m.project.Repository
	switch {
	case m.Asks == nil:
		return "this server asks no forges"
	case r.Credential == "" && r.Account == "":
		return "the project has nothing to ask its forge with; store a token as a secret and name it in repository.credential"
	}
	return ""
}

// ask puts a question to the project's forge. The error is errLater, *mute or
// *unanswered, or that of ctx.
func ask[T any](ctx context.Context, m *matter, put func(context.Context) (T, error)) (T, error) {
	var none T
	if why := m.unaskable(); why != "" {
		return none, &mute{why}
	}
	if !m.mayAsk {
		return none, errLater
	}
	limited, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	answer, err := put(limited)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return none, err
	case errors.Is(err, cyclone.ErrUnavailable):
		return none, &unanswered{err}
	case errors.Is(err, cyclone.ErrNotFound), errors.Is(err, cyclone.ErrForbidden), errors.Is(err, cyclone.ErrInvalid):
		return none, &mute{err.Error()}
	}
	return none, &unanswered{err}
}

// putOff leaves a delivery to Run, which asks the forge at once.
func (t *Trigger) putOff(ctx context.Context, d *cyclone.Delivery) error {
	before := d.NextAt
	next := cyclone.Stamp(t.Now().Add(putOffTime))
	d.NextAt = &next
	// Stored first: whoever asks may have written the outcome a moment later.
	if err := t.Deliveries.Replace(ctx, d); err != nil {
		d.NextAt = before
		return fmt.Errorf("put delivery off: %w", err)
	}
	t.hands.take(key(d)) // until it is answered
	if !t.questions.add(question{d.Project, d.SCM, d.ID}) {
		t.hands.give(key(d))
		return nil
	}
	t.asked.ring()
	return nil
}

// question is a delivery about which a forge has to be asked.
type question struct {
	project cyclone.ProjectName
	scm     string
	id      cyclone.DeliveryID
}

// questions are kept in mind, not stored: they spare the wait for the delivery
// to be due. The zero value is ready to use.
type questions struct {
	mu      sync.Mutex
	waiting []question
	busy    map[cyclone.ProjectName]bool // whose forges are being asked
}

// add reports false when the delivery is left to be found when it is due.
func (q *questions) add(n question) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= mostQuestions {
		return false
	}
	q.waiting = append(q.waiting, n)
	return true
}

// next takes the oldest question of a project that is not being asked about.
func (q *questions) next() (question, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, n := range q.waiting {
		if q.busy[n.project] {
			continue
		}
		q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
		if q.busy == nil {
			q.busy = map[cyclone.ProjectName]bool{}
		}
		q.busy[n.project] = true
		return n, true
	}
	return question{}, false
}

func (q *questions) done(n question) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, n.project)
}

// count is how many wait.
func (q *questions) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// bell wakes one who waits. The zero value is ready to use.
type bell struct {
	once sync.Once
	c    chan struct{}
}

// rung is to be received from; however often it was rung, that is once.
func (b *bell) rung() chan struct{} {
	b.once.Do(func() { b.c = make(chan struct{}, 1) })
	return b.c
}

func (b *bell) ring() {
	select {
	case b.rung() <- struct{}{}:
	default: // it rings already
	}
}
