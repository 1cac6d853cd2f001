package worker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/logchunk"
	"cyclone/pkg/worker"
)

const sha = "3f2a1b9c4d5e6f708192a3b4c5d6e7f801234567"

// server is the other end of a worker's connection.
type server struct {
	job      *cyclone.Job
	canceled chan cyclone.Cancellation
	done     chan struct{}
	err      error

	mu      sync.Mutex
	lines   []cyclone.Line
	partial []cyclone.Line
	reports []cyclone.Report
	result  *cyclone.Result
	files   map[string]upload // by kind and path
	// taken are the files of the event that a rerun takes over from.
	taken map[string][]byte
	// refuse answers an upload with an error; nil takes it.
	refuse func(f cyclone.File) error
	// reported is called with every report.
	reported func(r cyclone.Report)
	// seen is called with every line.
	seen func(l cyclone.Line)
}

func (s *server) Engine(context.Context) (cyclone.EngineConfig, error) {
	return cyclone.EngineConfig{}, nil
}
func (s *server) Job(context.Context) (*cyclone.Job, error) { return s.job, nil }
func (s *server) Canceled() <-chan cyclone.Cancellation     { return s.canceled }
func (s *server) Done() <-chan struct{}                     { return s.done }

func (s *server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

func (s *server) Append(_ context.Context, c cyclone.Chunk) error {
	lines, err := logchunk.Decode(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.lines = append(s.lines, lines...)
	seen := s.seen
	s.mu.Unlock()
	for _, l := range lines {
		if seen != nil {
			seen(l)
		}
	}
	return nil
}

func (s *server) Partial(l cyclone.Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = append(s.partial, l)
}

func (s *server) Report(r cyclone.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, r)
	if s.reported != nil {
		s.reported(r)
	}
	return nil
}

func (s *server) Finish(_ context.Context, r cyclone.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result = &r
	return nil
}

// upload is a file that a worker sent.
type upload struct {
	cyclone.File
	content []byte
}

func fileKey(kind cyclone.FileKind, path string) string { return string(kind) + " " + path }

func (s *server) Upload(ctx context.Context, f cyclone.File, open func() (io.ReadCloser, error)) error {
	if s.refuse != nil {
		if err := s.refuse(f); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r, err := open()
	if err != nil {
		return err
	}
	content, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if int64(len(content)) != int64(f.Size) {
		return fmt.Errorf("%s has %d bytes and not %d", f.Path, len(content), f.Size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[string]upload{}
	}
	s.files[fileKey(f.Kind, f.Path)] = upload{f, content}
	return nil
}

func (s *server) Download(_ context.Context, kind cyclone.FileKind, path string) (io.ReadCloser, error) {
	content, ok := s.taken[fileKey(kind, path)]
	if !ok {
		return nil, cyclone.NotFound("there is no %s", path)
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// log is the whole log, a line as "step| text".
func (s *server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(l.Step + "| " + l.Text + "\n")
	}
	return b.String()
}

func (s *server) last() cyclone.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reports) == 0 {
		return cyclone.Report{}
	}
	return s.reports[len(s.reports)-1]
}

// rig is a worker with everything around it made up.
type rig struct {
	server  *server
	engine  *cyclonetest.Engine
	docker  *worker.Engine
	source  *cyclonetest.Source
	cluster *cyclonetest.Cluster
	dir     string
	cache   *worker.Cache
	held    held
	cloner  cyclone.Cloner // nil for one of source
	// images stands before the engine's images; nil for nothing.
	images func(i cyclone.Images) cyclone.Images
	space  func(path string) (free, size uint64, err error)
}

// newRig returns a rig whose repository has the given caicloud.yml ("" for
// none) and files.
func newRig(t *testing.T, config string, files map[string]string) *rig {
	t.Helper()
	all := map[string]string{}
	if config != "" {
		all["caicloud.yml"] = config
	}
	for k, v := range files {
		all[k] = v
	}
	event := cyclone.Event{
		ID: "ev1", Project: "orders", Number: 42, Trigger: cyclone.Trigger{Kind: cyclone.KindPush},
		Ref: "refs/heads/main", Branch: "main", Commit: cyclone.Commit{SHA: sha, Message: "Fix"},
	}
	return &rig{
		server: &server{
			canceled: make(chan cyclone.Cancellation, 1), done: make(chan struct{}),
			job: &cyclone.Job{
				Fence: cyclone.Fence{Event: "ev1", Worker: "w1", Attempt: 1}, Event: event,
				Project: cyclone.Project{
					Name: "orders", Image: "registry.test/orders",
					Repository: cyclone.Repository{Type: "git", URL: "https://git.test/orders.git"},
				},
				Variables: map[string]string{"GOFLAGS": "-mod=vendor"},
				Stages:    cyclone.Stages, Push: true, Timeout: cyclone.Duration(time.Minute),
				Secrets: map[string]cyclone.JobSecret{"token": {Value: "hush-hush-9", Masked: true}},
			},
		},
		engine: &cyclonetest.Engine{
			Remote: map[string]cyclone.ImageInfo{"alpine": {}, "golang:1.26": {}, "postgres": {}},
			Errors: map[string]error{},
			Files:  map[string][]tar.Header{},
		},
		docker:  worker.SharedEngine(func(context.Context) error { return nil }, slog.New(slog.DiscardHandler)),
		source:  &cyclonetest.Source{Commit: cyclone.Commit{SHA: sha, Message: "Fix", Author: "A <a@x>"}, Files: all},
		cluster: &cyclonetest.Cluster{},
		dir:     t.TempDir(),
	}
}

// run runs the event and returns its result.
func (r *rig) run(t *testing.T) cyclone.Result {
	t.Helper()
	return r.runIn(t, t.Context())
}

func (r *rig) clonerOr(usual cyclone.Cloner) cyclone.Cloner {
	if r.cloner != nil {
		return r.cloner
	}
	return usual
}

// work runs the worker and returns what it returns.
func (r *rig) work(ctx context.Context) error {
	var images cyclone.Images = heldImages{r.engine.Images(), &r.held}
	if r.images != nil {
		images = r.images(images)
	}
	w := &worker.Worker{
		Server: r.server, Engine: r.docker, Containers: r.engine, Images: images, Networks: r.engine,
		Cloner:   func(string) (cyclone.Cloner, error) { return r.clonerOr(heldSource{r.source, &r.held}), nil },
		Deployer: heldCluster{r.cluster, &r.held}, Dir: r.dir, Cache: r.cache, Log: slog.New(slog.DiscardHandler),
	}
	w.SetSpace(r.space)
	return w.Run(ctx)
}

func (r *rig) runIn(t *testing.T, ctx context.Context) cyclone.Result {
	t.Helper()
	if err := r.work(ctx); err != nil {
		t.Fatalf("Run: %v", err)
	}
	r.clean(t)
	if r.server.result == nil {
		t.Fatal("no result")
	}
	for i, l := range r.server.lines {
		if want := r.server.job.LastLine + int64(i) + 1; l.N != want {
			t.Fatalf("line %d has number %d", want, l.N)
		}
	}
	if want := r.server.job.LastLine + int64(len(r.server.lines)); r.server.result.LastLine != want {
		t.Errorf("the result says %d lines, there are %d", r.server.result.LastLine, want)
	}
	return *r.server.result
}

// clean holds a worker to leaving nothing behind.
func (r *rig) clean(t *testing.T) {
	t.Helper()
	if left := r.engine.Left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "source")); err == nil {
		t.Error("the source tree was left behind")
	}
}

// fifo makes a pipe that the steps know as $FIFO and returns what waits until
// one of them has written to it.
func (r *rig) fifo(t *testing.T) (wait func()) {
	t.Helper()
	path := filepath.Join(r.dir, "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r.server.job.Variables["FIFO"] = path
	return func() { _, _ = os.ReadFile(path) } // what it says does not matter
}

// stages is the last report's stages as "pre_build success, build skipped".
func (r *rig) stages() string {
	var out []string
	for _, s := range r.server.last().Stages {
		out = append(out, string(s.Name)+" "+string(s.Status))
	}
	return strings.Join(out, ", ")
}
