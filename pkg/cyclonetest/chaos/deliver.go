package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// delivery is one push to be delivered, with what is planned about it and what
// came of it.
type delivery struct {
	id      string
	site    *site
	project *project
	branch  string
	// after is the pause before it; copies is how often it is sent, at once or
	// one after the other.
	after    time.Duration
	copies   int
	at       float64 // picks servers
	together bool
	watched  bool          // a viewer follows its log through everything
	cancel   time.Duration // from acceptance to the cancellation

	accepted chan struct{} // closed when the forge may forget it
	once     sync.Once
	mu       sync.Mutex
	sent     int
	codes    map[int]int // answers by status; 0 is none
	event    string
	viewer   *viewer
}

// planNumber tells the plan's random numbers from the schedule's.
const planNumber = 2

// plan is what is delivered, fixed by the seed.
func plan(seed uint64, events int, sites []*site) []*delivery {
	rng := rand.New(rand.NewPCG(seed, planNumber))
	var all []*delivery
	var left []*shape
	for len(all) < events {
		if len(left) == 0 {
			left = shapes()
			rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		}
		sh := left[0]
		left = left[1:]
		s := sites[rng.IntN(len(sites))]
		n := 1
		if sh.superseding {
			n = 2
		}
		branch := fmt.Sprintf("b%d", len(all))
		for range n {
			d := &delivery{
				id: fmt.Sprintf("%016x-%04d", seed, len(all)), site: s, project: s.projects[sh.name], branch: branch,
				after: between(rng, 0, 1500*time.Millisecond), copies: 1 + rng.IntN(3), at: rng.Float64(), together: rng.IntN(2) == 0,
				watched: rng.IntN(3) == 0, cancel: between(rng, 0, 6*time.Second),
				accepted: make(chan struct{}), codes: map[int]int{},
			}
			all = append(all, d)
		}
	}
	return all
}

// mostOpen is how many events of a site may wait or run when the next is delivered.
const mostOpen = 6

// paceBefore waits until a delivery's turn has come.
func (w *world) paceBefore(ctx context.Context, d *delivery) error {
	pause := d.after
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		open, err := d.site.open(ctx)
		if err != nil || open < mostOpen {
			return nil // when nobody can say: deliver
		}
		pause = 500 * time.Millisecond
	}
}

// open counts the site's events that are not over.
func (s *site) open(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var list cyclone.List[*cyclone.Event]
	err := s.call(ctx, "GET", "/api/v1/events?limit=1&status=pending,blocked,running", nil, &list)
	return list.Total, err
}

// accompany delivers and does what is planned with the event.
func (w *world) accompany(ctx context.Context, d *delivery) error {
	var copies sync.WaitGroup
	for i := range d.copies {
		if d.together {
			copies.Go(func() { w.send(ctx, d, i) })
		} else {
			w.send(ctx, d, i)
		}
	}
	copies.Wait()
	if err := d.findEvent(ctx); err != nil {
		return nil // judged later: there is none
	}
	if d.watched {
		d.viewer = newViewer(d)
		copies.Go(func() { d.viewer.follow(ctx) })
	}
	if d.project.shape.cancelled {
		d.cancelEvent(ctx)
	}
	copies.Wait()
	return ctx.Err()
}

// send delivers one copy the way a forge does: again and again under the same
// id, until it is accepted.
func (w *world) send(ctx context.Context, d *delivery, copy int) {
	payload := lab.Push(d.project.url, d.branch, d.project.sha, "Change "+d.id)
	for try := 0; ctx.Err() == nil; try++ {
		n := d.site.servers[(int(d.at*1000)+copy+try)%len(d.site.servers)]
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		answer, err := n.DeliverAs(limited, d.id, d.project.name, d.project.secret, "push", payload)
		cancel()
		code := http.StatusOK
		var status *lab.StatusError
		switch {
		case errors.As(err, &status):
			code = status.Code
		case err != nil:
			code = 0
		}
		d.note(code, answer)
		if err == nil {
			d.once.Do(func() { close(d.accepted) })
			return
		}
		if code >= 400 && code < 500 {
			w.notes.say("delivery %s was refused: %v", d.id, err)
			return // sending it again would not help
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func (d *delivery) note(code int, a lab.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent++
	d.codes[code]++
	if len(a.Events) > 0 {
		d.event = a.Events[0]
	}
}

// eventID is the event of the delivery; empty while it is not known.
func (d *delivery) eventID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.event
}

// path is the delivery's address.
func (d *delivery) path() string {
	return "/api/v1/projects/" + d.project.name + "/deliveries/" + url.PathEscape(d.id)
}

// findEvent asks for the event that the delivery made, until there is one.
func (d *delivery) findEvent(ctx context.Context) error {
	for d.eventID() == "" {
		var found cyclone.Delivery
		if err := d.site.call(ctx, "GET", d.path(), nil, &found); err == nil && len(found.Events) > 0 {
			d.mu.Lock()
			d.event = string(found.Events[0])
			d.mu.Unlock()
			break
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// cancelEvent cancels the event when its time has come, and asks again until
// the answer is yes or that it is over.
func (d *delivery) cancelEvent(ctx context.Context) {
	pause := d.cancel
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		err := d.site.call(ctx, "POST", "/api/v1/events/"+d.eventID()+"/cancel", nil, nil)
		var status *lab.StatusError
		if err == nil || errors.As(err, &status) && status.Code == http.StatusConflict {
			return
		}
		pause = 500 * time.Millisecond
	}
}

// call asks the site's servers one after the other until one answers; what
// any of them refuses is refused.
func (s *site) call(ctx context.Context, method, path string, in, out any) error {
	var failed error
	for _, n := range s.servers {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := n.Call(limited, method, path, in, out)
		cancel()
		var status *lab.StatusError
		if err == nil || errors.As(err, &status) && status.Code < 500 {
			return err
		}
		failed = errors.Join(failed, err)
	}
	return failed
}
