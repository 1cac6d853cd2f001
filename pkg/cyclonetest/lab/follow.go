package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// Follow reads an event's log over the websocket from its first line to its
// end and hands on every line, in order. It returns the final status, and an
// error when a number is missing or comes twice.
func (s *Server) Follow(ctx context.Context, event string, line func(cyclone.Line)) (cyclone.Status, error) {
	return s.FollowFrom(ctx, event, 1, line)
}

// followSilence is how long a stream may say nothing: servers ping every 20 s.
const followSilence = time.Minute

// FollowFrom is Follow from a line on, as a viewer does that comes back.
func (s *Server) FollowFrom(ctx context.Context, event string, next int64, line func(cyclone.Line)) (cyclone.Status, error) {
	url := fmt.Sprintf("ws%s/api/v1/events/%s/logs/stream?from=%d", strings.TrimPrefix(s.URL, "http"), event, next)
	conn, answer, err := websocket.DefaultDialer.DialContext(ctx, url, http.Header{"Authorization": {"Bearer " + s.Token}})
	if err != nil {
		if answer != nil {
			return "", fmt.Errorf("open log stream: %w: %s", err, answer.Status)
		}
		return "", fmt.Errorf("open log stream: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	answerPing := conn.PingHandler()
	conn.SetPingHandler(func(text string) error {
		return errors.Join(conn.SetReadDeadline(time.Now().Add(followSilence)), answerPing(text))
	})
	for {
		var f wire
		if err := conn.SetReadDeadline(time.Now().Add(followSilence)); err != nil {
			return "", fmt.Errorf("read log stream: %w", err)
		}
		if err := conn.ReadJSON(&f); err != nil {
			return "", fmt.Errorf("read log stream after line %d: %w", next-1, errors.Join(ctx.Err(), err))
		}
		for _, l := range f.Lines.list {
			if l.N != next {
				return "", &GapError{l.N, next - 1}
			}
			next++
			line(l)
		}
		if f.Type == "end" {
			if f.Lines.count != next-1 {
				return f.Status, &GapError{f.Lines.count, next - 1}
			}
			return f.Status, nil
		}
	}
}

// GapError is a log stream that leaves lines out, or brings some twice: line
// Got came (or ended it) after line After.
type GapError struct{ Got, After int64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("line %d came, or ended the stream, after line %d", e.Got, e.After)
}
