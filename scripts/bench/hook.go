package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"cyclone/pkg/cyclonetest/lab"
)

const (
	hookGoal       = 20.0 // milliseconds
	hookDeliveries = 400
	hookSenders    = 8
	hookEach       = 50 // deliveries of a sender
)

// hook measures how fast deliveries are answered by a server that only queues:
// stored durably, with the event made of them, in the embedded store.
func (b *bench) hook(ctx context.Context) error {
	server, err := lab.StartServer(ctx, lab.ServerOptions{
		Bin: filepath.Join(b.root, "bin"), Dir: filepath.Join(b.system.Server.Dir, "hook"),
		Env: map[string]string{"CYCLONE_WORKERS": "0"},
	})
	if err != nil {
		return err
	}
	defer server.Stop()
	p, err := b.newProject(ctx, server, "hook", map[string][]byte{"caicloud.yml": []byte(coldConfig)})
	if err != nil {
		return err
	}
	say("hook: %d deliveries one after the other, then %d senders at once", hookDeliveries, hookSenders)
	var took series
	for range hookDeliveries {
		begun := time.Now()
		if _, err := p.deliver(ctx, server); err != nil {
			return err
		}
		took.add(float64(time.Since(begun).Microseconds()) / 1000)
	}
	rate, err := p.storm(ctx, server)
	if err != nil {
		return err
	}
	if err := p.counted(ctx, server, hookDeliveries+hookSenders*hookEach); err != nil {
		return err
	}
	b.goal("hook answered, embedded store, durable", fmt.Sprintf("<= %.0f ms", hookGoal), took.median() <= hookGoal,
		"median %.1f ms, p99 %.1f ms (%.1f to %.1f)", took.median(), took.quantile(.99), took.quantile(0), took.quantile(1))
	b.note(fmt.Sprintf("  %d senders at once", hookSenders), "%.0f deliveries a second", rate)
	return nil
}

// storm sends from several senders at once and returns deliveries per second.
func (p *project) storm(ctx context.Context, server *lab.Server) (float64, error) {
	failed := make([]error, hookSenders)
	var senders sync.WaitGroup
	begun := time.Now()
	for i := range hookSenders {
		senders.Go(func() {
			for range hookEach {
				if _, failed[i] = p.deliver(ctx, server); failed[i] != nil {
					return
				}
			}
		})
	}
	senders.Wait()
	for _, err := range failed {
		if err != nil {
			return 0, err
		}
	}
	return hookSenders * hookEach / time.Since(begun).Seconds(), nil
}

// counted checks that each delivery made exactly one event.
func (p *project) counted(ctx context.Context, server *lab.Server, want int) error {
	var list struct{ Total int }
	if err := server.Call(ctx, "GET", "/api/v1/projects/"+p.name+"/events?limit=1", nil, &list); err != nil {
		return err
	}
	if list.Total != want {
		return fmt.Errorf("%d deliveries made %d events", want, list.Total)
	}
	return nil
}
