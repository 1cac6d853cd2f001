package local

import (
	"context"
	"io"
	"sync"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

// watcher is told what becomes of a run, one call at a time.
type watcher interface {
	lines(all []cyclone.Line)
	partial(l cyclone.Line)
	report(r cyclone.Report)
}

// Server is what a worker of a local run takes for its server. Its methods are
// those of a worker's connection.
type Server struct {
	// Files takes what the run keeps, and has what it takes over.
	Files *Files

	job      *cyclone.Job
	watch    watcher
	canceled chan cyclone.Cancellation
	done     chan struct{}

	mu     sync.Mutex // guards watch's calls too
	report cyclone.Report
	result cyclone.Result
}

// NewServer returns the server of one run. Whoever watches sees every line and
// report.
func NewServer(job *cyclone.Job, files *Files, watch watcher) *Server {
	return &Server{
		Files: files, job: job, watch: watch,
		canceled: make(chan cyclone.Cancellation, 1), done: make(chan struct{}),
	}
}

// Engine returns settings of no engine: the person's own runs already.
func (s *Server) Engine(context.Context) (cyclone.EngineConfig, error) {
	return cyclone.EngineConfig{}, nil
}

// Job returns the job.
func (s *Server) Job(context.Context) (*cyclone.Job, error) { return s.job, nil }

// Append shows the lines of a chunk, all at once: a program may print many.
func (s *Server) Append(_ context.Context, c cyclone.Chunk) error {
	lines, err := logchunk.Decode(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch.lines(lines)
	return nil
}

// Partial shows an unfinished line.
func (s *Server) Partial(l cyclone.Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch.partial(l)
}

// Report shows how far the run is.
func (s *Server) Report(r cyclone.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = r
	s.watch.report(r)
	return nil
}

// Finish takes the result.
func (s *Server) Finish(_ context.Context, r cyclone.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result = r
	return nil
}

// Outcome is the last report and the result; the result's status is empty while
// there is none.
func (s *Server) Outcome() (cyclone.Report, cyclone.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report, s.result
}

// Cancel asks the worker to end the run.
func (s *Server) Cancel(reason string) {
	select {
	case s.canceled <- cyclone.Cancellation{Reason: reason}:
	default: // it was asked before
	}
}

// Canceled tells the worker that somebody canceled the run.
func (s *Server) Canceled() <-chan cyclone.Cancellation { return s.canceled }

// Done is never closed: nobody else could take the run.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is nil: see Done.
func (s *Server) Err() error { return nil }

// Upload keeps a file; see Files.
func (s *Server) Upload(ctx context.Context, f cyclone.File, open func() (io.ReadCloser, error)) error {
	return s.Files.put(ctx, f, open)
}

// Download returns a file of an earlier run; see Files.
func (s *Server) Download(_ context.Context, kind cyclone.FileKind, path string) (io.ReadCloser, error) {
	return s.Files.open(kind, path)
}
