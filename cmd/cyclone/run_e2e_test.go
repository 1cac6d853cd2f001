//go:build e2e

package main_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// image is one that scripts/images.sh makes: a busybox.
const image = "cyclone/busybox:demo"

// tree is a folder with a pipeline, and a home of its own for the runs of it.
type tree struct {
	t            *testing.T
	dir          string
	tmp, caches  string
	env          []string
	interruptOn  string // text after which the run is interrupted
	interrupts   int
	interruptGap time.Duration
}

// newTree makes a folder with files, as a git repository when git is set.
func newTree(t *testing.T, git bool, files map[string]string) *tree {
	t.Helper()
	base := t.TempDir()
	r := &tree{t: t, dir: filepath.Join(base, "orders"), tmp: filepath.Join(base, "tmp"), caches: filepath.Join(base, "caches")}
	for _, dir := range []string{r.dir, r.tmp, r.caches} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		r.write(name, text)
	}
	if git {
		r.git("init", "--quiet", "--initial-branch=main")
		r.commit("First")
	}
	t.Cleanup(r.nothingLeft)
	return r
}

func (r *tree) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *tree) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Alice", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *tree) commit(message string) {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message", message)
}

// seen is output that can be waited for.
type seen struct {
	mu   sync.Mutex
	all  bytes.Buffer
	want string
	ok   chan struct{}
}

// Write implements io.Writer.
func (s *seen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Write(p)
	if s.want != "" && strings.Contains(s.all.String(), s.want) {
		s.want = ""
		close(s.ok)
	}
	return len(p), nil
}

// run runs the program and returns what it printed and its exit code.
func (r *tree) run(args ...string) (string, int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv("CYCLONE_E2E_BIN"), "cyclone"), append([]string{"run"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "TMPDIR="+r.tmp, "XDG_CACHE_HOME="+r.caches, "LC_ALL=C.UTF-8")
	cmd.Env = append(cmd.Env, r.env...)
	out := &seen{want: r.interruptOn, ok: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	var interrupting sync.WaitGroup
	if r.interruptOn != "" {
		interrupting.Go(func() {
			select {
			case <-out.ok:
			case <-ended:
				return
			}
			for range r.interrupts {
				_ = cmd.Process.Signal(os.Interrupt) // it may have ended
				select {
				case <-ended:
				case <-time.After(r.interruptGap):
				}
			}
		})
	}
	err := cmd.Wait()
	close(ended)
	interrupting.Wait()
	if ctx.Err() != nil {
		r.t.Fatalf("cyclone run %v did not end:\n%s", args, out.all.String())
	}
	if err != nil && cmd.ProcessState.ExitCode() < 0 {
		r.t.Fatalf("cyclone run %v: %v\n%s", args, err, out.all.String())
	}
	return out.all.String(), cmd.ProcessState.ExitCode()
}

// want runs the program and holds it to an exit code and to what it prints;
// texts after "not" must not be there.
func (r *tree) want(code int, args []string, texts ...string) string {
	r.t.Helper()
	out, got := r.run(args...)
	if got != code {
		r.t.Fatalf("cyclone run %v: exit code %d, want %d:\n%s", args, got, code, out)
	}
	not := false
	for _, text := range texts {
		if text == "not" {
			not = true
		} else if strings.Contains(out, text) == not {
			r.t.Errorf("cyclone run %v: %q is there: %v; want the opposite:\n%s", args, text, not, out)
		}
	}
	return out
}

// left is what on the engine carries the label of this tree's runs.
func (r *tree) left() string {
	r.t.Helper()
	var out []string
	for _, list := range [][]string{
		{"ps", "-a", "--format", "container {{.ID}} {{.Label \"" + cyclone.LabelLocal + "\"}}"},
		{"network", "ls", "--format", "network {{.ID}} {{.Label \"" + cyclone.LabelLocal + "\"}}"},
		{"volume", "ls", "--format", "volume {{.Name}} {{.Label \"" + cyclone.LabelLocal + "\"}}"},
	} {
		text := docker(r.t, append(list, "--filter", "label="+cyclone.LabelLocal)...)
		for line := range strings.Lines(text) {
			if strings.Contains(line, r.tmp) {
				out = append(out, strings.TrimSpace(line))
			}
		}
	}
	ids := strings.Fields(docker(r.t, "images", "-q", "--filter", "label="+cyclone.LabelLocal))
	for _, id := range ids {
		if text := docker(r.t, "image", "inspect", "--format", "{{json .Config.Labels}}", id); strings.Contains(text, r.tmp) {
			out = append(out, "image "+id)
		}
	}
	return strings.Join(out, "\n")
}

// nothingLeft holds all runs to leaving nothing on the engine or in TMPDIR.
func (r *tree) nothingLeft() {
	if left := r.left(); left != "" {
		r.t.Errorf("left on the engine:\n%s", left)
	}
	entries, err := os.ReadDir(r.tmp)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		r.t.Errorf("left in TMPDIR: %s", e.Name())
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).Output()
	if err != nil {
		t.Fatalf("docker %v: %v", args, err)
	}
	return string(out)
}
