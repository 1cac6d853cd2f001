package trigger_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

const (
	// whole is a file in which each stage needs those before it.
	whole = `
pre_build:
  image: golang:1.26
  commands: [make]
  outputs: [app]
build:
  context_dir: .
integration:
  commands: [./test]
post_build:
  image: busybox:1.36
  commands: [echo done]
deploy:
  - cluster: prod
    namespace: shop
    deployment: orders
    containers: [web]
`
	// loose is one in which they do not.
	loose = `
pre_build:
  image: golang:1.26
  commands: [make]
build:
  context_dir: .
  push: false
integration:
  image: golang:1.26
  commands: [make test]
`
	// twice builds two images; one of them is not pushed.
	twice = `
build:
  api: {context_dir: api}
  web: {context_dir: web, push: false}
integration:
  image: BUILT_IMAGE.web
  commands: [./test]
deploy:
  - {cluster: prod, namespace: shop, deployment: orders, containers: [web], image: BUILT_IMAGE.api}
`
)

// ends are how stages ended, in their order after the clone; one that is ""
// is not in the event. Those that ran have begun.
func ends(w *world, statuses ...cyclone.Status) []cyclone.StageState {
	states := []cyclone.StageState{{Name: cyclone.StageClone, Status: cyclone.StatusSuccess, StartedAt: &w.now}}
	for i, s := range statuses {
		if s == "" {
			continue
		}
		name := cyclone.Stages[i+1]
		state := cyclone.StageState{Name: name, Status: s, Steps: []cyclone.StepState{{Name: string(name), Status: s}}}
		if s != cyclone.StatusSkipped {
			state.StartedAt = &w.now
		}
		states = append(states, state)
	}
	return states
}

// keepOutput keeps an output of pre_build with an event.
func (w *world) keepOutput(id cyclone.EventID) {
	w.t.Helper()
	_, err := w.store.Files.Put(w.t.Context(), cyclone.File{
		Event: id, Kind: cyclone.FileOutput, Path: "pre_build", Stage: cyclone.StagePreBuild, Step: "pre_build",
	}, strings.NewReader("tar"))
	w.must(err)
}

// ran makes an event that ran a file to its end: all stages passed, outputs
// kept and the image pushed. Edits come after.
func (w *world) ran(config string, edits ...func(*cyclone.Event)) *cyclone.Event {
	w.t.Helper()
	_, e := w.deliver(push("main"))
	return w.complete(e, config, edits...)
}

func (w *world) complete(e *cyclone.Event, config string, edits ...func(*cyclone.Event)) *cyclone.Event {
	w.t.Helper()
	w.keepOutput(e.ID)
	ok := cyclone.StatusSuccess
	return w.ended(e, func(e *cyclone.Event) {
		e.Status, e.Run.Config, e.Stages = ok, []byte(config), ends(w, ok, ok, ok, ok, ok)
		e.Image.Digest = "sha256:1"
		e.Images = []cyclone.BuildImage{{Build: "build", Image: e.Image}}
		for _, edit := range edits {
			edit(e)
		}
	})
}

func TestRerunFromStage(t *testing.T) {
	const (
		ok, bad, skip, stop = cyclone.StatusSuccess, cyclone.StatusFailure, cyclone.StatusSkipped, cyclone.StatusCanceled
		build, test         = cyclone.StageBuild, cyclone.StageIntegration
		post, deploy        = cyclone.StagePostBuild, cyclone.StageDeploy
	)
	stages := func(status cyclone.Status, all ...cyclone.Status) func(*world, *cyclone.Event) {
		return func(w *world, e *cyclone.Event) { e.Status, e.Stages = status, ends(w, all...) }
	}
	for _, tt := range []struct {
		name   string
		config string
		edit   func(*world, *cyclone.Event)
		from   cyclone.Stage
		refuse string // part of the refusal; empty when the rerun begins
		can    string // part of what it says is possible
	}{
		{"build", whole, nil, build, "", ""},
		{"integration", whole, nil, test, "", ""},
		{"post_build", whole, nil, post, "", ""},
		{"deploy", whole, nil, deploy, "", ""},
		{"stage that failed", whole, stages(bad, ok, ok, bad, skip, skip), test, "", ""},
		{"stage that was canceled", whole, stages(stop, ok, ok, stop, skip, skip), test, "", ""},
		{"behind the one that failed", whole, stages(bad, ok, ok, bad, skip, skip), deploy, "integration ended there with failure", "the beginning, build or integration"},
		{"the first failed", whole, stages(bad, bad, skip, skip, skip, skip), build, "pre_build ended there with failure", "the beginning only"},
		{"ended before", whole, stages(stop, ok, skip, skip, skip, skip), test, "it ended before build", "the beginning or build"},
		{"stages are unknown", whole, stages(cyclone.StatusError), build, "it ended before pre_build", "the beginning only"},
		{"skipped by a rule, the run went on", whole, stages(bad, ok, ok, skip, bad, skip), post, "", ""},
		{"skipped by a rule in a success", whole, stages(ok, skip, ok, ok, skip, ok), build, "", ""},
		{"stage is not in the file", loose, nil, deploy, "its caicloud.yml has no deploy", "the beginning, build or integration"},
		{"image is not needed", loose, func(_ *world, e *cyclone.Event) { e.Image.Digest, e.Images = "", nil }, test, "", ""},
		{"image was not pushed", whole, func(_ *world, e *cyclone.Event) { e.Image.Digest, e.Images[0].Digest = "", "" }, test, "integration needs the image of build build, which was not pushed", "the beginning or build"},
		{"later stage needs the image", whole, func(_ *world, e *cyclone.Event) { e.Image.Digest, e.Images = "", nil }, post, "deploy needs the image", "the beginning or build"},
		{"event of before there were lists of images", whole, func(_ *world, e *cyclone.Event) { e.Images = nil }, deploy, "", ""},
		{"named image that was not pushed", twice, func(_ *world, e *cyclone.Event) {
			e.Images = []cyclone.BuildImage{{Build: "api", Image: e.Image}, {Build: "web", Image: cyclone.Image{Name: "x-web", Tag: "t"}}}
		}, test, "integration needs the image of build web, which was not pushed", "the beginning, build or deploy"},
		{"named image that was pushed", twice, func(_ *world, e *cyclone.Event) { e.Images = []cyclone.BuildImage{{Build: "api", Image: e.Image}} }, deploy, "", ""},
		{"outputs were removed", whole, func(w *world, e *cyclone.Event) { e.FilesRemovedAt = &w.now }, build, "retention removed the outputs of pre_build on 2026-01-01", "the beginning or deploy"},
		{"outputs are not there", whole, func(w *world, e *cyclone.Event) { w.must(w.store.Files.Delete(w.t.Context(), e.ID)) }, test, "outputs of step pre_build of pre_build are not kept", "deploy"},
		{"deploying needs no outputs", whole, func(w *world, e *cyclone.Event) { e.FilesRemovedAt = &w.now }, deploy, "", ""},
		{"but for a manifest", whole + "    manifest: k8s/app.yml\n", func(w *world, e *cyclone.Event) { e.FilesRemovedAt = &w.now }, deploy, "retention removed", "the beginning only"},
		{"step was skipped and left no outputs", whole, func(w *world, e *cyclone.Event) {
			w.must(w.store.Files.Delete(w.t.Context(), e.ID))
			e.Stages[1].Steps[0].Status = skip
		}, build, "", ""},
		{"no outputs in the file", loose, func(w *world, e *cyclone.Event) { e.FilesRemovedAt = &w.now }, build, "", ""},
		{"file was never read", whole, func(_ *world, e *cyclone.Event) { e.Run.Config, e.Stages = nil, nil }, build, "ended before its caicloud.yml was read", "the beginning only"},
		{"there was no file", whole, func(_ *world, e *cyclone.Event) { e.Run.Config = nil }, build, "had no caicloud.yml", "the beginning only"},
		{"file is wrong", "pre_build: [", nil, build, "its caicloud.yml has errors", "the beginning only"},
		{"event's own stages leave it out", whole, func(_ *world, e *cyclone.Event) {
			e.Run.Stages = []cyclone.Stage{cyclone.StagePreBuild, build}
		}, deploy, "events of its kind do not run deploy", "the beginning or build"},
		{"event's own stages leave earlier ones out", whole, func(w *world, e *cyclone.Event) {
			e.Run.Stages, e.FilesRemovedAt = []cyclone.Stage{build, test}, &w.now
			e.Stages = ends(w, skip, ok, bad, skip, skip)
			e.Status = bad
		}, test, "", ""},
		{"no stage", whole, nil, "compile", `"compile" is not a stage`, "post_build"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			parent := w.ran(tt.config, func(e *cyclone.Event) {
				if tt.edit != nil {
					tt.edit(w, e)
				}
			})
			e, err := w.Rerun(t.Context(), parent, "bob", tt.from)
			if tt.refuse == "" {
				w.must(err)
				if e.Run.From != tt.from || e.Trigger.From != tt.from || !slices.Equal(e.Run.Stages, parent.Run.Stages) || string(e.Run.Config) != tt.config {
					t.Errorf("rerun is %+v", e)
				}
				return
			}
			if !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), tt.refuse) || !strings.Contains(err.Error(), tt.can) {
				t.Errorf("Rerun = %v; want %q and %q", err, tt.refuse, tt.can)
			}
			if list, err := w.store.Events.List(t.Context(), cyclone.EventQuery{}); err != nil || list.Total != 1 {
				t.Errorf("%d events, %v", list.Total, err)
			}
		})
	}
}

// What is taken over depends on where a rerun begins.
func TestRerunTakesOver(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.ran(whole)
	for _, tt := range []struct {
		from   cyclone.Stage
		base   cyclone.EventID
		images []cyclone.BuildImage
		digest string
	}{
		{"", "", nil, ""},
		{cyclone.StagePreBuild, "", nil, ""},
		{cyclone.StageBuild, parent.ID, nil, ""},
		{cyclone.StageIntegration, parent.ID, parent.Images, "sha256:1"},
		{cyclone.StageDeploy, parent.ID, parent.Images, "sha256:1"},
	} {
		e, err := w.Rerun(t.Context(), parent, "bob", tt.from)
		w.must(err)
		if e.Run.Base != tt.base || !cmp.Equal(e.Images, tt.images) || e.Image.Digest != tt.digest || e.Image.Ref() != parent.Image.Ref() {
			t.Errorf("from %q: base %q, image %+v, images %+v", tt.from, e.Run.Base, e.Image, e.Images)
		}
		if tt.from == cyclone.StagePreBuild && e.Run.From != "" {
			t.Errorf("beginning at pre_build is running all; from is %q", e.Run.From)
		}
	}
}

// A rerun of a rerun takes over what the first event made, however long the
// chain, for as long as that is kept.
func TestRerunOfRerunFromStage(t *testing.T) {
	w := newWorld(t, nil)
	ok, bad, skip := cyclone.StatusSuccess, cyclone.StatusFailure, cyclone.StatusSkipped
	over := func(e *cyclone.Event, edit func(*cyclone.Event)) {
		w.ended(e, func(e *cyclone.Event) {
			e.Run.Config = []byte(whole)
			edit(e)
		})
	}
	first := w.ran(whole)
	second, err := w.Rerun(t.Context(), first, "bob", cyclone.StageIntegration)
	w.must(err)
	over(second, func(e *cyclone.Event) { e.Status, e.Stages = bad, ends(w, skip, skip, bad, skip, skip) })
	third, err := w.Rerun(t.Context(), second, "bob", cyclone.StageIntegration)
	w.must(err)
	if third.Run.Base != first.ID || !cmp.Equal(third.Images, first.Images) || third.Origin() != cyclone.KindPush || third.Trigger.Parent != second.ID {
		t.Errorf("third is %+v, base %s", third, third.Run.Base)
	}
	// One that never began still stands for what it took over.
	over(third, func(e *cyclone.Event) { e.Status, e.Stages, e.StartedAt = cyclone.StatusCanceled, nil, nil })
	fourth, err := w.Rerun(t.Context(), third, "bob", cyclone.StageBuild)
	w.must(err)
	if fourth.Run.Base != first.ID || fourth.Images != nil {
		t.Errorf("fourth has base %q and images %v", fourth.Run.Base, fourth.Images)
	}
	// It built anew: what comes of it is its own image, and the first's outputs.
	over(fourth, func(e *cyclone.Event) {
		e.Status, e.Stages, e.Image.Digest = ok, ends(w, skip, ok, ok, ok, ok), "sha256:2"
		e.Images = []cyclone.BuildImage{{Build: "build", Image: e.Image}}
	})
	fifth, err := w.Rerun(t.Context(), fourth, "bob", cyclone.StageDeploy)
	w.must(err)
	if fifth.Run.Base != first.ID || fifth.Image.Digest != "sha256:2" {
		t.Errorf("fifth has base %q and image %+v", fifth.Run.Base, fifth.Image)
	}
	// From the beginning it is on its own feet again.
	over(fifth, func(e *cyclone.Event) { e.Status, e.Stages = ok, ends(w, skip, skip, skip, skip, ok) })
	all, err := w.Rerun(t.Context(), fifth, "bob", "")
	w.must(err)
	if all.Run.From != "" || all.Run.Base != "" || all.Trigger.From != "" || all.Images != nil || all.Image.Digest != "" {
		t.Errorf("rerun of all is %+v", all)
	}
	w.must(w.store.Events.Delete(t.Context(), first.ID))
	if _, err := w.Rerun(t.Context(), second, "bob", cyclone.StageIntegration); !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), "does not exist any more") {
		t.Errorf("without the first: %v", err)
	}
}

// A fork's event stays one: it pushed nothing, so that what needs its image
// cannot begin, and it never deploys.
func TestRerunOfForkFromStage(t *testing.T) {
	w := newWorld(t, nil)
	_, e := w.deliver(request(7, true))
	parent := w.complete(e, whole, func(e *cyclone.Event) { e.Image.Digest, e.Images[0].Digest = "", "" })
	for from, why := range map[cyclone.Stage]string{
		cyclone.StageIntegration: "events of pull requests push none",
		cyclone.StageDeploy:      "events of its kind do not run deploy",
	} {
		if _, err := w.Rerun(t.Context(), parent, "bob", from); !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("from %s: %v; want %q", from, err, why)
		}
	}
	got, err := w.Rerun(t.Context(), parent, "bob", cyclone.StageBuild)
	w.must(err)
	if !got.FromFork() || got.Origin() != cyclone.KindPullRequest || got.Run.Base != parent.ID || got.Status != cyclone.StatusPending {
		t.Errorf("rerun is %+v", got)
	}
	// Naming all stages gives a fork no more.
	parent.Run.Stages = cyclone.Stages
	if _, err := w.Rerun(t.Context(), parent, "bob", cyclone.StageDeploy); !errors.Is(err, cyclone.ErrInvalid) {
		t.Errorf("with all stages named: %v", err)
	}
}

// What a push changed is kept for the steps that ask for it, unless it is more
// than an event should carry.
func TestChangedPathsAreKept(t *testing.T) {
	many := make([]string, 3001)
	for i := range many {
		many[i] = fmt.Sprint("f", i)
	}
	for name, tt := range map[string]struct {
		changed []string
		want    int
	}{
		"unknown":   {nil, 0},
		"few":       {[]string{"a", "b/c"}, 2},
		"many":      {many[:3000], 3000},
		"too many":  {many, 0},
		"too large": {[]string{strings.Repeat("x", 256<<10), "y"}, 0},
	} {
		w := newWorld(t, nil)
		_, e := w.deliver(with(push("main"), func(h *cyclone.Hook) { h.Before, h.Changed = "0123abc", tt.changed }))
		if e.Run.Before != "0123abc" || len(e.Run.Changed) != tt.want {
			t.Errorf("%s: before %q, %d paths; want %d", name, e.Run.Before, len(e.Run.Changed), tt.want)
		}
		got, err := w.Rerun(t.Context(), w.ended(e, nil), "bob", "")
		w.must(err)
		if got.Run.Before != e.Run.Before || !slices.Equal(got.Run.Changed, e.Run.Changed) {
			t.Errorf("%s: a rerun has %q and %d paths", name, got.Run.Before, len(got.Run.Changed))
		}
	}
}

func TestRerunWithoutFileStore(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.ran(whole)
	w.Files = nil
	if _, err := w.Rerun(t.Context(), parent, "bob", cyclone.StageBuild); !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), "keeps no outputs") {
		t.Errorf("without a store: %v", err)
	}
	if _, err := w.Rerun(t.Context(), parent, "bob", cyclone.StageDeploy); err != nil {
		t.Errorf("deploying needs none: %v", err)
	}
}
