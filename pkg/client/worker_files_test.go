package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

// fileServer keeps what workers send, and behaves as a test says.
type fileServer struct {
	mu    sync.Mutex
	files map[string][]byte // by URI
	calls atomic.Int32
	// first answers a call before the server does; true when it has.
	first func(call int32, w http.ResponseWriter, r *http.Request) bool
	bad   []string
}

func (s *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := s.calls.Add(1)
	if r.Header.Get("Authorization") != "Bearer once" || len(r.Header.Get("Cyclone-Session")) != 64 {
		s.note("%s without the worker's names", r.URL)
	}
	if s.first != nil && s.first(call, w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet {
		data, ok := s.files[r.URL.EscapedPath()]
		if !ok {
			http.Error(w, `{"error":{"code":"not_found","message":"there is no such file"}}`, http.StatusNotFound)
			return
		}
		_, _ = w.Write(data) // a client that is gone needs no answer
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.ContentLength != int64(len(data)) {
		s.bad = append(s.bad, fmt.Sprintf("%s says %d bytes and has %d", r.URL, r.ContentLength, len(data)))
	}
	s.files[r.URL.RequestURI()] = data
	w.WriteHeader(http.StatusCreated)
}

func (s *fileServer) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = append(s.bad, fmt.Sprintf(format, args...))
}

func (s *fileServer) kept(uri string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[uri]
}

func fileWorker(t *testing.T, url string) *client.Worker {
	t.Helper()
	w, err := client.NewWorker(url, "w1", "once")
	if err != nil {
		t.Fatal(err)
	}
	w.Log = slog.New(slog.DiscardHandler)
	t.Cleanup(w.Close)
	return w
}

func startFiles(t *testing.T, s *fileServer) *client.Worker {
	t.Helper()
	s.files = map[string][]byte{}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.Close()
		for _, b := range s.bad {
			t.Error(b)
		}
	})
	return fileWorker(t, h.URL)
}

// opens counts how often a content was opened and closed.
type opens struct {
	data         []byte
	opened, shut atomic.Int32
}

func (o *opens) open() (io.ReadCloser, error) {
	o.opened.Add(1)
	return &opened{bytes.NewReader(o.data), o, sync.Once{}}, nil
}

type opened struct {
	*bytes.Reader
	o    *opens
	once sync.Once
}

func (o *opened) Close() error {
	o.once.Do(func() { o.o.shut.Add(1) })
	return nil
}

func artifact(path string, size int) cyclone.File {
	return cyclone.File{Kind: cyclone.FileArtifact, Path: path, Stage: cyclone.StagePreBuild, Step: "a b", Size: cyclone.Size(size)}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	s := &fileServer{}
	w := startFiles(t, s)
	for _, content := range []string{"", "x", strings.Repeat("0123456789", 1_000_000)} {
		o := &opens{data: []byte(content)}
		if err := w.Upload(t.Context(), artifact("dist/a ü?%.txt", len(content)), o.open); err != nil {
			t.Fatal(err)
		}
		const uri = "/api/v1/workers/w1/files/artifact/dist/a%20%C3%BC%3F%25.txt?stage=pre_build&step=a+b"
		if got := s.kept(uri); got == nil || string(got) != content {
			t.Errorf("%d bytes arrived of %d", len(got), len(content))
		}
		if o.opened.Load() != o.shut.Load() {
			t.Errorf("opened %d times, closed %d times", o.opened.Load(), o.shut.Load())
		}
	}
}

func TestFilesOverASocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &fileServer{files: map[string][]byte{"/api/v1/workers/w1/files/output/compile": []byte("tar")}}
	h := &httptest.Server{Listener: l, Config: &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}}
	h.Start()
	defer h.Close()
	r, err := fileWorker(t, "unix://"+path).Download(t.Context(), cyclone.FileOutput, "compile")
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(data) != "tar" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestUploadAgain: the server dies in the middle, is away, and comes back.
func TestUploadAgain(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(w http.ResponseWriter, r *http.Request){
		"dies in the middle": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20) // as far as it goes
			panic(http.ErrAbortHandler)
		},
		"dies before the answer": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // all of it
			panic(http.ErrAbortHandler)
		},
		"is away":         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cannot reach":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no upstream", http.StatusBadGateway) },
		"lost its store":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", http.StatusInternalServerError) },
		"is too busy":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", http.StatusTooManyRequests) },
		"is out of order": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", http.StatusServiceUnavailable) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fileServer{first: func(call int32, w http.ResponseWriter, r *http.Request) bool {
				if call > 2 {
					return false
				}
				fail(w, r)
				return true
			}}
			w := startFiles(t, s)
			o := &opens{data: bytes.Repeat([]byte("0123456789abcdef"), 1<<18)}
			if err := w.Upload(t.Context(), artifact("a", len(o.data)), o.open); err != nil {
				t.Fatal(err)
			}
			got := s.kept("/api/v1/workers/w1/files/artifact/a?stage=pre_build&step=a+b")
			if sha256.Sum256(got) != sha256.Sum256(o.data) {
				t.Errorf("%d bytes arrived of %d", len(got), len(o.data))
			}
			if o.opened.Load() != 3 || o.shut.Load() != 3 {
				t.Errorf("opened %d times, closed %d times", o.opened.Load(), o.shut.Load())
			}
		})
	}
}

// TestUploadRefused: there is no use in trying again, and nothing of a large
// file is sent.
func TestUploadRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		kind   error
		text   string
	}{
		{http.StatusConflict, cyclone.ErrConflict, "this attempt is over: why"},
		{http.StatusForbidden, cyclone.ErrForbidden, "refuses this worker's token: why"},
		{http.StatusUnauthorized, cyclone.ErrForbidden, "refuses this worker's token: why"},
		{http.StatusRequestEntityTooLarge, cyclone.ErrInvalid, "upload artifact a: size: why"},
		{http.StatusUnprocessableEntity, cyclone.ErrInvalid, "why"},
		{http.StatusNotFound, cyclone.ErrNotFound, "why"},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			t.Parallel()
			s := &fileServer{first: func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, `{"error":{"code":"x","message":"why"}}`) // the status says it too
				return true
			}}
			w := startFiles(t, s)
			read := &counted{}
			err := w.Upload(t.Context(), artifact("a", 1<<30), func() (io.ReadCloser, error) { return read, nil })
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v", err)
			}
			if s.calls.Load() != 1 || read.n.Load() > 1<<20 {
				t.Errorf("%d calls, %d bytes", s.calls.Load(), read.n.Load())
			}
		})
	}
}

// counted is a content without an end.
type counted struct{ n atomic.Int64 }

func (c *counted) Read(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func (c *counted) Close() error { return nil }

func TestUploadOfAFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	for name, tt := range map[string]struct {
		open func() (io.ReadCloser, error)
		want error
	}{
		"not opened": {func() (io.ReadCloser, error) { return nil, broken }, broken},
		"not read": {func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("12"), errReader{broken})), nil
		}, broken},
		"shorter": {func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("12")), nil }, cyclone.ErrInvalid},
		"longer":  {func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("123456")), nil }, cyclone.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fileServer{}
			w := startFiles(t, s)
			if err := w.Upload(t.Context(), artifact("a", 4), tt.open); !errors.Is(err, tt.want) {
				t.Error(err)
			}
			if n := s.calls.Load(); n > 1 {
				t.Errorf("tried %d times", n)
			}
		})
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// TestUploadEnds with its context, and with the connection, while the server
// is away and while it takes nothing.
func TestUploadEnds(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"away": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"stuck": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // a server notices no end of a client before
			<-r.Context().Done()
		},
	} {
		for _, by := range []string{"context", "connection"} {
			t.Run(name+" "+by, func(t *testing.T) {
				t.Parallel()
				called := make(chan struct{})
				var once sync.Once
				s := &fileServer{first: func(_ int32, w http.ResponseWriter, r *http.Request) bool {
					once.Do(func() { close(called) })
					answer(w, r)
					return true
				}}
				w := startFiles(t, s)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				o := &opens{data: bytes.Repeat([]byte("x"), 1<<20)}
				done := make(chan error, 1)
				go func() { done <- w.Upload(ctx, artifact("a", len(o.data)), o.open) }()
				<-called
				if by == "context" {
					cancel(enough)
				} else {
					w.Close()
				}
				select {
				case err := <-done:
					if by == "context" && !errors.Is(err, enough) || by != "context" && !strings.Contains(err.Error(), "closed") {
						t.Error(err)
					}
				case <-time.After(10 * time.Second):
					t.Fatal("it does not end")
				}
			})
		}
	}
}
