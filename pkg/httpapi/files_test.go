package httpapi_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
)

// filePath is the address of a file of an event's worker.
func filePath(e *cyclone.Event, kind cyclone.FileKind, path string) string {
	return "/api/v1/workers/" + string(e.Worker.ID) + "/files/" + string(kind) + "/" + path
}

const ofBuild = "?stage=pre_build&step=unit"

var (
	workersToken   = header{"Authorization", "Bearer one-time"}
	workersSession = header{"Cyclone-Session", "session-key"}
)

// put sends a file as the event's worker does.
func (f *fixture) put(e *cyclone.Event, kind cyclone.FileKind, path, content string) answer {
	f.t.Helper()
	return f.do("PUT", filePath(e, kind, path)+ofBuild, content, workersToken, workersSession, header{"Content-Type", "application/octet-stream"})
}

// keep sends a file that must be kept.
func (f *fixture) keep(e *cyclone.Event, kind cyclone.FileKind, path, content string) {
	f.t.Helper()
	if a := f.put(e, kind, path, content); a.status != 201 {
		f.t.Fatalf("put %s: %d %s", path, a.status, a.body)
	}
}

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

func TestWorkerKeepsFiles(t *testing.T) {
	f, e := workerFixture(t)
	for _, content := range []string{"first", "second, and longer", ""} { // the same call again replaces
		var got cyclone.File
		a := f.put(e, cyclone.FileArtifact, "out/a%20b.txt", content)
		if a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		a.decode(t, &got)
		if got.Path != "out/a b.txt" || got.Kind != cyclone.FileArtifact || got.Stage != cyclone.StagePreBuild || got.Step != "unit" ||
			int(got.Size) != len(content) || got.SHA256 != sum(content) || got.CreatedAt.IsZero() {
			t.Errorf("kept %+v", got)
		}
		if a := f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/artifacts/out/a%20b.txt", ""); a.body != content {
			t.Errorf("it is %q, want %q", a.body, content)
		}
	}
	f.keep(e, cyclone.FileReport, "pre_build/unit.json", "{}")
	var list cyclone.List[map[string]any]
	f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/artifacts", "").decode(t, &list)
	if list.Total != 1 || list.Items[0]["url"] != "https://cyclone.example.com/api/v1/events/"+string(e.ID)+"/artifacts/out/a%20b.txt" {
		t.Errorf("artifacts: %+v", list)
	}
}

func TestWorkerFilesAreRefused(t *testing.T) {
	f, e := workerFixture(t)
	f.keep(e, cyclone.FileArtifact, "a", "x") // binds the session
	good, octets := filePath(e, cyclone.FileArtifact, "a")+ofBuild, header{"Content-Type", "application/octet-stream"}
	for name, tt := range map[string]struct {
		status int
		path   string
		header header
	}{
		"wrong token":      {401, good, header{"Authorization", "Bearer wrong"}},
		"user's token":     {401, good, header{"Authorization", "Bearer " + adminToken}},
		"no token":         {401, good, header{"Authorization", ""}},
		"another session":  {401, good, header{"Cyclone-Session", "another"}},
		"no session":       {401, good, header{"Cyclone-Session", ""}},
		"unknown kind":     {400, filePath(e, "thing", "a") + ofBuild, octets},
		"path leads out":   {400, filePath(e, cyclone.FileArtifact, "../a") + ofBuild, octets},
		"escaped path out": {400, filePath(e, cyclone.FileArtifact, "a%2F..%2F..%2Fb") + ofBuild, octets},
		"absolute path":    {400, filePath(e, cyclone.FileArtifact, "/etc/passwd") + ofBuild, octets},
		"line end in path": {404, filePath(e, cyclone.FileArtifact, "a%0Ab") + ofBuild, octets},
		"NUL in path":      {400, filePath(e, cyclone.FileArtifact, "a%00b") + ofBuild, octets},
		"no path":          {404, filePath(e, cyclone.FileArtifact, "") + ofBuild, octets},
		"no stage":         {400, filePath(e, cyclone.FileArtifact, "a") + "?step=unit", octets},
		"unknown stage":    {400, filePath(e, cyclone.FileArtifact, "a") + "?stage=compile&step=unit", octets},
		"unknown worker":   {401, "/api/v1/workers/w-none/files/artifact/a" + ofBuild, octets},
	} {
		if a := f.do("PUT", tt.path, "x", workersToken, workersSession, tt.header); a.status != tt.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, tt.status)
		}
	}
}

// A late writer of an attempt that is over gets 409 and changes nothing, also
// when the attempt ended while its file was on its way.
func TestLateFileChangesNothing(t *testing.T) {
	f, e := workerFixture(t)
	f.keep(e, cyclone.FileArtifact, "a", "of the attempt")
	body, late := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", f.url+filePath(e, cyclone.FileArtifact, "a")+ofBuild, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(workersToken.name, workersToken.value)
	req.Header.Set(workersSession.name, workersSession.value)
	done := make(chan int, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- 0
			return
		}
		_ = res.Body.Close()
		done <- res.StatusCode
	}()
	if _, err := late.Write([]byte("too ")); err != nil { // somebody reads it: the attempt held
		t.Fatal(err)
	}
	f.finish(e, 0)
	if _, err := late.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	_ = late.Close()
	if status := <-done; status != 409 {
		t.Errorf("status %d, want 409", status)
	}
	if a := f.put(e, cyclone.FileArtifact, "b", "x"); a.status != 409 {
		t.Errorf("after the end: %d %s", a.status, a.body)
	}
	if a := f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/artifacts/a", ""); a.body != "of the attempt" {
		t.Errorf("the artifact is %q", a.body)
	}
	f.want(404, "GET", "/api/v1/events/"+string(e.ID)+"/artifacts/b", "")
}

func TestFileLimit(t *testing.T) {
	f := newFixture(t, func(s *httpapi.Server) { s.FileLimit = 100 })
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.progress.admit(e)
	f.keep(e, cyclone.FileArtifact, "a", strings.Repeat("a", 60))
	f.keep(e, cyclone.FileReport, "pre_build/unit.json", strings.Repeat("r", 10))
	a := f.put(e, cyclone.FileArtifact, "b", strings.Repeat("b", 31))
	if a.status != 413 || !strings.Contains(a.body, "too_large") || !strings.Contains(a.body, "larger than 100") {
		t.Errorf("too much in all: %d %s", a.status, a.body)
	}
	f.keep(e, cyclone.FileArtifact, "b", strings.Repeat("b", 30))
	f.keep(e, cyclone.FileArtifact, "a", strings.Repeat("A", 60)) // takes the place of the first
	// One that does not say how large it is is counted as it comes.
	req, err := http.NewRequestWithContext(t.Context(), "PUT", f.url+filePath(e, cyclone.FileArtifact, "b")+ofBuild, io.MultiReader(strings.NewReader(strings.Repeat("b", 31))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(workersToken.name, workersToken.value)
	req.Header.Set(workersSession.name, workersSession.value)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != 413 {
		t.Errorf("in chunks: %d %v", res.StatusCode, err)
	}
	if a := f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/artifacts/b", ""); len(a.body) != 30 {
		t.Errorf("b has %d bytes", len(a.body))
	}
	other := f.event("orders", cyclone.StatusRunning) // has a limit of its own
	f.progress.admit(other)
	f.keep(other, cyclone.FileArtifact, "a", strings.Repeat("a", 100))
}

// However many files are sent at once, together they stay below the limit.
func TestFileLimitHoldsForFilesAtOnce(t *testing.T) {
	f := newFixture(t, func(s *httpapi.Server) { s.FileLimit = 1000 })
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.progress.admit(e)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { f.put(e, cyclone.FileArtifact, fmt.Sprint(i), strings.Repeat("x", 300)) })
	}
	all.Wait()
	var list cyclone.List[map[string]any]
	f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/artifacts", "").decode(t, &list)
	if list.Total > 3 {
		t.Errorf("%d files of 300 bytes are kept; the limit is 1000", list.Total)
	}
}

// A file that is too large is refused before it is sent.
func TestTooLargeFileIsNotSent(t *testing.T) {
	inBubble(t, func(b *bubble) {
		conn, err := b.network.dial(b.t.Context(), "", "")
		if err != nil {
			b.t.Fatal(err)
		}
		_, err = io.WriteString(conn, "PUT "+filePath(b.e, cyclone.FileArtifact, "a")+ofBuild+" HTTP/1.1\r\nHost: cyclone\r\nAuthorization: Bearer one-time\r\n"+
			"Cyclone-Session: s\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
		if err != nil {
			b.t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, "413") {
			b.t.Errorf("answer %q, %v", line, err)
		}
		_ = conn.Close()
	}, func(s *httpapi.Server) { s.FileLimit = 10 })
}

// drip gives one byte a time.
type drip struct {
	left  int
	pause time.Duration
}

func (s *drip) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.pause)
	s.left--
	p[0] = 'x'
	return 1, nil
}

// sendDrip sends an artifact in chunks and returns status and time.
func (b *bubble) sendDrip(body io.Reader) (int, time.Duration) {
	b.t.Helper()
	conn, err := b.network.dial(b.t.Context(), "", "")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.t.Context())
	req, err := http.NewRequestWithContext(ctx, "PUT", "http://cyclone"+filePath(b.e, cyclone.FileArtifact, "a")+ofBuild, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer one-time")
	req.Header.Set("Cyclone-Session", "s")
	start, sent := time.Now(), make(chan error, 1)
	go func() { sent <- req.Write(conn) }()
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		b.t.Fatal(err)
	}
	took := time.Since(start)
	_ = res.Body.Close()
	_ = conn.Close()
	stop()
	<-sent
	return res.StatusCode, took
}

// What moves may take as long as it wants; what stands still does not keep its
// request for ever, and is worth sending again.
func TestStalledFileIsGivenUp(t *testing.T) {
	inBubble(t, func(b *bubble) {
		if status, took := b.sendDrip(&drip{20, 30 * time.Second}); status != 201 || took < 9*time.Minute {
			b.t.Errorf("a slow file: %d after %v", status, took)
		}
		if status, took := b.sendDrip(&drip{2, 5 * time.Minute}); status != 503 || took < time.Minute || took > 2*time.Minute {
			b.t.Errorf("a stalled file: %d after %v", status, took)
		}
	})
}

// stuckFiles is a store that takes a file and never says that it is kept.
type stuckFiles struct{ cyclone.FileStore }

func (s stuckFiles) Put(ctx context.Context, f cyclone.File, content io.Reader) (cyclone.File, error) {
	if _, err := io.Copy(io.Discard, content); err != nil {
		return f, err
	}
	<-ctx.Done()
	return f, ctx.Err()
}

func TestStuckFileStoreIsGivenUp(t *testing.T) {
	inBubble(t, func(b *bubble) {
		if status, took := b.sendDrip(&drip{3, time.Second}); status != 503 || took < time.Minute || took > 2*time.Minute {
			b.t.Errorf("%d after %v", status, took)
		}
	}, func(s *httpapi.Server) { s.Files = stuckFiles{s.Files} })
}

// The worker of a rerun gets the files of the event that its run takes over
// from, and no others.
func TestWorkerTakesOver(t *testing.T) {
	f, base := workerFixture(t)
	f.keep(base, cyclone.FileOutput, "pre_build", "a tar")
	e := f.event("orders", cyclone.StatusRunning)
	f.progress.admit(e)
	get := func(kind cyclone.FileKind, path string) answer {
		return f.do("GET", filePath(e, kind, path), "", workersToken, workersSession)
	}
	if a := get(cyclone.FileOutput, "pre_build"); a.status != 404 || !strings.Contains(a.body, "takes nothing over") {
		t.Errorf("of no rerun: %d %s", a.status, a.body)
	}
	e.Run.Base = base.ID
	if err := f.records.Events.Replace(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if a := get(cyclone.FileOutput, "pre_build"); a.status != 200 || a.body != "a tar" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := get(cyclone.FileOutput, "other"); a.status != 404 || !strings.Contains(a.body, "there are pre_build") {
		t.Errorf("another: %d %s", a.status, a.body)
	}
	if a := f.do("GET", filePath(e, cyclone.FileOutput, "pre_build"), ""); a.status != 401 {
		t.Errorf("without its token: %d %s", a.status, a.body)
	}
	now := time.Now()
	base.FilesRemovedAt = &now
	if err := f.records.Events.Replace(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	if a := get(cyclone.FileOutput, "pre_build"); a.status != 404 || !strings.Contains(a.body, "removed by retention on") {
		t.Errorf("removed: %d %s", a.status, a.body)
	}
}
