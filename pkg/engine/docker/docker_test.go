package docker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/engine/docker"
)

// lines is an Output that keeps the text of each Write with its stream.
type lines struct{ got []string }

func (l *lines) Write(stream cyclone.Stream, p []byte) {
	l.got = append(l.got, string(stream)+": "+string(p))
}

// stand is an engine that answers every call but ping with the handler. What
// it cannot show, the tests under the tag e2e show on a real engine.
func stand(t *testing.T, handler http.HandlerFunc) *docker.Engine {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			w.Header().Set("API-Version", "1.41")
			return
		}
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	e, err := docker.New("tcp://" + server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func answer(status int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"message":%q}`, message) // the client sees a failure
	}
}

func TestErrorsOfTheEngineGetTheirKind(t *testing.T) {
	tests := map[string]struct {
		status  int
		message string
		want    error
	}{
		"not found": {404, "No such container: abc", cyclone.ErrNotFound},
		"conflict":  {409, "removal is already in progress", cyclone.ErrConflict},
		"invalid":   {400, "invalid mount", cyclone.ErrInvalid},
		"forbidden": {403, "authorization denied by plugin", cyclone.ErrForbidden},
		"down":      {503, "the engine is stopping", cyclone.ErrUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := stand(t, answer(tt.status, tt.message)).Inspect(t.Context(), "abc")
			if !errors.Is(err, tt.want) || err.Error() != "inspect container abc: "+tt.message {
				t.Errorf("error %v, want kind %v", err, tt.want)
			}
		})
	}
	t.Run("internal", func(t *testing.T) {
		_, err := stand(t, answer(500, "it broke")).Inspect(t.Context(), "abc")
		for _, kind := range []error{cyclone.ErrNotFound, cyclone.ErrConflict, cyclone.ErrInvalid, cyclone.ErrForbidden, cyclone.ErrUnavailable} {
			if errors.Is(err, kind) {
				t.Errorf("error %v is of the kind %v", err, kind)
			}
		}
	})
	t.Run("canceled", func(t *testing.T) {
		why := errors.New("somebody asked")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if _, err := stand(t, answer(500, "")).Inspect(ctx, "abc"); !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
	})
}

func TestRegistryErrorsInTheStream(t *testing.T) {
	const image = "registry.example.com/shop/web:1"
	tests := map[string]struct {
		text  string
		kind  error
		texts []string
	}{
		"hub's answer for both": {"pull access denied for shop/web, repository does not exist or may require 'docker login'", cyclone.ErrNotFound, []string{"no such image", "login"}},
		"unknown tag":           {"manifest for x not found: manifest unknown: manifest unknown", cyclone.ErrNotFound, nil},
		"unauthorized":          {"unauthorized: authentication required", cyclone.ErrForbidden, []string{"username and password"}},
		"denied":                {"denied: requested access to the resource is denied", cyclone.ErrForbidden, nil},
		"no TLS":                {`Get "https://registry.example.com/v2/": http: server gave HTTP response to HTTPS client`, cyclone.ErrUnavailable, []string{"CYCLONE_INSECURE_REGISTRIES"}},
		"certificate":           {`Get "https://registry.example.com/v2/": x509: certificate signed by unknown authority`, cyclone.ErrUnavailable, []string{"certificate"}},
		"name":                  {"Get https://registry.example.com/v2/: dial tcp: lookup registry.example.com: no such host", cyclone.ErrUnavailable, []string{"cannot be reached"}},
		"broken":                {"received unexpected HTTP status: 502 Bad Gateway", cyclone.ErrUnavailable, nil},
		"disk":                  {"failed to register layer: write /x: no space left on device", cyclone.ErrUnavailable, []string{"disk is full"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := stand(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(w, `{"status":"Pulling","id":"1"}`+"\n"+`{"errorDetail":{"message":%q},"error":%q}`, tt.text, tt.text)
			})
			err := e.Images().Pull(t.Context(), image, nil, &lines{})
			if !errors.Is(err, tt.kind) {
				t.Errorf("error %v is not of the kind %v", err, tt.kind)
			}
			for _, want := range append(tt.texts, tt.text, image) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
}

func TestPushWithoutADigestIsAnError(t *testing.T) {
	e := stand(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Registry-Auth") != "e30=" {
			t.Errorf("login header %q; engine 20.10 refuses a push without one", r.Header.Get("X-Registry-Auth"))
		}
		_, _ = io.WriteString(w, `{"status":"Pushed","id":"1"}`)
	})
	if d, err := e.Images().Push(t.Context(), "registry.example.com/web:1", nil, &lines{}); err == nil || d != "" {
		t.Errorf("digest %q, error %v", d, err)
	}
}

func TestPullPrintsReadableLines(t *testing.T) {
	e := stand(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"Pulling from library/golang","id":"1.26"}
{"status":"Pulling fs layer","progressDetail":{},"id":"a"}
{"status":"Already exists","progressDetail":{},"id":"b"}
{"status":"Waiting","progressDetail":{},"id":"a"}
{"status":"Downloading","progressDetail":{"current":1000,"total":9000},"progress":"[=> ]","id":"a"}
{"status":"Downloading","progressDetail":{"current":8000,"total":9000},"progress":"[=> ]","id":"a"}
{"status":"Verifying Checksum","progressDetail":{},"id":"a"}
{"status":"Pull complete","progressDetail":{},"id":"a"}
{"status":"Digest: sha256:abc"}
{"status":"Status: Downloaded newer image for golang:1.26"}
`)
	})
	var out lines
	if err := e.Images().Pull(t.Context(), "golang:1.26", nil, &out); err != nil {
		t.Fatal(err)
	}
	want := []string{"stdout: 1.26: Pulling from library/golang\n", "stdout: b: Already exists\n", "stdout: a: Pull complete\n",
		"stdout: Digest: sha256:abc\n", "stdout: Status: Downloaded newer image for golang:1.26\n"}
	if diff := cmp.Diff(want, out.got); diff != "" {
		t.Error(diff)
	}
}

// container is a stand-in for an engine with one container that prints frames.
func container(frames []byte) http.HandlerFunc {
	started := make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		switch path := filepath.Base(r.URL.Path); path {
		case "attach":
			conn, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = buf.WriteString("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
			_ = buf.Flush()
			<-started
			_, _ = conn.Write(frames)
		case "wait":
			_ = http.NewResponseController(w).Flush()
			<-started
			_, _ = io.WriteString(w, `{"StatusCode":5}`)
		case "start":
			close(started)
			w.WriteHeader(http.StatusNoContent)
		case "json":
			_, _ = io.WriteString(w, `{"State":{"ExitCode":5},"HostConfig":{},"Config":{}}`)
		}
	}
}

func frame(stream byte, text string) []byte {
	header := [8]byte{stream}
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return append(header[:], text...)
}

func TestRunSplitsTheStream(t *testing.T) {
	big := strings.Repeat("x", 700_000)
	var frames []byte
	for _, f := range []struct {
		stream byte
		text   string
	}{{1, "one\n"}, {1, "two\n"}, {1, ""}, {2, "three\n"}, {1, ""}, {2, big}, {1, "end"}} {
		frames = append(frames, frame(f.stream, f.text)...)
	}
	var out lines
	exit, err := stand(t, container(frames)).Run(t.Context(), "abc", &out)
	if err != nil || exit.Code != 5 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
	// Where neighbours are parted is a matter of timing; order and streams are not.
	var merged []string
	last := ""
	for _, g := range out.got {
		stream, text, _ := strings.Cut(g, ": ")
		if stream != last {
			merged = append(merged, stream+": ")
		}
		last = stream
		merged[len(merged)-1] += text
	}
	want := []string{"stdout: one\ntwo\n", "stderr: three\n" + big, "stdout: end"}
	if diff := cmp.Diff(want, merged); diff != "" {
		t.Error(diff)
	}
}

func TestRunNoticesBrokenOutput(t *testing.T) {
	for name, frames := range map[string][]byte{"cut off": frame(1, "half of it")[:12], "not frames": []byte("plain text, no frames")} {
		t.Run(name, func(t *testing.T) {
			if _, err := stand(t, container(frames)).Run(t.Context(), "abc", &lines{}); err == nil || !strings.Contains(err.Error(), "read output") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestReadyWaitsForTheEngine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := docker.New("tcp://" + address)
	if err != nil {
		t.Fatal(err)
	}
	short, done := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer done()
	if err := e.Ready(short); !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), address) {
		t.Errorf("nobody listens: %v", err)
	}
	up := make(chan error, 1)
	go func() { up <- e.Ready(t.Context()) }()
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("API-Version", "1.41") }), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(again) }() // ends with Close
	defer func() { _ = server.Close() }()
	if err := <-up; err != nil {
		t.Errorf("once it listens: %v", err)
	}
}

func TestNewRefusesAWrongAddress(t *testing.T) {
	if _, err := docker.New("not an address"); !errors.Is(err, cyclone.ErrInvalid) {
		t.Errorf("error %v", err)
	}
}
