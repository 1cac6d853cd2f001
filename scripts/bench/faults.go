package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

const faultTurns = 5

// faults measures how long it takes to go on after a fault: from the kill -9
// of a server to the claim of an event that was pending, and from a worker's
// death to the start of its event's second attempt. Beside the first stands the
// time that a server takes to be ready when nothing was killed.
func (b *bench) faults(ctx context.Context) error {
	var claimed, plain, retried series
	for i := range faultTurns {
		seconds, ready, err := b.killServer(ctx, i)
		if err != nil {
			return err
		}
		claimed.add(seconds)
		plain.add(ready)
	}
	p, err := b.newProject(ctx, b.system.Server, "killed", map[string][]byte{
		"caicloud.yml": []byte("pre_build:\n  image: busybox:1\n  commands: sleep 3\n"),
	})
	if err != nil {
		return err
	}
	for range faultTurns {
		seconds, err := p.killWorker(ctx)
		if err != nil {
			return err
		}
		retried.add(seconds)
	}
	b.note("kill -9 of the server to the next claim", "%s; %s of its start alone", claimed.seconds(), claimed.over(plain).show("%.1fx"))
	b.note("a worker's death to its second attempt", "%s", retried.seconds())
	return nil
}

// killServer kills a server that has a pending event and starts its successor
// at once. It returns the seconds from the kill to the event's claim, and those
// that the successor took to be ready.
func (b *bench) killServer(ctx context.Context, turn int) (claimed, ready float64, err error) {
	o := lab.ServerOptions{
		Bin: filepath.Join(b.root, "bin"), Dir: filepath.Join(b.system.Server.Dir, fmt.Sprintf("killed-%d", turn)), Env: b.system.Env(),
	}
	o.Env["CYCLONE_WORKERS"] = "0" // the event waits until the successor is there
	server, err := lab.StartServer(ctx, o)
	if err != nil {
		return 0, 0, err
	}
	p, err := b.newProject(ctx, server, fmt.Sprintf("waiting-%d", turn), map[string][]byte{"caicloud.yml": []byte(coldConfig)})
	if err != nil {
		return 0, 0, err
	}
	id, err := p.deliver(ctx, server)
	begun := time.Now()
	server.Kill()
	if err != nil {
		return 0, 0, err
	}
	o.Env["CYCLONE_WORKERS"] = "1"
	successor, err := lab.StartServer(ctx, o)
	if err != nil {
		return 0, 0, err
	}
	defer successor.Stop()
	ready = time.Since(begun).Seconds()
	e, err := until(ctx, successor, id, func(e *cyclone.Event) bool { return e.Status.Final() })
	if err == nil && e.Status != cyclone.StatusSuccess {
		err = fmt.Errorf("event %s is %s: %s", id, e.Status, e.Reason)
	}
	if err != nil {
		return 0, 0, err
	}
	return e.StartedAt.Sub(begun).Seconds(), ready, gone(ctx, id)
}

// killWorker kills the worker of an event that runs a step, and returns the
// seconds until the second attempt was claimed.
func (p *project) killWorker(ctx context.Context) (float64, error) {
	server := p.b.system.Server
	if err := p.commit(ctx, "Change"); err != nil {
		return 0, err
	}
	id, err := p.deliver(ctx, server)
	if err != nil {
		return 0, err
	}
	if _, err := until(ctx, server, id, inPreBuild); err != nil {
		return 0, err
	}
	container := workerContainer(ctx, id)
	begun := time.Now()
	if err := exec.CommandContext(ctx, "docker", "kill", container).Run(); err != nil {
		return 0, fmt.Errorf("docker kill: %w", err)
	}
	e, err := until(ctx, server, id, func(e *cyclone.Event) bool { return e.Worker.Attempt == 2 })
	if err != nil {
		return 0, err
	}
	again := e.StartedAt.Sub(begun).Seconds()
	if _, err := until(ctx, server, id, func(e *cyclone.Event) bool { return e.Status.Final() }); err != nil {
		return 0, err
	}
	_, err = p.outcome(ctx, id)
	return again, err
}

func inPreBuild(e *cyclone.Event) bool {
	for _, s := range e.Stages {
		if s.Name == cyclone.StagePreBuild && len(s.Steps) > 0 {
			return true
		}
	}
	return false
}

// until asks for an event until it is as wanted.
func until(ctx context.Context, server *lab.Server, id string, wanted func(*cyclone.Event) bool) (*cyclone.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var e cyclone.Event
		if err := server.Call(ctx, "GET", "/api/v1/events/"+id, nil, &e); err != nil {
			return nil, err
		}
		if wanted(&e) && e.StartedAt != nil {
			return &e, nil
		}
		if e.Status.Final() {
			return nil, fmt.Errorf("event %s is %s: %s", id, e.Status, e.Reason)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("event %s stays %s", id, e.Status), context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
