package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
)

// How long a viewer that hears nothing waits before it looks into the store:
// the worker may be connected to another replica. When it is connected to
// this one, looking is only a precaution.
const (
	lookEvery     = time.Second
	lookEveryHere = 15 * time.Second
)

// viewerMessages bounds what a viewer may send: nothing but goodbye.
const viewerMessages = 4 << 10

// streamLog replays an event's log from a line on and then follows it.
func (s *Server) streamLog(w http.ResponseWriter, r *http.Request) error {
	e, err := s.eventWithLog(r)
	if err != nil {
		return err
	}
	q := queryOf(r)
	from, tail := q.number("from", 1, 0), q.number("tail", 1, 0)
	if from > 0 && tail > 0 {
		q.bad.Add("tail", "only one of from and tail may be given")
	}
	if err := q.bad.OrNil(); err != nil {
		return err
	}
	if tail > 0 {
		last, err := s.Logs.Last(r.Context(), e.ID)
		if err != nil {
			return fmt.Errorf("find end of log: %w", err)
		}
		from = last - tail + 1
	}
	takeTime(r)
	c, err := s.upgrade(w, r, "", viewerPatience)
	if c == nil {
		return err
	}
	defer s.release(c)
	defer s.Metrics.Viewer()()
	c.ping(pingEvery)
	readerDone := c.read(viewerMessages, func(int, []byte) error { return nil })
	v := &viewer{server: s, socket: c, id: e.ID, next: max(from, 1), stages: map[cyclone.Stage]string{}}
	err = v.run(c.ctx)
	if c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	if err != nil && !errors.Is(err, errLeft) && !errors.Is(err, errDraining) {
		s.Log.WarnContext(c.ctx, "log stream broke off", "event", e.ID, "request", requestID(r), "error", err)
	}
	c.part(err, readerDone)
	return nil
}

// viewer is one reader of an event's log.
type viewer struct {
	server *Server
	socket *socket
	id     cyclone.EventID
	next   int64                    // the number of the next line to send
	stages map[cyclone.Stage]string // as last sent
	// revision is that of the event when it was last read.
	revision int64
	lookout  *lookout
}

// run sends the log until the event is over. Looking into the store and
// listening alternate: whatever a live message cannot continue without a gap
// is fetched from the store, which has every line before it is announced.
func (v *viewer) run(ctx context.Context) error {
	// Listening begins before looking, so that nothing falls in between.
	live := v.server.Live.Subscribe(string(v.id))
	defer live.Close()
	lookout, leave := v.server.lookouts.join(v.id)
	defer leave()
	v.lookout = lookout
	for {
		e, err := v.server.Events.Find(ctx, v.id)
		if errors.Is(err, cyclone.ErrNotFound) {
			// It was deleted with its project, which cancels it before.
			return v.sendEnd(&cyclone.Event{Status: cyclone.StatusCanceled, LogLines: v.next - 1})
		}
		if err != nil {
			return err
		}
		v.revision = e.Run.Revision
		if err := v.sendStages(e); err != nil {
			return err
		}
		// A final event was read before its log: that is then complete.
		if err := v.replay(ctx); err != nil {
			return err
		}
		if e.Status.Final() {
			return v.finish(ctx, e)
		}
		v.lookout.begin(v.revision, v.next-1)
		wait := lookEvery
		if v.server.sockets.connected(workerPeer(e.Worker.ID)) {
			wait = lookEveryHere
		}
		if err := v.follow(ctx, live, wait); err != nil {
			return err
		}
	}
}

// replay sends what the store has.
func (v *viewer) replay(ctx context.Context) error {
	reader := chunkReader{logs: v.server.Logs, event: v.id}
	for {
		chunks, err := reader.read(ctx, v.next)
		if err != nil {
			return err
		}
		before := v.next
		for i, c := range chunks {
			chunks[i] = cyclone.Chunk{} // nothing that was sent is kept while the viewer takes the rest
			if c.First > v.next {
				return fmt.Errorf("read log of event %s: lines %d to %d are missing", v.id, v.next, c.First-1)
			}
			if err := v.sendChunk(c); err != nil {
				return err
			}
		}
		if v.next == before {
			return nil
		}
	}
}

// follow sends live messages until there is something in the store that they
// did not bring.
func (v *viewer) follow(ctx context.Context, live *livelog.Reader, wait time.Duration) error {
	for {
		short, cancel := context.WithTimeout(ctx, wait)
		m, err := live.Next(short)
		cancel()
		look := false
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, livelog.ErrLagged):
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			look, err = v.behind(ctx)
		case err == nil:
			look, err = v.take(m.Value)
		}
		if look || err != nil {
			return err
		}
	}
}

// behind reports whether the store has what was not sent yet.
func (v *viewer) behind(ctx context.Context) (bool, error) {
	seen, err := v.lookout.look(ctx, v.server, v.id)
	return seen.news(v.next, v.revision), err
}

// take sends what a live message brings and reports whether the store has to
// be looked into.
func (v *viewer) take(value any) (look bool, err error) {
	switch value := value.(type) {
	case cyclone.Chunk:
		switch {
		case value.Last() < v.next:
			return false, nil
		case value.First > v.next:
			return true, nil
		}
		return false, v.sendChunk(value)
	case cyclone.Line:
		if value.N < v.next {
			return false, nil
		}
		return false, v.socket.send(append(appendLine([]byte(`{"type":"partial",`), &value), '}'))
	case *cyclone.Event:
		v.revision = max(v.revision, value.Run.Revision)
		return value.Status.Final(), v.sendStages(value)
	}
	return false, nil
}

// sendChunk sends the lines of a chunk that were not sent yet.
func (v *viewer) sendChunk(c cyclone.Chunk) error {
	for v.next <= c.Last() {
		frames, err := v.server.frames.frames(v.id, c, v.next)
		if err != nil {
			return fmt.Errorf("read log of event %s, lines %d to %d: %w", v.id, c.First, c.Last(), err)
		}
		for _, frame := range frames {
			if err := v.socket.send(frame.data); err != nil {
				return err
			}
			v.next = frame.last + 1
		}
	}
	return nil
}

// sendStages sends the stages that are not as they were last sent.
func (v *viewer) sendStages(e *cyclone.Event) error {
	for _, stage := range e.Stages {
		data, err := json.Marshal(stage)
		if err != nil {
			return fmt.Errorf("encode stage: %w", err)
		}
		if v.stages[stage.Name] == string(data) {
			continue
		}
		v.stages[stage.Name] = string(data)
		if err := v.socket.send([]byte(`{"type":"stage","stage":` + string(data) + `}`)); err != nil {
			return err
		}
	}
	return nil
}

// finish ends the stream of an event that is over. One whose log was removed
// meanwhile must not look complete.
func (v *viewer) finish(ctx context.Context, e *cyclone.Event) error {
	if v.next <= e.LogLines {
		now, err := v.server.Events.Find(ctx, v.id)
		if err == nil && now.LogRemovedAt != nil {
			return logRemoved(now)
		}
	}
	return v.sendEnd(e)
}

func (v *viewer) sendEnd(e *cyclone.Event) error {
	end := `{"type":"end","status":"` + string(e.Status) + `","lines":` + strconv.FormatInt(e.LogLines, 10) + `}`
	return v.socket.send([]byte(end))
}
