// Package chaos proves that nothing is lost and nothing hangs: it runs real
// servers, real workers on a Docker engine of its own and a real store, sends
// them deliveries of known outcome, kills, cuts, freezes and fills things by a
// seeded schedule, and then checks from outside that every promise was kept.
//
// It is not a load test, and it looks into no store and no process: what it
// judges is what a user, a forge and a mail server see, and what is left on
// the machine.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options says what a run works with.
type Options struct {
	Bin   string // folder of cyclone-server
	Cache string // outlives the run: the engine's images, the registry's
	Mongo string // the program of the MongoDB stand-in
	Image string // the worker's, on the machine's own engine
	Dir   string // the run's own folder; logs stay in it
	// Seed fixes the plan of deliveries and the schedule of faults.
	Seed uint64
	// Events is how many deliveries are sent.
	Events int
	// Workers is how many events run at once, over all servers; at least 2.
	Workers int
	// Out gets what happens as it happens, and the report.
	Out io.Writer
}

// How long things may take after the last fault.
const (
	// calmTime is until every event has ended. A worker that nobody hears
	// counts as lost after a minute, and its event may need another worker.
	calmTime = 5 * time.Minute
	// mailTime is until every mail about an event that is over has arrived.
	mailTime = 90 * time.Second
	// sweepTime is until nothing is left on the engine: servers sweep each minute.
	sweepTime = 2 * time.Minute
)

// Run does all of it and returns what was found. The error says what kept it
// from finding out; broken promises are in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	w, err := start(ctx, o)
	defer w.stop()
	if err != nil {
		return nil, err
	}
	deliveries := plan(o.Seed, o.Events, w.sites)
	w.notes.say("seed %d: %d deliveries, servers and engine are up", o.Seed, len(deliveries))
	if err := w.storm(ctx, deliveries); err != nil {
		return nil, err
	}
	r := &Report{Seed: o.Seed, Faults: w.notes.faults}
	w.settle(ctx, deliveries)
	for _, d := range deliveries {
		r.Outcomes = append(r.Outcomes, w.judge(ctx, d))
	}
	r.judgeSuperseded(deliveries)
	r.judgeAttempts()
	r.Strays = w.strays(ctx, deliveries)
	r.Left = w.leftovers(ctx)
	w.stopServers()
	r.Left = append(r.Left, w.remains()...)
	r.measure(w.notes)
	return r, nil
}

// storm sends the deliveries while the faults go on, and ends the faults when
// the last delivery was accepted and few events are left.
func (w *world) storm(ctx context.Context, deliveries []*delivery) error {
	faulty, calm := context.WithCancel(ctx)
	var weather errgroup.Group
	weather.Go(func() error { return w.faults(faulty, NewSchedule(w.o.Seed)) })
	senders, sending := errgroup.WithContext(ctx)
	for i, d := range deliveries {
		if err := w.paceBefore(sending, d); err != nil {
			break // what ended it is the group's error
		}
		if i > 0 && i%20 == 0 {
			w.notes.say("%d deliveries were sent", i)
		}
		senders.Go(func() error { return w.accompany(sending, d) })
	}
	sent := make(chan error, 1)
	go func() { sent <- senders.Wait() }()
	err := w.untilAccepted(ctx, deliveries, sent)
	if err == nil {
		w.untilFew(ctx)
	}
	calm()
	if err := errors.Join(err, weather.Wait()); err != nil {
		return err
	}
	w.notes.say("the faults have ended; what still waits or runs must come to its end now")
	limited, cancel := context.WithTimeout(ctx, calmTime)
	defer cancel()
	select {
	case err = <-sent:
	case <-limited.Done():
		err = nil // who still waits for an event will be judged by it
	}
	return err
}

// untilAccepted returns when all deliveries were accepted.
func (w *world) untilAccepted(ctx context.Context, deliveries []*delivery, sent chan error) error {
	limited, cancel := context.WithTimeout(ctx, calmTime)
	defer cancel()
	for _, d := range deliveries {
		select {
		case <-d.accepted:
		case err := <-sent:
			sent <- err
			if err != nil {
				return fmt.Errorf("send deliveries: %w", err)
			}
		case <-limited.Done():
			return fmt.Errorf("delivery %s of %s was not accepted within %s", d.id, d.project.name, calmTime)
		}
	}
	return nil
}

// untilFew returns when no event waits any more.
func (w *world) untilFew(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, calmTime)
	defer cancel()
	waitFor(limited, func() bool {
		total := 0
		for _, s := range w.sites {
			open, err := s.open(limited)
			if err != nil {
				return false
			}
			total += open
		}
		return total <= w.o.Workers
	})
}
