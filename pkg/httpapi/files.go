package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// stallTime is how long a file on its way may make no progress: then its
// sender, its receiver or the store is taken for gone.
const stallTime = time.Minute

// fileKinds are the kinds of files that workers keep.
var fileKinds = []cyclone.FileKind{cyclone.FileArtifact, cyclone.FileReport, cyclone.FileOutput}

// workersFile lets a worker in and reads which file it is about. Event is the
// worker's own.
func (s *Server) workersFile(r *http.Request) (cyclone.Fence, cyclone.File, error) {
	var none cyclone.File
	if s.Files == nil {
		return cyclone.Fence{}, none, cyclone.NotFound("this server keeps no files")
	}
	vars := mux.Vars(r)
	f := cyclone.File{Kind: cyclone.FileKind(vars["kind"]), Path: vars["path"]}
	var bad cyclone.InvalidError
	if !slices.Contains(fileKinds, f.Kind) {
		bad.Add("kind", "%q is not a kind of file%s", clip(string(f.Kind), 30), oneOf(texts(fileKinds)))
	}
	if !cyclone.ValidFilePath(f.Path) {
		bad.Add("path", "%q cannot be a file's path: it must be relative, without . and .., of printable characters and at most 1024 bytes", clip(f.Path, 200))
	}
	if err := bad.OrNil(); err != nil {
		return cyclone.Fence{}, none, err
	}
	fence, _, err := s.admitWorker(r)
	f.Event = fence.Event
	return fence, f, err
}

// putFile keeps a file with the event of a worker, while its attempt holds.
// The same call again replaces the file, so that a worker that does not know
// whether it arrived may send it again.
func (s *Server) putFile(w http.ResponseWriter, r *http.Request) error {
	fence, f, err := s.workersFile(r)
	if err != nil {
		return err
	}
	q := queryOf(r)
	f.Stage, f.Step = cyclone.Stage(q.values.Get("stage")), q.values.Get("step")
	checkOneOf("stage", string(f.Stage), &q.bad, texts(cyclone.Stages)...)
	checkText("step", f.Step, 200, &q.bad)
	if err := q.bad.OrNil(); err != nil {
		return err
	}
	room, release, err := s.reserve(r, f)
	if err != nil {
		return err
	}
	defer release()
	f.CreatedAt = cyclone.Stamp(time.Now())
	ctx, body, end := s.receive(w, r, room, func(ctx context.Context) error { return s.holds(ctx, fence) })
	kept, err := s.Files.Put(ctx, f, body)
	end()
	release() // before the worker is answered: its next file must not find this one counted twice
	if err != nil {
		return body.blame(ctx, err)
	}
	writeJSON(w, http.StatusCreated, kept)
	return nil
}

// holds is ErrConflict when the attempt is over.
func (s *Server) holds(ctx context.Context, fence cyclone.Fence) error {
	e, err := s.Events.Find(ctx, fence.Event)
	switch {
	case errors.Is(err, cyclone.ErrNotFound):
		return cyclone.Conflict("event %s does not exist any more", fence.Event)
	case err != nil:
		return fmt.Errorf("find event %s: %w", fence.Event, err)
	case !fence.Holds(e):
		return cyclone.Conflict("attempt %d at event %s is over", fence.Attempt, fence.Event)
	}
	return nil
}

// moving is how many bytes are on their way to each event.
type moving struct {
	mu  sync.Mutex
	all map[cyclone.EventID]int64
}

func (m *moving) add(id cyclone.EventID, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[cyclone.EventID]int64{}
	}
	if m.all[id] += n; m.all[id] == 0 {
		delete(m.all, id)
	}
}

func (m *moving) of(id cyclone.EventID) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[id]
}

// reserve returns how many bytes a file may have, beside what is kept with its
// event and what else is on its way; -1 is any number. A file that says to be
// larger is refused before it is sent.
func (s *Server) reserve(r *http.Request, f cyclone.File) (room int64, release func(), err error) {
	if s.FileLimit <= 0 {
		return -1, func() {}, nil
	}
	announced := max(r.ContentLength, 0)
	s.moving.add(f.Event, announced)
	release = sync.OnceFunc(func() { s.moving.add(f.Event, -announced) })
	all, err := s.Files.List(r.Context(), f.Event, "")
	if err != nil {
		release()
		return 0, nil, fmt.Errorf("list files: %w", err)
	}
	room = int64(s.FileLimit) - (s.moving.of(f.Event) - announced)
	for _, old := range all {
		if old.Kind != f.Kind || old.Path != f.Path { // that one is replaced
			room -= int64(old.Size)
		}
	}
	if announced > room {
		release()
		return 0, nil, s.beyondLimit(f.Path)
	}
	return max(room, 0), release, nil
}

func (s *Server) beyondLimit(path string) error {
	return &statusError{http.StatusRequestEntityTooLarge, "too_large",
		fmt.Sprintf("with %s the files kept with the event would be larger than %s, which is this server's limit (artifact-limit)", path, s.FileLimit)}
}

// receive makes a body one that may be large and take long. It ends, and with
// it the context, when nothing moves for stallTime; over says after its last
// byte, and before the store may show the file, whether it still counts.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, room int64, over func(context.Context) error) (context.Context, *incoming, func()) {
	takeTime(r)
	ctx, cancel := context.WithCancelCause(r.Context())
	in := &incoming{
		body: r.Body, control: http.NewResponseController(w), ctx: ctx, over: over, room: room,
		large: func() error { return s.beyondLimit(mux.Vars(r)["path"]) },
	}
	in.watch = time.AfterFunc(stallTime, func() { cancel(errSlowStore) })
	return ctx, in, func() {
		in.watch.Stop()
		cancel(nil)
		_ = in.control.SetReadDeadline(time.Time{}) // where it was not possible none was set
	}
}

// incoming is the content of a file on its way to the store.
type incoming struct {
	body    io.Reader
	control *http.ResponseController
	ctx     context.Context
	watch   *time.Timer // of the time between two reads, which is the store's
	over    func(context.Context) error
	large   func() error

	room int64 // -1: any number
	// err ends the content; refusal is set with it when it is not the way's
	// fault: there is too much of it, or it comes too late.
	err, refusal error
}

// Read implements io.Reader.
func (in *incoming) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	in.watch.Stop()
	defer in.watch.Reset(stallTime)
	// A sender that fell silent must not keep its request for ever.
	_ = in.control.SetReadDeadline(time.Now().Add(stallTime)) // what has no deadline has no connection either
	var n int
	n, in.err = in.body.Read(p)
	if in.room >= 0 && int64(n) > in.room {
		in.refusal = in.large()
		in.err = in.refusal
		return 0, in.err
	}
	if in.room >= 0 {
		in.room -= int64(n)
	}
	if errors.Is(in.err, io.EOF) {
		// Invariant: a late writer of an older attempt changes nothing.
		if in.refusal = in.over(in.ctx); in.refusal != nil {
			in.err = in.refusal
		}
	}
	return n, in.err
}

// blame tells a content that could not be read from a store that could not
// write it.
func (in *incoming) blame(ctx context.Context, err error) error {
	switch {
	case in.refusal != nil:
		return in.refusal
	case errors.Is(context.Cause(ctx), errSlowStore):
		return &slowError{err}
	case in.err != nil && !errors.Is(in.err, io.EOF):
		// The way between has failed, so that it is worth sending again.
		return cyclone.Unavailable("the file ended early or made no progress for %s; send it again", cyclone.Duration(stallTime))
	}
	return fmt.Errorf("keep file: %w", err)
}

// takeOverFile sends a worker a file of the event that its rerun takes over from.
func (s *Server) takeOverFile(w http.ResponseWriter, r *http.Request) error {
	fence, f, err := s.workersFile(r)
	if err != nil {
		return err
	}
	e, err := s.Events.Find(r.Context(), fence.Event)
	if err != nil {
		return fmt.Errorf("find event: %w", err)
	}
	if e.Run.Base == "" {
		return cyclone.NotFound("event #%d takes nothing over from another", e.Number)
	}
	base, err := s.Events.Find(r.Context(), e.Run.Base)
	if err != nil {
		return notFound(err, "the event that event #%d takes over from does not exist any more", e.Number)
	}
	return s.sendFile(w, r, base, f.Kind, f.Path, func(http.Header, cyclone.File) {})
}
