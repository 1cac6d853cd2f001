package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

const (
	lineCount   = 1_000_000
	linesGoal   = 0.5
	memoryGoal  = 200 // MB
	linesScript = "seq 1 1000000"
)

// lines measures a step that prints a million lines: from the first to the
// last of them at a websocket viewer that watches live, against `docker logs`
// of a container that has printed the same. Every line is checked.
func (b *bench) lines(ctx context.Context) error {
	config := "pre_build:\n  image: busybox:1\n  commands: " + linesScript + "\n"
	p, err := b.newProject(ctx, b.system.Server, "lines", map[string][]byte{"caicloud.yml": []byte(config)})
	if err != nil {
		return err
	}
	printed, remove, err := printedContainer(ctx, linesScript)
	if err != nil {
		return err
	}
	defer remove()
	say("a million lines: live at a viewer and `docker logs` in turns, %d times", b.lineRounds)
	var live, replay, plain series
	var server, worker float64
	for i := range b.lineRounds {
		docker, err := dockerLogs(ctx, printed)
		if err != nil {
			return err
		}
		got, err := p.watchLines(ctx)
		if err != nil {
			return err
		}
		plain.add(docker)
		live.add(got.live)
		replay.add(got.replay)
		server, worker = max(server, got.server), max(worker, got.worker)
		fmt.Printf("    %d: live %.2f s, replayed %.2f s, docker logs %.2f s; nothing lost, in order\n", i+1, got.live, got.replay, docker)
	}
	speed := plain.over(live)
	b.goal("1,000,000 lines live / docker logs", fmt.Sprintf(">= %.1fx the speed", linesGoal), speed.median() >= linesGoal,
		"%s: %s against %s, all in order", speed.show("%.2fx"), live.seconds(), plain.seconds())
	again := plain.over(replay)
	b.note("  replayed from the store afterwards", "%s: %s", again.show("%.2fx"), replay.seconds())
	b.goal("  memory of the server, at most", fmt.Sprintf("< %d MB", memoryGoal), server > 0 && server < memoryGoal, "%.0f MB", server)
	b.goal("  memory of the worker, at most", fmt.Sprintf("< %d MB", memoryGoal), worker > 0 && worker < memoryGoal, "%.0f MB", worker)
	return nil
}

// printedContainer runs the same output on the host's engine, with the log
// driver that engines have by default, and keeps the container.
func printedContainer(ctx context.Context, script string) (id string, remove func(), err error) {
	out, err := exec.CommandContext(ctx, "docker", "run", "-d", "--log-driver", "json-file", hostImage, "sh", "-c", script).Output()
	if err != nil {
		return "", nil, fmt.Errorf("docker run: %w", err)
	}
	id = strings.TrimSpace(string(out))
	remove = func() { _ = exec.Command("docker", "rm", "-f", "-v", id).Run() } // it was ours alone
	if err := exec.CommandContext(ctx, "docker", "wait", id).Run(); err != nil {
		remove()
		return "", nil, fmt.Errorf("docker wait: %w", err)
	}
	return id, remove, nil
}

// dockerLogs returns the seconds from the first to the last line.
func dockerLogs(ctx context.Context, id string) (float64, error) {
	cmd := exec.CommandContext(ctx, "docker", "logs", id)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	buffer := make([]byte, 64<<10)
	var first, last time.Time
	count := 0
	for {
		n, err := out.Read(buffer)
		if n > 0 {
			if last = time.Now(); first.IsZero() {
				first = last
			}
			count += bytes.Count(buffer[:n], []byte("\n"))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("docker logs: %w", err)
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("docker logs: %w", err)
	}
	if count != lineCount {
		return 0, fmt.Errorf("docker logs printed %d lines", count)
	}
	return last.Sub(first).Seconds(), nil
}

// watched is what one event with a million lines took, in seconds and MB.
type watched struct{ live, replay, server, worker float64 }

func (p *project) watchLines(ctx context.Context) (watched, error) {
	var w watched
	if err := p.commit(ctx, "Change"); err != nil {
		return w, err
	}
	id, err := p.deliver(ctx, p.b.system.Server)
	if err != nil {
		return w, err
	}
	memory := watchMemory(ctx, id)
	w.live, err = p.view(ctx, id)
	w.worker = memory()
	if err != nil {
		return w, err
	}
	if _, err := p.outcome(ctx, id); err != nil {
		return w, err
	}
	if w.replay, err = p.view(ctx, id); err != nil {
		return w, err
	}
	w.server = peak(p.b.system.Server.PID())
	return w, nil
}

// frame is a message of the log stream and when it arrived.
type frame struct {
	data []byte
	at   time.Time
}

// view reads an event's stream to its end as fast as it comes, and afterwards
// checks every line. It returns the seconds from the step's first line to its last.
func (p *project) view(ctx context.Context, event string) (float64, error) {
	frames, err := p.receive(ctx, event)
	if err != nil {
		return 0, err
	}
	next, want := int64(1), 0
	var first, last time.Time
	for _, f := range frames {
		lines, err := linesIn(f.data)
		if err != nil {
			return 0, err
		}
		for _, l := range lines {
			if l.N != next {
				return 0, fmt.Errorf("line %d follows line %d", l.N, next-1)
			}
			next++
			if l.Stream != cyclone.Stdout || strings.HasPrefix(l.Text, "$ ") {
				continue
			}
			if want++; l.Text != strconv.Itoa(want) {
				return 0, fmt.Errorf("line %d is %q, want %d", l.N, l.Text, want)
			}
			if want == 1 {
				first = f.at
			}
			last = f.at
		}
	}
	if want != lineCount {
		return 0, fmt.Errorf("%d of %d lines arrived", want, lineCount)
	}
	return last.Sub(first).Seconds(), nil
}

// receive keeps all frames of an event's stream.
func (p *project) receive(ctx context.Context, event string) ([]frame, error) {
	server := p.b.system.Server
	url := "ws" + strings.TrimPrefix(server.URL, "http") + "/api/v1/events/" + event + "/logs/stream"
	conn, answer, err := websocket.DefaultDialer.DialContext(ctx, url, http.Header{"Authorization": {"Bearer " + server.Token}})
	if err != nil {
		return nil, fmt.Errorf("open log stream: %w", err)
	}
	_ = answer.Body.Close() // empty: the connection has been taken over
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var frames []frame
	for {
		_, data, err := conn.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			return frames, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read log stream: %w", err)
		}
		frames = append(frames, frame{data, time.Now()})
	}
}
