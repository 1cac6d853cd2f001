package local_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/local"
)

func source() *local.Source {
	return &local.Source{
		Root: "/home/alice/orders", Git: true, FullRef: "refs/heads/main", Changes: 2,
		Commit: cyclone.Commit{SHA: "3f2a1b9c4d5e6f708192a3b4c5d6e7f801234567", Message: "Fix"},
	}
}

func TestRunIsTheEventThatWasAskedFor(t *testing.T) {
	t.Parallel()
	type event struct{ Kind, Ref, Branch, Tag, Version, PR string }
	for name, c := range map[string]struct {
		options local.Options
		want    event
	}{
		"as it is":     {local.Options{}, event{"manual", "refs/heads/main", "main", "", "ci-3f2a1b9-dirty", ""}},
		"push":         {local.Options{Event: cyclone.KindPush, Branch: "dev/x"}, event{"push", "refs/heads/dev/x", "dev/x", "", "ci-3f2a1b9-dirty", ""}},
		"tag":          {local.Options{Event: cyclone.KindTag, Tag: "v1.0"}, event{"tag", "refs/tags/v1.0", "", "v1.0", "v1.0-dirty", ""}},
		"version":      {local.Options{Version: "7"}, event{"manual", "refs/heads/main", "main", "", "7", ""}},
		"pull request": {local.Options{Event: cyclone.KindPullRequest}, event{"pull_request", "refs/heads/main", "main", "", "pr-0-3f2a1b9-dirty", "main to main"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.Config = "caicloud.yml"
			run, err := local.NewRun(source(), []byte(pipeline), nil, c.options)
			if err != nil {
				t.Fatal(err)
			}
			e := run.Job.Event
			got := event{string(e.Trigger.Kind), e.Ref, e.Branch, e.Tag, e.Version, ""}
			if p := e.PullRequest; p != nil {
				got.PR = p.SourceBranch + " to " + p.TargetBranch
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if e.Project != "orders" || run.Job.Push {
				t.Errorf("project %q, push %v", e.Project, run.Job.Push)
			}
		})
	}
}

func TestRunsTheStagesThatWereAskedFor(t *testing.T) {
	t.Parallel()
	last := lastWith(t)
	for name, c := range map[string]struct {
		options local.Options
		stages  string
		from    cyclone.Stage
		images  int
	}{
		"all but deploy": {local.Options{}, "clone pre_build build integration post_build", "", 0},
		"with deploy":    {local.Options{Deploy: true, Push: true, Image: "r.test/orders"}, "clone pre_build build integration post_build deploy", "", 0},
		"one":            {local.Options{Stages: []cyclone.Stage{"integration"}}, "clone integration", "integration", 1},
		"with a gap":     {local.Options{Stages: []cyclone.Stage{"pre_build", "integration"}}, "clone pre_build integration", "", 1},
		"from":           {local.Options{From: "build"}, "clone pre_build build integration post_build", "build", 0},
		"from the first": {local.Options{From: "pre_build"}, "clone pre_build build integration post_build", "", 0},
		"of a pull request": {local.Options{Event: cyclone.KindPullRequest},
			"clone pre_build build integration", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.Config = "caicloud.yml"
			run, err := local.NewRun(source(), []byte(pipeline), last, c.options)
			if err != nil {
				t.Fatal(err)
			}
			stages := strings.Trim(fmt.Sprint(run.Job.Stages), "[]")
			if stages != c.stages || run.Job.From != c.from || len(run.Job.Images) != c.images {
				t.Errorf("stages %q from %q with %d images, want %q from %q with %d", stages, run.Job.From, len(run.Job.Images), c.stages, c.from, c.images)
			}
		})
	}
}

// lastWith is a last run that has built the image.
func lastWith(t *testing.T) *local.Last {
	t.Helper()
	last, err := local.OpenLast(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	report := cyclone.Report{
		Images: []cyclone.BuildImage{{Build: "build", Image: cyclone.Image{Name: "orders", Tag: "1"}}},
		Stages: []cyclone.StageState{{Name: cyclone.StageBuild, Status: cyclone.StatusSuccess}},
	}
	if err := last.Keep("e1", report); err != nil {
		t.Fatal(err)
	}
	return last
}

func TestRunRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	const secrets = "pre_build: {image: x, commands: [ls], secrets: [A, B]}\nbuild: {context_dir: ., secrets: [B, C]}\n"
	for name, c := range map[string]struct {
		config  string
		options local.Options
		want    []string
	}{
		"no such stage":         {"post_build: {image: x, commands: [ls]}\n", local.Options{Stages: []cyclone.Stage{"build"}}, []string{"has no stage build; it has post_build"}},
		"from no such stage":    {"post_build: {image: x, commands: [ls]}\n", local.Options{From: "build"}, []string{"has no stage build"}},
		"deploy without a word": {pipeline, local.Options{Stages: []cyclone.Stage{"deploy"}}, []string{"needs --deploy"}},
		"push without a name":   {pipeline, local.Options{Push: true}, []string{"--push needs --image"}},
		"deploy without push":   {pipeline, local.Options{Deploy: true}, []string{"--deploy needs --push"}},
		"tag without a tag":     {pipeline, local.Options{Event: cyclone.KindTag}, []string{"needs --tag"}},
		"no image from before":  {strings.Replace(pipeline, "  image: golang:1.26\n  commands: [go test]", "  commands: [go test]", 1), local.Options{From: "integration"}, []string{"integration needs the image of build", "--stage pre_build,build"}},
		"secrets":               {secrets, local.Options{Secrets: map[string]string{"A": "1"}}, []string{"B (pre_build, build), C (build)", "--secret B --secret C"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.Config = "caicloud.yml"
			last, err := local.OpenLast(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			_, err = local.NewRun(source(), []byte(c.config), last, c.options)
			var wrong *local.UsageError
			if !errors.As(err, &wrong) {
				t.Fatalf("%v; want a usage error", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
	_, err := local.NewRun(source(), []byte("pre_build: {image: x, privileged: true, commands: [ls]}\n"), nil, local.Options{Config: "ci.yml"})
	var problems *local.Problems
	if !errors.As(err, &problems) || len(problems.List) == 0 || problems.File != "ci.yml" {
		t.Errorf("a privileged step: %v; want problems", err)
	}
	if _, err := local.NewRun(source(), []byte("pre_build: {image: x, privileged: true, commands: [ls]}\n"), nil, local.Options{Config: "ci.yml", Trusted: true}); err != nil {
		t.Errorf("a privileged step that is trusted: %v", err)
	}
}
