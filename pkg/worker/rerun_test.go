package worker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/worker"
)

const rerunConfig = `pre_build:
  compile:
    image: alpine
    commands: ['mkdir -p bin', 'printf "#!/bin/sh\necho the program\n" > bin/app', 'chmod 751 bin/app', 'ln -s app bin/latest', 'echo old > both']
    outputs: [bin, both]
  assets:
    image: alpine
    commands: ['echo css > style.css', 'echo new > both']
    outputs: ['*.css', both]
build:
  api:
    context_dir: .
    dockerfile_name: Dockerfile
    tags: [latest]
  web:
    context_dir: .
    dockerfile_name: Dockerfile
    tags: [latest]
integration:
  image: BUILT_IMAGE.web
  commands: ['true']
post_build:
  image: alpine
  commands: ['bin/app; bin/latest; cat style.css both; stat -c %a bin/app; echo $CYCLONE_IMAGE $CYCLONE_VERSION']
deploy:
  - {type: kubernetes, host: h, token: t, namespace: a, deployment: b, containers: [c], image: BUILT_IMAGE.web}
`

// outputs are the kept outputs as a rerun gets them.
func (s *server) outputs() (files []cyclone.File, contents map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	contents = map[string][]byte{}
	for key, f := range s.files {
		if f.Kind == cyclone.FileOutput {
			files, contents[key] = append(files, f.File), f.content
		}
	}
	return files, contents
}

// first runs the event that others run again.
func first(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, rerunConfig, map[string]string{"Dockerfile": "FROM scratch\n"})
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s\n%s", result.Status, result.Reason, r.server.log())
	}
	return r
}

// again is the rig of a rerun from a stage.
func again(t *testing.T, earlier *rig, from cyclone.Stage) *rig {
	t.Helper()
	r := newRig(t, "", map[string]string{"Dockerfile": "FROM scratch\n"})
	job := r.server.job
	job.Config, job.From, job.Images = []byte(rerunConfig), from, earlier.server.last().Images
	job.Event.Trigger = cyclone.Trigger{Kind: cyclone.KindRerun, Parent: "ev0"}
	job.Event.Version = "ci-earlier"
	job.Outputs, r.server.taken = earlier.server.outputs()
	for _, i := range job.Images {
		r.engine.Remote[i.Name+"@"+i.Digest] = cyclone.ImageInfo{}
	}
	return r
}

func TestImagesAreReported(t *testing.T) {
	t.Parallel()
	r := first(t)
	want := "api registry.test/orders:ci-3f2a1b9 " + cyclonetest.Digest + ", web registry.test/orders-web:ci-3f2a1b9 " + cyclonetest.Digest
	var got []string
	for _, i := range r.server.last().Images {
		got = append(got, i.Build+" "+i.Ref()+" "+i.Digest)
	}
	if strings.Join(got, ", ") != want || r.server.last().Image != r.server.last().Images[0].Image {
		t.Errorf("%v, want %s", got, want)
	}
	files, _ := r.server.outputs()
	if len(files) != 2 {
		t.Errorf("%d outputs are kept", len(files))
	}
}

func TestRerunFrom(t *testing.T) {
	t.Parallel()
	earlier := first(t)
	for from, stages := range map[cyclone.Stage]string{
		"build":       "clone success, pre_build skipped, build success, integration success, post_build success, deploy success",
		"integration": "clone success, pre_build skipped, build skipped, integration success, post_build success, deploy success",
		"post_build":  "clone success, pre_build skipped, build skipped, integration skipped, post_build success, deploy success",
		"deploy":      "clone success, pre_build skipped, build skipped, integration skipped, post_build skipped, deploy success",
	} {
		t.Run(string(from), func(t *testing.T) {
			t.Parallel()
			r := again(t, earlier, from)
			result := r.run(t)
			if result.Status != cyclone.StatusSuccess || r.stages() != stages {
				t.Fatalf("%s: %s: %s\n%s", result.Status, result.Reason, r.stages(), r.server.log())
			}
			r.has(t, "results| Beginning at "+string(from)+": what the stages before it made is taken over from event ev0", "results| Outputs of compile: 4 files")
			if from != "deploy" {
				tag := "ci-3f2a1b9 ci-earlier"
				if from == "build" {
					tag = "ci-earlier ci-earlier"
				}
				r.has(t, "post_build| the program\npost_build| the program\npost_build| css\npost_build| new\npost_build| 751\npost_build| registry.test/orders:"+tag)
			}
			if got := r.cluster.Rollouts()[0].Image; got != "registry.test/orders-web@"+cyclonetest.Digest {
				t.Error(got)
			}
			if images := r.server.last().Images; len(images) != 2 || images[1].Digest == "" {
				t.Errorf("images %+v", images)
			}
			calls := strings.Join(r.engine.Calls(), "\n")
			tagged := "tag registry.test/orders@" + cyclonetest.Digest + " registry.test/orders:latest\npush registry.test/orders:latest"
			if strings.Contains(calls, tagged) != (from == "integration") {
				t.Errorf("tags after %s:\n%s", from, calls)
			}
		})
	}
}

func TestRerunThatCannot(t *testing.T) {
	t.Parallel()
	earlier := first(t)
	for _, tt := range []struct {
		name, reason string
		status       cyclone.Status
		change       func(r *rig)
	}{
		{"image unknown", "integration failed: BUILT_IMAGE.web: the event that this one takes its images over from has built no such image; begin at build", "failure",
			func(r *rig) { r.server.job.Images = r.server.job.Images[:1] }},
		{"image not pushed", "integration failed: registry.test/orders-web:ci-3f2a1b9 was built by an earlier event and not pushed; begin at build", "failure",
			func(r *rig) { r.server.job.Images[1].Digest = "" }},
		{"outputs gone", "take over the outputs of compile: there is no compile", "failure",
			func(r *rig) { r.server.taken = nil }},
		{"outputs broken", "take over the outputs of compile: ", "error",
			func(r *rig) {
				for k := range r.server.taken {
					r.server.taken[k] = []byte(strings.Repeat("x", len(r.server.taken[k])))
				}
			}},
		{"outputs cut off", "bytes came", "error",
			func(r *rig) {
				for k := range r.server.taken {
					r.server.taken[k] = r.server.taken[k][:10]
				}
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := again(t, earlier, "integration")
			r.server.job.Images = append([]cyclone.BuildImage(nil), r.server.job.Images...)
			tt.change(r)
			if result := r.run(t); result.Status != tt.status || !strings.Contains(result.Reason, tt.reason) {
				t.Errorf("%s: %s\n%s", result.Status, result.Reason, r.server.log())
			}
		})
	}
}

// TestOutputsThatAreNotKept: the event goes on without.
func TestOutputsThatAreNotKept(t *testing.T) {
	t.Parallel()
	const config = "pre_build:\n  image: alpine\n  commands: ['head -c 100000 /dev/urandom > big']\n  outputs: [big]\n"
	for name, change := range map[string]func(r *rig){
		"The outputs of pre_build are not kept (they have more than 48.8 KiB, compressed): a rerun of this event has to begin at pre_build": func(r *rig) { r.server.job.FileLimit = 100_000 },
		"The outputs of pre_build are not kept: keep output pre_build: out of order; a rerun of this event has to begin at pre_build": func(r *rig) {
			r.server.refuse = func(cyclone.File) error { return errors.New("out of order") }
		},
	} {
		r := newRig(t, config, nil)
		change(r)
		if result := r.run(t); result.Status != cyclone.StatusSuccess {
			t.Errorf("%s: %s", result.Status, result.Reason)
		}
		r.has(t, name)
		if left, _ := filepath.Glob(filepath.Join(r.dir, "kept-*")); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
}

// TestOutputsBesideTheBuild: nobody waits for them but whoever may change the
// source tree, and the end.
func TestOutputsBesideTheBuild(t *testing.T) {
	t.Parallel()
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['echo x > out']\n  outputs: [out]\nbuild:\n  context_dir: .\n", map[string]string{"Dockerfile": "FROM scratch\n"})
	built := make(chan struct{})
	r.engine.Built = func(cyclone.BuildSpec) { close(built) }
	r.server.refuse = func(cyclone.File) error {
		<-built // the upload ends after the build
		return nil
	}
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
	if files, _ := r.server.outputs(); len(files) != 1 {
		t.Errorf("outputs %v", files)
	}
}

func TestHostileOutputOfAnEarlierEvent(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]tar.Header{
		"absolute link":  {link(tar.TypeSymlink, "a", "/etc/passwd")},
		"through a link": {link(tar.TypeSymlink, "a", ".."), file("a/evil", "x", 0o600)},
		"hard link":      {link(tar.TypeLink, "a", "../../etc/passwd")},
		"device":         {{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
	} {
		dir := filepath.Join(t.TempDir(), "tree")
		if err := os.Mkdir(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(dir, headers); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if around, _ := os.ReadDir(filepath.Dir(dir)); len(around) != 1 {
			t.Errorf("%s: written outside: %v", name, around)
		}
	}
}

// unpack packs headers as an earlier event would have, and unpacks them.
func unpack(dir string, headers []tar.Header) (int, error) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		return 0, err
	}
	if _, err := z.Write(cyclonetest.Tar(headers)); err != nil {
		return 0, err
	}
	if err := z.Close(); err != nil {
		return 0, err
	}
	return worker.UnpackOutput(dir, &b)
}

// changedSource is a cyclonetest.Source that knows what changed.
type changedSource struct {
	heldSource
	base  string
	paths []string
	err   error
}

func (s *changedSource) Changed(_ context.Context, spec cyclone.CloneSpec, _, base string) ([]string, error) {
	s.base = base + " of " + spec.SHA
	return s.paths, s.err
}

func TestWhenPaths(t *testing.T) {
	t.Parallel()
	const config = "pre_build:\n  image: alpine\n  when: {paths: ['docs/**', '!**/*.md']}\n  commands: ['echo it runs']\n"
	for _, tt := range []struct {
		name   string
		change func(job *cyclone.Job, s *changedSource)
		runs   bool
		log    string
	}{
		{"the forge says yes", func(job *cyclone.Job, _ *changedSource) { job.Changed = []string{"a", "docs/b/c.html"} }, true, "when.paths: docs/b/c.html has changed"},
		{"the forge says no", func(job *cyclone.Job, _ *changedSource) { job.Changed = []string{"a", "docs/readme.md"} }, false, "Skipped: none of the 2 changed files matches"},
		{"git says yes", func(job *cyclone.Job, s *changedSource) { job.Before, s.paths = "b4", []string{"docs/x"} }, true, "docs/x has changed"},
		{"git says no", func(job *cyclone.Job, s *changedSource) { job.Before = "b4" }, false, "none of the 0 changed files"},
		{"of a pull request", func(job *cyclone.Job, s *changedSource) {
			job.Event.PullRequest = &cyclone.PullRequest{Number: 7, TargetBranch: "main"}
			s.paths = []string{"docs/x"}
		}, true, "docs/x has changed"},
		{"git does not know", func(job *cyclone.Job, s *changedSource) { job.Before, s.err = "b4", cyclone.NotFound("it is gone") }, true, "when.paths: the changed files are not known (it is gone); the step runs"},
		{"nobody knows", func(*cyclone.Job, *changedSource) {}, true, "the changed files are not known (nobody said which commit was there before); the step runs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, config, nil)
			s := &changedSource{heldSource: heldSource{r.source, &r.held}}
			r.cloner = s
			tt.change(r.server.job, s)
			r.run(t)
			r.has(t, tt.log)
			if got := strings.Contains(r.server.log(), "| it runs"); got != tt.runs {
				t.Errorf("runs: %v\n%s", got, r.server.log())
			}
			if p := r.server.job.Event.PullRequest; p != nil && s.base != "refs/heads/main of "+sha {
				t.Error(s.base)
			}
			if r.server.job.Before != "" && s.base != "b4 of "+sha {
				t.Error(s.base)
			}
		})
	}
}

func TestProblemsAreReported(t *testing.T) {
	t.Parallel()
	r := newRig(t, "pre_build:\n  image: alpine\n  comands: ['true']\n  outputs: [../x]\n", nil)
	r.server.job.Project.ConfigFile = "ci/caicloud.yml"
	r.source.Files["ci/caicloud.yml"] = r.source.Files["caicloud.yml"]
	result := r.run(t)
	problems := r.server.last().Problems
	if result.Status != cyclone.StatusFailure || len(problems) < 2 {
		t.Fatalf("%s, %+v", result.Status, problems)
	}
	for _, p := range problems {
		if p.File != "ci/caicloud.yml" || p.Line == 0 || p.Message == "" {
			t.Errorf("%+v", p)
		}
		if p.Severity == cyclone.SeverityError && !strings.Contains(result.Error.Message, p.Message) {
			t.Errorf("the message lacks %q:\n%s", p.Message, result.Error.Message)
		}
	}
	r.has(t, "  3 |   comands: ['true']")
}
