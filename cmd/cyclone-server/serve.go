package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cyclone/pkg/cyclone"
)

// drainTime is how long requests may go on after the signal to stop.
const drainTime = 15 * time.Second

// serve listens and works until ctx ends or a part fails. Workers go on
// without the server and come back to the next one.
func (r *rooms) serve(ctx context.Context, listening func(net.Addr)) error {
	listeners, err := r.listen()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: r.api.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error { return r.stop(ctx, server) })
	group.Go(func() error { return ended(ctx, "progress", r.progress.Run(ctx)) })
	group.Go(func() error { return ended(ctx, "dispatch", r.dispatcher.Run(ctx)) })
	group.Go(func() error { return r.keepHouse(ctx) })
	r.log.Info("listening", "address", listeners[0].Addr().String(), "version", version, "workers", r.settings.workers, "node", r.settings.node)
	if listening != nil {
		listening(listeners[0].Addr())
	}
	err = group.Wait()
	r.log.Info("stopped")
	return err
}

// ended is the error of a part that ran until now, unless it was told to stop.
func ended(ctx context.Context, part string, err error) error {
	if ctx.Err() != nil || err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", part, err)
}

// listen opens the public address and the workers' socket.
func (r *rooms) listen() ([]net.Listener, error) {
	public, err := net.Listen("tcp", r.settings.listen)
	if err != nil {
		return nil, &settingsError{fmt.Errorf("listen: %w", err)}
	}
	if r.socket == "" {
		return []net.Listener{public}, nil
	}
	// What an earlier server left there would be in the way; the store's lock
	// says that none is running.
	if err := os.Remove(r.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("make way for the workers' socket: %w", err), public.Close())
	}
	workers, err := net.Listen("unix", r.socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for workers: %w", err), public.Close())
	}
	return []net.Listener{public, workers}, nil
}

// stop waits for the end and lets requests and websockets finish. Both at once:
// whoever is sent away comes back, and must not find this server again.
func (r *rooms) stop(ctx context.Context, server *http.Server) error {
	<-ctx.Done()
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- server.Shutdown(limited) }()
	return errors.Join(r.api.Drain(limited), <-closed)
}

// keepHouse handles deliveries that a crash left unhandled and removes what no
// live event owns: at the start, and then each minute, because another server
// may have crashed.
func (r *rooms) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := r.trigger.Recover(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("deliveries are left unhandled; trying again in a minute", "error", err)
		}
		if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("leftovers of workers are not removed; trying again in a minute", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweeper is a launcher that can find what workers left although they are gone.
type sweeper interface {
	Sweep(ctx context.Context, live func(cyclone.WorkerID) bool) error
}

// sweep removes what belongs to no running event. The events are read when the
// leftovers are known: a worker is launched after its event was claimed, so one
// that is starting is never taken for a leftover.
func (r *rooms) sweep(ctx context.Context) error {
	s, ok := r.launcher.(sweeper)
	if !ok || r.settings.workers == 0 || r.launcher.Ready(ctx) != nil {
		return nil
	}
	var unknown error
	owners := sync.OnceValue(func() map[cyclone.WorkerID]bool {
		running, err := r.queue.Running(ctx)
		unknown = err
		all := map[cyclone.WorkerID]bool{}
		for _, e := range running {
			all[e.Worker.ID] = true
		}
		return all
	})
	err := s.Sweep(ctx, func(id cyclone.WorkerID) bool { return owners()[id] || unknown != nil })
	return errors.Join(err, unknown)
}
