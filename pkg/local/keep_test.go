package local_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/local"
)

// swept is an engine that only notes what is swept.
type swept struct {
	mu     sync.Mutex
	values []string
	gone   []string
}

func (s *swept) LabelValues(context.Context, string) ([]string, error) { return s.values, nil }

func (s *swept) Sweep(_ context.Context, labels map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = append(s.gone, labels[cyclone.LabelLocal])
	return nil
}

func (s *swept) SweepImages(context.Context, map[string]string) error { return nil }

// ended is the owner of a run whose process has ended.
func ended(t *testing.T) local.Owner {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	o := newOwner(t)
	o.PID = cmd.Process.Pid
	claim(t, o)
	return o
}

func newOwner(t *testing.T) local.Owner {
	t.Helper()
	o, err := local.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(o.Dir) }) // most tests remove it
	return o
}

func claim(t *testing.T, o local.Owner) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.Dir, local.OwnerFile), []byte(o.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestSweepRemovesWhatNobodyOwns(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	mine, dead, kept, elsewhere, reused := newOwner(t), ended(t), ended(t), ended(t), newOwner(t)
	if err := os.WriteFile(filepath.Join(kept.Dir, local.KeptFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere.Host = "another/pid:[1]"
	claim(t, elsewhere)
	reused.Start = "1" // a process of that number that began at another time
	claim(t, reused)
	foreign := filepath.Join(t.TempDir(), local.FolderPrefix+"x") // claimed by a label alone
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	stranger := dead
	stranger.Dir = foreign
	engine := &swept{values: []string{"nonsense", mine.String(), dead.String(), kept.String(), elsewhere.String(), reused.String(), stranger.String()}}
	if err := local.Sweep(t.Context(), engine); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{dead.String(), reused.String(), stranger.String()}, engine.gone); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		dir  string
		want bool
	}{"mine": {mine.Dir, true}, "dead": {dead.Dir, false}, "kept": {kept.Dir, true}, "elsewhere": {elsewhere.Dir, true}, "reused": {reused.Dir, false}, "foreign": {foreign, true}} {
		if exists(c.dir) != c.want {
			t.Errorf("the folder of %s is there: %v, want %v", name, !c.want, c.want)
		}
	}
}

func TestOwnerIsReadBack(t *testing.T) {
	t.Parallel()
	want := local.Owner{PID: 7, Start: "99", Host: "box/pid:[4026]", Dir: "/tmp/a folder"}
	if got, ok := local.ParseOwner(want.String()); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, text := range []string{"", "1 2 3", "x 1 h /tmp", "0 1 h /tmp", "-4 1 h /tmp"} {
		if got, ok := local.ParseOwner(text); ok {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// keeper is a keeper of an engine that has one image with a program.
func keeper(t *testing.T, keep bool, program func(ctx context.Context, c cyclone.ContainerSpec, out cyclone.Output) (cyclone.Exit, error)) (*local.Keeper, *cyclonetest.Engine, *swept) {
	t.Helper()
	engine := &cyclonetest.Engine{
		Present:  map[string]cyclone.ImageInfo{"app": {}},
		Programs: map[string]func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error){"app": program},
	}
	sweeper := &swept{}
	return &local.Keeper{Containers: engine, Networks: engine, Engine: sweeper, Owner: newOwner(t), Keep: keep}, engine, sweeper
}

func TestKeeperRemovesInTheBackground(t *testing.T) {
	t.Parallel()
	k, engine, sweeper := keeper(t, false, func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error) {
		return cyclone.Exit{Code: 1}, nil
	})
	id, err := k.Create(t.Context(), cyclone.ContainerSpec{Image: "app"})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := k.Run(t.Context(), id, &printed{}); err != nil || exit.Code != 1 {
		t.Errorf("ended with %v, %v", exit, err)
	}
	if err := k.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	kept, err := k.Close(t.Context(), true)
	if kept != nil || err != nil {
		t.Errorf("kept %+v, %v", kept, err)
	}
	if left := engine.Left(); len(left) > 0 || exists(k.Owner.Dir) || len(sweeper.gone) != 1 {
		t.Errorf("left %v, folder %v, swept %v", left, exists(k.Owner.Dir), sweeper.gone)
	}
}

func TestKeeperKeepsWhatFailedAndWhatRuns(t *testing.T) {
	t.Parallel()
	running := make(chan struct{}, 1)
	k, engine, sweeper := keeper(t, true, func(ctx context.Context, c cyclone.ContainerSpec, _ cyclone.Output) (cyclone.Exit, error) {
		switch c.Name {
		case "service":
			running <- struct{}{}
			<-ctx.Done()
		case "bad":
			return cyclone.Exit{Code: 3}, nil
		}
		return cyclone.Exit{}, nil
	})
	ids := map[string]string{}
	for _, name := range []string{"service", "good", "bad"} {
		id, err := k.Create(t.Context(), cyclone.ContainerSpec{Name: name, Image: "app"})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = id
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	let := make(chan error)
	go func() {
		_, err := k.Run(ctx, ids["service"], &printed{})
		let <- err
	}()
	<-running
	for _, name := range []string{"good", "bad"} {
		if _, err := k.Run(t.Context(), ids[name], &printed{}); err != nil {
			t.Error(err)
		}
		if err := k.Remove(t.Context(), ids[name]); err != nil {
			t.Error(err)
		}
	}
	if err := k.Remove(t.Context(), ids["service"]); err != nil {
		t.Error(err)
	}
	if err := <-let; err != nil { // the worker does not wait for it any more
		t.Error(err)
	}
	kept, err := k.Close(t.Context(), true)
	if err != nil || kept == nil || kept.Ended == nil || kept.Ended.ID != ids["bad"] || len(kept.Running) != 1 || kept.Running[0].ID != ids["service"] {
		t.Fatalf("kept %+v, %v", kept, err)
	}
	if left := engine.Left(); len(left) != 2 || len(sweeper.gone) != 0 || !exists(filepath.Join(k.Owner.Dir, local.KeptFile)) {
		t.Errorf("left %v, swept %v", left, sweeper.gone)
	}
	text := strings.Join(kept.Lines(), "\n")
	for _, want := range []string{"docker exec -it", "--volumes-from", "rm -rf " + k.Owner.Dir} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
}

func TestKeeperSaysWhatAnEngineElsewhereNeeds(t *testing.T) {
	t.Parallel()
	k, engine, _ := keeper(t, false, nil)
	engine.Errors = map[string]error{"create app": cyclone.Invalid("mount", "bind source path does not exist: %s/source", k.Owner.Dir)}
	if _, err := k.Create(t.Context(), cyclone.ContainerSpec{Image: "app"}); !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("%v", err)
	}
}

func TestFilesGoNowhereElse(t *testing.T) {
	t.Parallel()
	outside, folder := t.TempDir(), filepath.Join(t.TempDir(), "made", "artifacts")
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.Symlink(outside, filepath.Join(folder, "out"))); err != nil { //#nosec G301 -- a test's
		t.Fatal(err)
	}
	s := local.NewServer(&cyclone.Job{}, &local.Files{Artifacts: folder}, nil)
	put := func(path string) error {
		return s.Upload(t.Context(), cyclone.File{Kind: cyclone.FileArtifact, Path: path, Size: 4}, func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader([]byte("text"))), nil
		})
	}
	for range 2 { // the second replaces the first
		if err := put("a/b.txt"); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(folder, "a/b.txt")); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	for _, path := range []string{"../x", "/x", "out/x", "a/../../x", ""} {
		if err := put(path); err == nil {
			t.Errorf("%q was written", path)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

func TestLastRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kept")
	open := func() *local.Last {
		l, err := local.OpenLast(dir)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	done := func(names ...cyclone.Stage) cyclone.Report {
		r := cyclone.Report{Images: []cyclone.BuildImage{{Build: "build", Image: cyclone.Image{Name: "orders", Tag: "1"}}}}
		for _, name := range names {
			r.Stages = append(r.Stages, cyclone.StageState{Name: name, Status: cyclone.StatusSuccess})
		}
		return r
	}
	output := func(l *local.Last, text string) {
		s := local.NewServer(&cyclone.Job{}, &local.Files{Last: l}, nil)
		err := s.Upload(t.Context(), cyclone.File{Kind: cyclone.FileOutput, Path: "pre_build"}, func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(text)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	kept := func() string {
		s := local.NewServer(&cyclone.Job{}, &local.Files{Last: open()}, nil)
		f, err := s.Download(t.Context(), cyclone.FileOutput, "pre_build")
		if err != nil {
			return err.Error()
		}
		defer func() { _ = f.Close() }()
		text, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	l := open()
	output(l, "one")
	if err := l.Keep("e1", done(cyclone.StagePreBuild, cyclone.StageBuild)); err != nil {
		t.Fatal(err)
	}
	l = open()
	output(l, "broken off")
	if err := l.Keep("e2", done()); err != nil {
		t.Fatal(err)
	}
	if got := kept(); got != "one" {
		t.Errorf("kept is %q", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("there is %v, %v", entries, err)
	}
	l = open()
	if err := l.Keep("e3", done(cyclone.StagePreBuild)); err != nil { // without outputs
		t.Fatal(err)
	}
	if got := kept(); !strings.Contains(got, "no outputs of pre_build") {
		t.Errorf("kept is %q", got)
	}
}
