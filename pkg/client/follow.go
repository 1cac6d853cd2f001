package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// Times of a log stream. The server pings every 20 seconds.
const (
	followSilence  = 60 * time.Second
	followBackoff  = 200 * time.Millisecond
	followMaxPause = 5 * time.Second
	followPatience = 2 * time.Minute
	followFrame    = 32 << 20 // bytes of one frame at most
)

// Start says where in a log Follow begins: at line From, or with the last Tail
// lines. The zero value is the first line.
type Start struct{ From, Tail int64 }

// Watcher receives a log. Line gets every line once and in order; an error
// ends Follow. Partial gets unfinished lines and Stage the stages that
// changed; both may be nil.
type Watcher struct {
	Line    func(cyclone.Line) error
	Partial func(cyclone.Line)
	Stage   func(cyclone.StageState)
}

// End is how an event ended.
type End struct {
	Status cyclone.Status `json:"status"`
	Lines  int64          `json:"lines"`
}

// stopError is an error of a Watcher: there is no use in trying again.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// Follow replays an event's log and follows it until the event is over. A
// connection that is lost is made again and goes on after the last line that
// was received.
func (c *Client) Follow(ctx context.Context, id cyclone.EventID, start Start, w Watcher) (End, error) {
	f := &follower{client: c, event: id, watcher: w, next: start.From, tail: start.Tail}
	patience := c.Patience
	if patience == 0 {
		patience = followPatience
	}
	pause, lost := followBackoff, time.Time{}
	for {
		end, err := f.connect(ctx)
		if err == nil {
			return end, nil
		}
		var stop *stopError
		if ctx.Err() != nil {
			return End{}, context.Cause(ctx)
		}
		if errors.As(err, &stop) {
			return End{}, stop.err
		}
		if !errors.Is(err, cyclone.ErrUnavailable) {
			return End{}, err
		}
		if f.heard {
			pause, lost, f.heard = followBackoff, time.Time{}, false
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost)+pause > patience {
			return End{}, err
		}
		select {
		case <-ctx.Done():
			return End{}, context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, followMaxPause)
	}
}

// follower is one call of Follow.
type follower struct {
	client  *Client
	event   cyclone.EventID
	watcher Watcher
	next    int64 // the line to come; 0 while only tail says
	tail    int64
	heard   bool // the last connection was of use, so patience begins anew
}

// connect reads one connection to its end. A connection that breaks is
// ErrUnavailable.
func (f *follower) connect(ctx context.Context) (End, error) {
	c := f.client
	values := url.Values{}
	if f.next > 0 {
		setNumber(values, "from", f.next)
	} else {
		setNumber(values, "tail", f.tail)
	}
	address := "ws" + strings.TrimPrefix(c.base, "http") + path("events", string(f.event), "logs", "stream")
	if len(values) > 0 {
		address += "?" + values.Encode()
	}
	dialer := websocket.Dialer{NetDialContext: c.dial, HandshakeTimeout: 20 * time.Second, ReadBufferSize: 64 << 10}
	if c.socket == "" {
		dialer.Proxy = http.ProxyFromEnvironment
	}
	conn, answer, err := dialer.DialContext(ctx, address, c.header())
	if err != nil {
		if answer != nil && answer.StatusCode >= 300 {
			return End{}, readError(answer)
		}
		return End{}, c.away(ctx, err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return f.read(ctx, conn)
}

func (f *follower) read(ctx context.Context, conn *websocket.Conn) (End, error) {
	conn.SetReadLimit(followFrame)
	answerPing := conn.PingHandler()
	conn.SetPingHandler(func(s string) error {
		return errors.Join(conn.SetReadDeadline(time.Now().Add(followSilence)), answerPing(s))
	})
	begin := time.Now()
	for {
		if err := conn.SetReadDeadline(time.Now().Add(followSilence)); err != nil {
			return End{}, f.client.away(ctx, err)
		}
		_, data, err := conn.ReadMessage()
		if err != nil {
			f.heard = f.heard || time.Since(begin) > followMaxPause
			return End{}, f.client.away(ctx, err)
		}
		end, err := f.take(data)
		if end != nil || err != nil {
			if err != nil {
				return End{}, err
			}
			return *end, nil
		}
	}
}

// take handles one frame and returns the end when it is that.
func (f *follower) take(data []byte) (*End, error) {
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, fmt.Errorf("read log stream: %w", err)
	}
	var frame struct {
		Lines []cyclone.Line     `json:"lines"`
		Stage cyclone.StageState `json:"stage"`
	}
	var line cyclone.Line
	var end End
	var err error
	switch kind.Type {
	case "lines":
		if err = json.Unmarshal(data, &frame); err == nil {
			return nil, f.lines(frame.Lines)
		}
	case "partial":
		if err = json.Unmarshal(data, &line); err == nil && f.watcher.Partial != nil && line.N >= f.next {
			f.watcher.Partial(line)
		}
	case "stage":
		if err = json.Unmarshal(data, &frame); err == nil && f.watcher.Stage != nil {
			f.watcher.Stage(frame.Stage)
		}
	case "end":
		if err = json.Unmarshal(data, &end); err == nil {
			return &end, nil
		}
	}
	// Kinds that are not known come from a newer server and may be passed over.
	if err != nil {
		return nil, fmt.Errorf("read log stream: %w", err)
	}
	return nil, nil
}

func (f *follower) lines(lines []cyclone.Line) error {
	for _, line := range lines {
		if f.next > 0 && line.N < f.next {
			continue // had it before the connection was lost
		}
		if f.next > 0 && line.N > f.next {
			return cyclone.Unavailable("the log stream jumps from line %d to %d", f.next-1, line.N)
		}
		if err := f.watcher.Line(line); err != nil {
			return &stopError{err}
		}
		f.next, f.heard = line.N+1, true
	}
	return nil
}
