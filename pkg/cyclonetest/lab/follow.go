package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// Follow reads an event's log over the websocket from its first line to its
// end and hands on every line, in order. It returns the final status, and an
// error when a number is missing or comes twice.
func (s *Server) Follow(ctx context.Context, event string, line func(cyclone.Line)) (cyclone.Status, error) {
	url := "ws" + strings.TrimPrefix(s.URL, "http") + "/api/v1/events/" + event + "/logs/stream"
	conn, answer, err := websocket.DefaultDialer.DialContext(ctx, url, http.Header{"Authorization": {"Bearer " + s.Token}})
	if err != nil {
		if answer != nil {
			return "", fmt.Errorf("open log stream: %w: %s", err, answer.Status)
		}
		return "", fmt.Errorf("open log stream: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	next := int64(1)
	for {
		var f wire
		if err := conn.ReadJSON(&f); err != nil {
			return "", fmt.Errorf("read log stream after line %d: %w", next-1, errors.Join(ctx.Err(), err))
		}
		for _, l := range f.Lines.list {
			if l.N != next {
				return "", fmt.Errorf("line %d follows line %d", l.N, next-1)
			}
			next++
			line(l)
		}
		if f.Type == "end" {
			if f.Lines.count != next-1 {
				return f.Status, fmt.Errorf("the stream ends with %d lines, but %d came", f.Lines.count, next-1)
			}
			return f.Status, nil
		}
	}
}
