package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"cyclone/pkg/metrics"
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
	group.Go(func() error { return ended(ctx, "deliveries", r.trigger.Run(ctx)) })
	group.Go(func() error { return ended(ctx, "retention", r.retention.Run(ctx)) })
	group.Go(func() error { return ended(ctx, "cron", r.cron.Run(ctx)) })
	group.Go(func() error { return ended(ctx, "poll", r.poll.Run(ctx)) })
	group.Go(func() error { return r.watchDisk(ctx) })
	r.log.Info("listening", "address", listeners[0].Addr().String(), "version", version, "workers", r.settings.workers, "node", r.settings.nodeName, "kind", r.settings.node)
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

// diskEvery is how often the free space of the store is looked at.
const diskEvery = 15 * time.Second

// watchDisk keeps the metric of the store's free space up to date, where the
// store is on a disk of this machine.
func (r *rooms) watchDisk(ctx context.Context) error {
	if r.storeDisk == nil {
		return nil
	}
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		if disk, err := r.storeDisk(ctx); err == nil {
			r.metrics.Disk(metrics.PlaceStore, disk)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
