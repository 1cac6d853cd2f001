package progress_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// keep stores a file with an event.
func (w *world) keep(id cyclone.EventID, kind cyclone.FileKind, path string) {
	w.t.Helper()
	_, err := w.store.Files.Put(w.t.Context(), cyclone.File{
		Event: id, Kind: kind, Path: path, Stage: cyclone.StagePreBuild, Step: "pre_build",
	}, strings.NewReader("content"))
	w.must(err)
}

// kept counts the files of an event.
func (w *world) kept(id cyclone.EventID) int {
	w.t.Helper()
	all, err := w.store.Files.List(w.t.Context(), id, "")
	w.must(err)
	return len(all)
}

func TestJobOfRerunFromStage(t *testing.T) {
	images := []cyclone.BuildImage{{Build: "build", Image: cyclone.Image{Name: "r/o", Tag: "t", Digest: "sha256:1"}}}
	for name, c := range map[string]struct {
		from  cyclone.Stage
		base  cyclone.EventID
		spoil func(*world)
		says  string // the end of an event that cannot be run
		files int
	}{
		"all":                            {},
		"build":                          {from: cyclone.StageBuild, base: "base", files: 2},
		"integration":                    {from: cyclone.StageIntegration, base: "base", files: 2},
		"nothing of pre_build is needed": {from: cyclone.StageIntegration},
		"base is gone": {from: cyclone.StageBuild, base: "other",
			says: "the rerun cannot begin at build, because the outputs of pre_build are gone: the event that ran pre_build does not exist any more; rerun the event from pre_build"},
		"files are gone":           {from: cyclone.StagePostBuild, base: "base", spoil: (*world).removeFiles, says: "retention removed the files of event #1 on 2026-02-03"},
		"deploying can do without": {from: cyclone.StageDeploy, base: "base", spoil: (*world).removeFiles},
		"no store":                 {from: cyclone.StageBuild, base: "base", spoil: func(w *world) { w.Files = nil }, says: "keeps no files"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.CacheLimit, w.FileLimit = 5, 7
			w.event("base", func(e *cyclone.Event) { e.Status = cyclone.StatusSuccess })
			w.keep("base", cyclone.FileOutput, "one")
			w.keep("base", cyclone.FileOutput, "two")
			w.keep("base", cyclone.FileArtifact, "three")
			if c.spoil != nil {
				c.spoil(w)
			}
			w.event("e1", func(e *cyclone.Event) {
				e.Run.From, e.Run.Base, e.Run.Before, e.Run.Changed = c.from, c.base, "0123", []string{"a"}
				if c.from != "" && c.from != cyclone.StageBuild {
					e.Images = images
				}
			})
			job, err := w.Job(t.Context(), w.claim("w-1"))
			if c.says != "" {
				wantKind(t, err, cyclone.ErrConflict)
				if e := w.wantStatus("e1", cyclone.StatusError); !strings.Contains(e.Reason, c.says) {
					t.Errorf("reason is %q, want %q", e.Reason, c.says)
				}
				return
			}
			w.must(err)
			if job.From != c.from || len(job.Outputs) != c.files || job.Before != "0123" || !cmp.Equal(job.Changed, []string{"a"}) ||
				job.CacheLimit != 5 || job.FileLimit != 7 {
				t.Errorf("job is %+v", job)
			}
			if c.from != "" && c.from != cyclone.StageBuild && !cmp.Equal(job.Images, images) {
				t.Errorf("images are %+v", job.Images)
			}
		})
	}
}

// removeFiles is what retention does.
func (w *world) removeFiles() {
	e := w.find("base")
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	e.FilesRemovedAt = &at
	w.must(w.store.Events.Replace(w.t.Context(), e))
	w.must(w.store.Files.Delete(w.t.Context(), "base"))
}

// What the attempt before left is not taken for the result of this one; what
// this one kept before it lost its connection stays.
func TestFilesOfAnEarlierAttemptGo(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	_, err := w.Job(t.Context(), f)
	w.must(err)
	w.keep("e1", cyclone.FileArtifact, "old")
	w.must(w.Report(t.Context(), f, cyclone.Report{
		Image:  cyclone.Image{Name: "r/o", Tag: "t", Digest: "sha256:1"},
		Images: []cyclone.BuildImage{{Build: "build", Image: cyclone.Image{Name: "r/o", Tag: "t", Digest: "sha256:1"}}},
		Tests:  &cyclone.TestSummary{Total: 1}, Problems: []cyclone.Problem{{Message: "x"}},
	}))
	w.must(w.Lost(t.Context(), w.find("e1"), "it is gone"))
	if e := w.wantStatus("e1", cyclone.StatusPending); e.Tests != nil || e.Problems != nil || e.Images != nil || e.Image.Digest != "" {
		t.Errorf("what the first attempt found is still there: %+v", e)
	}
	again := w.claim("w-2")
	if again.Attempt != 2 {
		t.Fatalf("attempt %d", again.Attempt)
	}
	_, err = w.Job(t.Context(), again)
	w.must(err)
	if n := w.kept("e1"); n != 0 {
		t.Errorf("%d files of the first attempt are left", n)
	}
}

// An event that starts again goes on from what it took over.
func TestTakenOverImagesStay(t *testing.T) {
	for from, stays := range map[cyclone.Stage]bool{"": false, cyclone.StageBuild: false, cyclone.StageIntegration: true, cyclone.StageDeploy: true} {
		w := newWorld(t)
		image := cyclone.Image{Name: "r/o", Tag: "t", Digest: "sha256:1"}
		w.event("e1", func(e *cyclone.Event) {
			e.Run.From, e.Image, e.Images = from, image, []cyclone.BuildImage{{Build: "build", Image: image}}
		})
		f := w.claim("w-1")
		_, _, err := w.Attach(t.Context(), f.Worker, "token", "session")
		w.must(err)
		w.must(w.Lost(t.Context(), w.find("e1"), "it is gone"))
		e := w.wantStatus("e1", cyclone.StatusPending)
		if (e.Image.Digest != "") != stays || (len(e.Images) == 1) != stays {
			t.Errorf("from %q: image %+v, images %v", from, e.Image, e.Images)
		}
	}
}

// A report is taken over within bounds: lists of events carry it all.
func TestFindingsAreBounded(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	long := strings.Repeat("ä", 100_000)
	r := cyclone.Report{Tests: &cyclone.TestSummary{Total: 1000, Failed: 900}}
	for i := range 900 {
		r.Problems = append(r.Problems, cyclone.Problem{File: long, Line: i + 1, Path: long, Message: long, Hint: long})
		r.Tests.Failures = append(r.Tests.Failures, cyclone.TestCase{Suite: long, Class: long, Name: long, Message: long, Output: long + "the end"})
		r.Images = append(r.Images, cyclone.BuildImage{Build: fmt.Sprint(i)})
	}
	w.must(w.Report(t.Context(), f, r))
	e := w.find("e1")
	if len(e.Problems) != 200 || e.Problems[199].Line != 200 || len(e.Tests.Failures) != cyclone.MaxFailures || e.Tests.Failed != 900 || len(e.Images) != 100 {
		t.Errorf("%d problems, %d failures, %d images", len(e.Problems), len(e.Tests.Failures), len(e.Images))
	}
	for _, text := range []string{e.Problems[0].Message, e.Problems[0].Hint, e.Problems[0].Path, e.Tests.Failures[0].Name, e.Tests.Failures[0].Output} {
		if len(text) > 4<<10+3 || !utf8.ValidString(text) {
			t.Errorf("a text of %d bytes", len(text))
		}
	}
	if !strings.HasSuffix(e.Tests.Failures[0].Output, "the end") {
		t.Error("the end of the output is cut off")
	}
	if len(r.Tests.Failures[0].Output) < 100_000 || len(r.Problems[0].Message) < 100_000 {
		t.Error("the report itself was changed")
	}
	// A later report that says nothing of them takes nothing away.
	w.must(w.Report(t.Context(), f, cyclone.Report{}))
	if e := w.find("e1"); e.Tests == nil || len(e.Problems) != 200 || len(e.Images) != 100 {
		t.Errorf("they are gone: %+v", e.Tests)
	}
}

func TestFinishCountsArtifacts(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	w.keep("e1", cyclone.FileArtifact, "a")
	w.keep("e1", cyclone.FileArtifact, "b/c")
	w.keep("e1", cyclone.FileReport, "pre_build/pre_build.json")
	w.keep("e1", cyclone.FileOutput, "pre_build")
	w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}))
	if e := w.find("e1"); e.Files != 2 {
		t.Errorf("%d artifacts, want 2", e.Files)
	}
}
