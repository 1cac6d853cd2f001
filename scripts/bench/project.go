package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// project is a repository with a Cyclone project of its own.
type project struct {
	b              *bench
	name, url, sha string
	secret         string
	files          map[string][]byte
}

func (b *bench) newProject(ctx context.Context, server *lab.Server, name string, files map[string][]byte) (*project, error) {
	p := &project{b: b, name: name, url: b.system.Git.URL(name), files: files}
	if err := p.commit(ctx, "Begin"); err != nil {
		return nil, err
	}
	var made struct{ WebhookSecret string }
	err := server.Call(ctx, "POST", "/api/v1/projects", map[string]any{
		"name": name, "repository": map[string]any{"type": "github", "url": p.url},
	}, &made)
	p.secret = made.WebhookSecret
	return p, err
}

// commit makes a new commit of the same files.
func (p *project) commit(ctx context.Context, message string) error {
	var err error
	p.sha, err = p.b.system.Git.Commit(ctx, p.name, "main", message, p.files)
	return err
}

// deliver sends a signed push delivery and returns the event's id.
func (p *project) deliver(ctx context.Context, server *lab.Server) (string, error) {
	answer, err := server.Deliver(ctx, p.name, p.secret, "push", lab.Push(p.url, "main", p.sha, "Change"))
	if err != nil {
		return "", err
	}
	if len(answer.Events) != 1 {
		return "", fmt.Errorf("the delivery made %d events: %s", len(answer.Events), answer.Ignored)
	}
	if server == p.b.system.Server {
		p.b.event = answer.Events[0]
	}
	return answer.Events[0], nil
}

// outcome is the event once it is over; it must have succeeded. It returns
// when nothing of it is left on the machine, so that the next measurement
// begins undisturbed.
func (p *project) outcome(ctx context.Context, id string) (*cyclone.Event, error) {
	var e cyclone.Event
	if err := p.b.system.Server.Call(ctx, "GET", "/api/v1/events/"+id, nil, &e); err != nil {
		return nil, err
	}
	if e.Status != cyclone.StatusSuccess {
		return nil, fmt.Errorf("event %s is %s: %s", id, e.Status, e.Reason)
	}
	return &e, gone(ctx, id)
}

// gone waits until nothing of an event is left on the machine. Others may run
// workers here meanwhile.
func gone(ctx context.Context, event string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		left, err := lab.LeftoversOf(ctx, event)
		if err == nil && len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("left behind by event %s: %v", event, left), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// serverLog keeps what the server logs.
type serverLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// when is the time of the last message about an event; zero when there is none.
func (l *serverLog) when(message, event string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return logged(l.text.Bytes(), message, `.*event=`+regexp.QuoteMeta(event))
}

// logged finds the time of a message in text that slog wrote; zero when it is
// not there.
func logged(text []byte, message, rest string) time.Time {
	found := regexp.MustCompile(`(?m)^time=(\S+) level=\S+ msg="?`+regexp.QuoteMeta(message)+`"? `+rest).FindAllSubmatch(text, -1)
	if len(found) == 0 {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, string(found[len(found)-1][1]))
	if err != nil {
		return time.Time{}
	}
	return at
}
