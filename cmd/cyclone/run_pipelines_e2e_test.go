//go:build e2e

package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

func TestRunSucceeds(t *testing.T) {
	t.Parallel()
	r := newTree(t, true, map[string]string{
		".gitignore": "ignored\n", "ignored": "x", "src/a.txt": "alpha\n",
		"caicloud.yml": `
pre_build:
  image: ` + image + `
  environment: [GREETING=hello]
  secrets: [TOKEN]
  commands:
    - cat src/a.txt src/new.txt
    - test ! -e ignored
    - echo "$GREETING $CYCLONE_EVENT $CYCLONE_BRANCH $CYCLONE_VERSION $CI $EXTRA"
    - echo "the token is $TOKEN"
    - mkdir out; echo made > out/made; echo touched >> src/a.txt
  outputs: [out]
  artifacts: [out/*]
post_build:
  image: ` + image + `
  commands: [cat out/made]
`})
	r.write("src/new.txt", "beta\n")
	sha := r.git("rev-parse", "--short=7", "HEAD")
	out := r.want(0, []string{"--env", "EXTRA=more", "--secret", "TOKEN=hush-hush", "--artifacts", "kept"},
		"alpha\nbeta\n", "hello manual main ci-"+sha+"-dirty true more", "the token is ***", "$ cat out/made\nmade\n",
		"✓ pre_build", "✓ post_build", "success in", "1 file", "not", "hush-hush", "\x1b", "\r")
	if strings.Count(out, "✓ pre_build") != 2 {
		t.Errorf("a stage has one line at its end and one in the summary:\n%s", out)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "kept/out/made"))
	if err != nil || string(text) != "made\n" {
		t.Errorf("the artifact is %q, %v", text, err)
	}
	if status := r.git("status", "--porcelain"); status != "?? kept/\n?? src/new.txt" && status != "?? kept/\n ?? src/new.txt" {
		t.Errorf("the working tree was changed:\n%s", status)
	}
}

func TestRunOfAFailingStep(t *testing.T) {
	t.Parallel()
	r := newTree(t, true, map[string]string{"caicloud.yml": `
pre_build:
  image: ` + image + `
  commands: ["true", "exit 3"]
post_build:
  image: ` + image + `
  commands: [echo never]
`})
	r.want(1, nil, "✗ pre_build", "exit 3", "failure in", "- post_build skipped", "not", "$ echo never")
}

func TestRunWithServicesAndTheBuiltImage(t *testing.T) {
	t.Parallel()
	r := newTree(t, true, map[string]string{
		"Dockerfile": "FROM " + image + "\nCOPY page /www/index.html\nEXPOSE 8000\nCMD [\"httpd\", \"-f\", \"-v\", \"-p\", \"8000\", \"-h\", \"/www\"]\n",
		"page":       "it works\n",
		"caicloud.yml": `
build:
  context_dir: .
  dockerfile_name: Dockerfile
integration:
  image: ` + image + `
  commands: [wget -q -O - http://app:8000/ http://web:8000/]
  links: ["app:web"]
  services:
    app: {image: BUILT_IMAGE}
    helper: {image: ` + image + `, commands: [echo helping, sleep 1000]}
`})
	name := "run-e2e-" + strings.ToLower(filepath.Base(filepath.Dir(r.tmp)))
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", name+":1").Run() }) // it may not have been built
	r.want(0, []string{"--image", name, "--version", "1"},
		"it works\n", "helper | helping", "--push is not given", "image", name+":1", "✓ integration")
	t.Run("the last run's image", func(t *testing.T) {
		r.want(0, []string{"--image", name, "--version", "1", "--from", "integration"}, "it works\n", "--from begins after it", "not", "Building")
		r.want(0, []string{"--image", name, "--version", "1", "--stage", "integration"}, "it works\n", "not", "Building")
		docker(t, "rmi", "-f", name+":1")
		r.want(2, []string{"--image", name, "--version", "1", "--from", "integration"}, "no longer on the engine")
	})
}

func TestRunFromALaterStageTakesOutputsOver(t *testing.T) {
	t.Parallel()
	r := newTree(t, false, map[string]string{"caicloud.yml": `
pre_build:
  image: ` + image + `
  commands: [mkdir out, date +%N > out/stamp, cat out/stamp]
  outputs: [out]
post_build:
  image: ` + image + `
  commands: [echo "stamp $(cat out/stamp)"]
`})
	r.want(0, nil, "✓ pre_build")
	r.want(0, []string{"--from", "post_build"}, "stamp ", "✓ post_build", "skipped: --from begins after it", "not", "$ mkdir")
}

func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	config := map[string]string{"caicloud.yml": `
integration:
  image: ` + image + `
  commands: [echo begun, "trap '' TERM; sleep 1000"]
  services:
    helper: {image: ` + image + `, commands: [sleep 1000]}
`}
	for name, c := range map[string]struct {
		interrupts int
		most       time.Duration
	}{"once": {1, 15 * time.Second}, "twice": {2, 8 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTree(t, true, config)
			r.interruptOn, r.interrupts, r.interruptGap = "begun\n", c.interrupts, time.Second
			begun := time.Now()
			r.want(130, nil, "Interrupted: stopping", "canceled in")
			if took := time.Since(begun); took > c.most+5*time.Second {
				t.Errorf("the run went on for %s", took)
			}
			r.nothingLeft()
		})
	}
}

func TestRunKeepsWhatFailed(t *testing.T) {
	t.Parallel()
	r := newTree(t, true, map[string]string{"caicloud.yml": `
integration:
  image: ` + image + `
  commands: [echo evidence > /evidence, exit 4]
  services:
    helper: {image: ` + image + `, commands: [echo helping, sleep 1000]}
`})
	out := r.want(1, []string{"--keep"}, "✗ integration", "exit 4", "docker exec -it", "docker run -it --rm", "rm -rf "+r.tmp)
	if left := r.left(); strings.Count(left, "container") != 2 || strings.Count(left, "network") != 1 {
		t.Errorf("kept:\n%s", left)
	}
	// The next run leaves it alone.
	r.write("caicloud.yml", "post_build:\n  image: "+image+"\n  commands: [\"true\"]\n")
	r.want(0, nil)
	if left := r.left(); strings.Count(left, "container") != 2 {
		t.Errorf("kept until somebody removes it, and now there is:\n%s", left)
	}
	enter := lineWith(t, out, "docker run -it")
	look := strings.Replace(enter, "-it ", "", 1) + " -c 'cat /evidence; cat /workspace/caicloud.yml'"
	if text, err := exec.Command("sh", "-c", look).CombinedOutput(); err != nil || !strings.Contains(string(text), "evidence\n") || !strings.Contains(string(text), "integration:") {
		t.Errorf("%s: %v\n%s", look, err, text)
	}
	if text, err := exec.Command("sh", "-c", lineWith(t, out, "docker rm -f")).CombinedOutput(); err != nil {
		t.Errorf("removing what was kept: %v\n%s", err, text)
	}
	for _, id := range strings.Fields(docker(t, "images", "-q", "--filter", "dangling=true", "--filter", "label="+cyclone.LabelLocal)) {
		_ = exec.Command("docker", "rmi", "-f", id).Run() // the committed one is among them
	}
}

// lineWith is the line that holds a text.
func lineWith(t *testing.T, out, text string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.Contains(line, text) {
			return strings.TrimSpace(line)
		}
	}
	t.Fatalf("no line has %q:\n%s", text, out)
	return ""
}

func TestRunDryTouchesNoEngine(t *testing.T) {
	t.Parallel()
	r := newTree(t, true, map[string]string{"caicloud.yml": `
pre_build:
  image: no.such.registry/golang:1
  secrets: [TOKEN]
  commands: [go build ./...]
`})
	r.env = []string{"DOCKER_HOST=unix:///nowhere/docker.sock"}
	r.want(0, []string{"--dry-run"}, "container of no.such.registry/golang:1", "go build ./...", "TOKEN=********")
	r.want(1, []string{"--secret", "TOKEN=x"}, "no Docker engine answers at unix:///nowhere/docker.sock", "DOCKER_HOST")
}

func TestRunOfARef(t *testing.T) {
	t.Parallel()
	r := newTree(t, true, map[string]string{"file": "old\n", "caicloud.yml": `
post_build:
  image: ` + image + `
  commands: [cat file, 'echo "$CYCLONE_BRANCH/$CYCLONE_TAG/$CYCLONE_VERSION"', ls lib]
`})
	inner := newTree(t, true, map[string]string{"inner.txt": "x"})
	r.git("submodule", "--quiet", "add", inner.dir, "lib")
	r.commit("With a submodule")
	r.git("tag", "v1.0")
	r.write("file", "new\n")
	r.commit("Second")
	r.write("file", "newer\n")
	r.want(0, []string{"--ref", "v1.0"}, "$ cat file\nold\n", "/v1.0/v1.0", "inner.txt")
	r.want(0, []string{"--ref", "main"}, "$ cat file\nnew\n", "main//ci-"+r.git("rev-parse", "--short=7", "HEAD"))
	r.want(0, nil, "$ cat file\nnewer\n", "-dirty", "inner.txt")
	r.want(2, []string{"--ref", "nothing"}, "there is no branch, tag or commit nothing")
}

func TestRunOutsideGit(t *testing.T) {
	t.Parallel()
	r := newTree(t, false, map[string]string{"a": "b", "caicloud.yml": "post_build:\n  image: " + image + "\n  commands: ['echo \"version $CYCLONE_VERSION\"', ls -a]\n"})
	r.want(0, nil, "version local", "caicloud.yml")
	r.want(2, []string{"--ref", "main"}, "not in a git repository")
}

func TestRunOfAnInvalidFile(t *testing.T) {
	t.Parallel()
	r := newTree(t, true, map[string]string{"caicloud.yml": "pre_build:\n  image: x\n  comands: [ls]\n"})
	r.env = []string{"DOCKER_HOST=unix:///nowhere/docker.sock"}
	r.want(1, nil, "caicloud.yml:3:3: pre_build.comands", "  3 |   comands: [ls]\n    |   ^")
	r.write("caicloud.yml", "pre_build:\n  image: x\n  secrets: [A, B]\n  commands: [ls]\n")
	r.want(2, []string{"--secret", "B=1"}, "A (pre_build)", "--secret A")
}

// TestRunSweepsAfterACrash kills a run, whose things the next run removes.
func TestRunSweepsAfterACrash(t *testing.T) {
	t.Parallel()
	r := newTree(t, true, map[string]string{"caicloud.yml": "post_build:\n  image: " + image + "\n  commands: [echo begun, sleep 1000]\n"})
	cmd := exec.Command(filepath.Join(os.Getenv("CYCLONE_E2E_BIN"), "cyclone"), "run")
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "TMPDIR="+r.tmp, "XDG_CACHE_HOME="+r.caches)
	out := &seen{want: "begun\n", ok: make(chan struct{})}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-out.ok:
	case <-time.After(time.Minute):
		t.Error("the step did not begin")
	}
	r2 := *r
	r.write("caicloud.yml", "post_build:\n  image: "+image+"\n  commands: [\"true\"]\n")
	r2.want(0, nil)
	if left := r.left(); !strings.Contains(left, "container") {
		t.Error("a run has removed what belongs to another that is alive")
	}
	_ = cmd.Process.Signal(syscall.SIGKILL) // it runs
	_ = cmd.Wait()                          // killed
	r2.want(0, nil)
	r.nothingLeft()
}
