package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"cyclone/pkg/cyclonetest/lab"
)

const (
	hookGoal       = 20.0 // milliseconds
	hookDeliveries = 400
	hookSenders    = 8
	hookEach       = 250   // deliveries of a sender
	hookRate       = 500.0 // deliveries a second

	// What stands in for MongoDB reads whole collections, so it gets less.
	standInDeliveries = 60
	standInEach       = 5
)

// hook measures how fast deliveries are answered by a server that only queues:
// stored durably, with the event made of them. The goal is for the embedded
// store; what stands in for MongoDB is slower than a MongoDB.
func (b *bench) hook(ctx context.Context) error {
	env := map[string]string{"CYCLONE_WORKERS": "0"}
	took, rate, err := b.hooks(ctx, "embedded", env, hookDeliveries, hookEach, true)
	if err != nil {
		return err
	}
	b.goal("hook answered, embedded store, durable", fmt.Sprintf("<= %.0f ms", hookGoal), took.median() <= hookGoal,
		"median %.1f ms, p99 %.1f ms (%.1f to %.1f)", took.median(), took.quantile(.99), took.quantile(0), took.quantile(1))
	b.goal(fmt.Sprintf("  %d senders at once", hookSenders), fmt.Sprintf(">= %.0f a second", hookRate), rate >= hookRate, "%.0f deliveries a second", rate)
	if b.mongo == "" {
		return nil
	}
	uri, stop, err := startStandIn(ctx, b.mongo)
	if err != nil {
		return err
	}
	defer stop()
	env["CYCLONE_STORE"], env["CYCLONE_ENCRYPTION_KEY"] = uri+"bench", base64.StdEncoding.EncodeToString(make([]byte, 32))
	if took, rate, err = b.hooks(ctx, "standin", env, standInDeliveries, standInEach, false); err != nil {
		return err
	}
	b.note("hook answered, MongoDB stand-in", "median %.1f ms, p99 %.1f ms", took.median(), took.quantile(.99))
	b.note(fmt.Sprintf("  %d senders at once", hookSenders), "%.0f deliveries a second", rate)
	return nil
}

// startStandIn runs what stands in for MongoDB and returns its address.
func startStandIn(ctx context.Context, binary string) (uri string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, binary)
	open, err := cmd.StdinPipe() // it ends when this does
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = open.Close()
		_ = cmd.Wait() // how it ends does not matter
	}
	uri, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("start what stands in for MongoDB: %w", err)
	}
	return strings.TrimSpace(uri), stop, nil
}

// hooks sends deliveries to a server with these settings and returns how many
// milliseconds each took, and how many several senders got through in a second.
// Then it sends large ones, if wanted.
func (b *bench) hooks(ctx context.Context, store string, env map[string]string, alone, each int, large bool) (took series, rate float64, err error) {
	server, err := lab.StartServer(ctx, lab.ServerOptions{
		Bin: filepath.Join(b.root, "bin"), Dir: filepath.Join(b.system.Server.Dir, "hook-"+store), Env: env,
	})
	if err != nil {
		return nil, 0, err
	}
	defer server.Stop()
	p, err := b.newProject(ctx, server, "hook-"+store, map[string][]byte{"caicloud.yml": []byte(coldConfig)})
	if err != nil {
		return nil, 0, err
	}
	say("hook (%s): %d deliveries one after the other, then %d senders at once", store, alone, hookSenders)
	for range alone {
		begun := time.Now()
		if err := p.send(ctx, server); err != nil {
			return nil, 0, err
		}
		took.add(float64(time.Since(begun).Microseconds()) / 1000)
	}
	if rate, err = storm(each, func() error { return p.send(ctx, server) }); err != nil {
		return nil, 0, err
	}
	more := 0
	if large {
		if more, err = p.largeHooks(ctx, server); err != nil {
			return nil, 0, err
		}
	}
	return took, rate, p.counted(ctx, server, alone+hookSenders*each+more)
}

// storm sends from several senders at once and returns deliveries per second.
func storm(each int, send func() error) (float64, error) {
	failed := make([]error, hookSenders)
	var senders sync.WaitGroup
	begun := time.Now()
	for i := range hookSenders {
		senders.Go(func() {
			for range each {
				if failed[i] = send(); failed[i] != nil {
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
	return float64(hookSenders*each) / time.Since(begun).Seconds(), nil
}

// send sends a delivery; its event may follow the answer.
func (p *project) send(ctx context.Context, server *lab.Server) error {
	_, err := server.Deliver(ctx, p.name, p.secret, "push", lab.Push(p.url, "main", p.sha, "Change"))
	return err
}

// counted checks that each delivery made exactly one event, those included that
// a slow store made wait.
func (p *project) counted(ctx context.Context, server *lab.Server, want int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var list struct{ Total int }
		if err := server.Call(ctx, "GET", "/api/v1/projects/"+p.name+"/events?limit=1", nil, &list); err != nil {
			return err
		}
		if list.Total == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d deliveries made %d events", want, list.Total)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
