package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

const (
	bigCount  = 10_000_000
	bigScript = "seq 1 10000000"
	tailLines = 200
	tailTurns = 15
	tailGoal  = 100.0 // milliseconds
)

// big measures a step that prints ten million lines: that a viewer gets all of
// them, what memory that takes, and what it costs to see the last lines, against
// `docker logs --tail` of a container that has printed the same and against a
// log of one line.
func (b *bench) big(ctx context.Context) error {
	log, err := b.printed(ctx, "big", bigScript)
	if err != nil {
		return err
	}
	memory := watchMemory(ctx, log.event)
	begun := time.Now()
	if err := log.watch(ctx, bigCount); err != nil {
		return err
	}
	took, worker := time.Since(begun), memory()
	if _, err := log.outcome(ctx, log.event); err != nil {
		return err
	}
	server := peak(b.system.Server.PID())
	b.note("10,000,000 lines, live at a viewer", "%.0f s, all in order", took.Seconds())
	b.goal("  memory of the server, at most", fmt.Sprintf("< %d MB", memoryGoal), server > 0 && server < memoryGoal, "%.0f MB", server)
	b.goal("  memory of the worker, at most", fmt.Sprintf("< %d MB", memoryGoal), worker > 0 && worker < memoryGoal, "%.0f MB", worker)
	return b.tails(ctx, log)
}

// tails measures how long the last lines take to be shown.
func (b *bench) tails(ctx context.Context, big *bigLog) error {
	small, err := b.printed(ctx, "small", "echo 1")
	if err != nil {
		return err
	}
	if err := small.watch(ctx, 1); err != nil {
		return err
	}
	say("ten million lines once more, for `docker logs --tail`")
	container, remove, err := printedContainer(ctx, bigScript)
	if err != nil {
		return err
	}
	defer remove()
	var ofBig, ofSmall, ofDocker series
	for range tailTurns {
		for at, measure := range map[*series]func() error{
			&ofBig:    func() error { return big.tail(ctx) },
			&ofSmall:  func() error { return small.tail(ctx) },
			&ofDocker: func() error { return dockerTail(ctx, container) },
		} {
			begun := time.Now()
			if err := measure(); err != nil {
				return err
			}
			at.add(float64(time.Since(begun).Microseconds()) / 1000)
		}
	}
	b.goal(fmt.Sprintf("  its last %d lines", tailLines), fmt.Sprintf("< %.0f ms", tailGoal), ofBig.median() < tailGoal,
		"%.1f ms; %s of a log of one line, %s of `docker logs --tail`", ofBig.median(),
		ofBig.over(ofSmall).show("%.2fx"), ofBig.over(ofDocker).show("%.2fx"))
	return nil
}

// bigLog is an event that prints numbers.
type bigLog struct {
	*project
	event string
}

func (b *bench) printed(ctx context.Context, name, script string) (*bigLog, error) {
	config := "pre_build:\n  image: busybox:1\n  commands: " + script + "\n"
	p, err := b.newProject(ctx, b.system.Server, name, map[string][]byte{"caicloud.yml": []byte(config)})
	if err != nil {
		return nil, err
	}
	say("%s: %s", name, script)
	id, err := p.deliver(ctx, b.system.Server)
	return &bigLog{p, id}, err
}

// watch follows the log to its end and checks every line, keeping none.
func (l *bigLog) watch(ctx context.Context, want int) error {
	server := l.b.system.Server
	url := "ws" + strings.TrimPrefix(server.URL, "http") + "/api/v1/events/" + l.event + "/logs/stream"
	conn, answer, err := websocket.DefaultDialer.DialContext(ctx, url, http.Header{"Authorization": {"Bearer " + server.Token}})
	if err != nil {
		return fmt.Errorf("open log stream: %w", err)
	}
	_ = answer.Body.Close() // empty: the connection has been taken over
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	seen := 0
	for next := int64(1); ; {
		_, data, err := conn.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			break
		}
		if err != nil {
			return fmt.Errorf("read log stream: %w", err)
		}
		lines, err := linesIn(data)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if line.N != next {
				return fmt.Errorf("line %d follows line %d", line.N, next-1)
			}
			next++
			if line.Stream != cyclone.Stdout || strings.HasPrefix(line.Text, "$ ") {
				continue
			}
			if seen++; line.Text != strconv.Itoa(seen) {
				return fmt.Errorf("line %d is %q, want %d", line.N, line.Text, seen)
			}
		}
	}
	if seen != want {
		return fmt.Errorf("%d of %d lines arrived", seen, want)
	}
	return nil
}

// tail reads the log's last lines.
func (l *bigLog) tail(ctx context.Context) error {
	var text []byte
	return l.b.system.Server.Call(ctx, "GET", "/api/v1/events/"+l.event+"/logs?tail="+strconv.Itoa(tailLines), nil, &text)
}

func dockerTail(ctx context.Context, container string) error {
	out, err := exec.CommandContext(ctx, "docker", "logs", "--tail", strconv.Itoa(tailLines), container).Output()
	if err != nil {
		return fmt.Errorf("docker logs --tail: %w", err)
	}
	if got := strings.Count(string(out), "\n"); got != tailLines {
		return fmt.Errorf("docker logs --tail printed %d lines", got)
	}
	return nil
}
