package cyclone_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

func TestDefaultVersion(t *testing.T) {
	sha := strings.Repeat("3f2a1b9", 6)
	for _, c := range []struct {
		event cyclone.Event
		want  string
	}{
		{cyclone.Event{Commit: cyclone.Commit{SHA: sha}}, "ci-3f2a1b9"},
		{cyclone.Event{Commit: cyclone.Commit{SHA: sha}, Tag: "v1.2+build/3"}, "v1.2-build-3"},
		{cyclone.Event{Commit: cyclone.Commit{SHA: sha}, PullRequest: &cyclone.PullRequest{Number: 7}}, "pr-7-3f2a1b9"},
		{cyclone.Event{Commit: cyclone.Commit{SHA: sha}, Tag: "..-"}, "ci-3f2a1b9"},
		{cyclone.Event{}, ""},
	} {
		if got := c.event.DefaultVersion(); got != c.want {
			t.Errorf("version of %+v is %q, want %q", c.event, got, c.want)
		}
	}
}

func TestDockerTag(t *testing.T) {
	long := strings.Repeat("x", 200)
	for in, want := range map[string]string{"v1": "v1", "release/1 ü": "release-1--", ".-a": "a", "---": "", long: long[:128]} {
		if got := cyclone.DockerTag(in); got != want {
			t.Errorf("DockerTag(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPullRequestsNeitherPostBuildNorDeploy(t *testing.T) {
	e := cyclone.Event{PullRequest: &cyclone.PullRequest{}}
	if got := fmt.Sprint(e.DefaultStages()); got != "[clone pre_build build integration]" {
		t.Errorf("stages of a pull request are %s", got)
	}
	if got := len((&cyclone.Event{}).DefaultStages()); got != len(cyclone.Stages) {
		t.Errorf("a push has %d stages", got)
	}
}

// An attempt holds its event only while nobody else does and it is not over.
func TestFence(t *testing.T) {
	e := &cyclone.Event{ID: "e", Status: cyclone.StatusRunning, Worker: cyclone.WorkerRef{ID: "w", Attempt: 2}}
	holder := cyclone.Fence{Event: "e", Worker: "w", Attempt: 2}
	if !holder.Holds(e) {
		t.Error("the holder does not hold its event")
	}
	for _, late := range []cyclone.Fence{{Event: "e", Worker: "w", Attempt: 1}, {Event: "e", Worker: "v", Attempt: 2}, {Event: "f", Worker: "w", Attempt: 2}} {
		if late.Holds(e) {
			t.Errorf("%+v holds the event", late)
		}
	}
	e.Status = cyclone.StatusCanceled
	if holder.Holds(e) {
		t.Error("an event that is over is held")
	}
}

func TestNoticeDue(t *testing.T) {
	early, late := time.UnixMilli(1000), time.UnixMilli(2000)
	e := &cyclone.Event{Run: cyclone.Run{Notices: []cyclone.Notice{{NextAt: late}, {NextAt: early}, {NextAt: time.UnixMilli(1), Done: true}}}}
	if got := e.NoticeDue(); !got.Equal(early) {
		t.Errorf("due at %s", got)
	}
	if got := (&cyclone.Event{}).NoticeDue(); !got.IsZero() {
		t.Errorf("without notices due at %s", got)
	}
}

func TestErrorsHaveAKindAndAMessage(t *testing.T) {
	err := fmt.Errorf("find project: %w", cyclone.NotFound("project %q does not exist", "orders"))
	if !errors.Is(err, cyclone.ErrNotFound) || err.Error() != `find project: project "orders" does not exist` {
		t.Errorf("error is %v", err)
	}
	bad := cyclone.Invalid("name", "is empty").Add("limits.cpus", "is %d", -1)
	if !errors.Is(bad, cyclone.ErrInvalid) || bad.Error() != "name: is empty; limits.cpus: is -1" {
		t.Errorf("error is %v", bad)
	}
	if err := new(cyclone.InvalidError).OrNil(); err != nil {
		t.Errorf("no wrong field is %v", err)
	}
}
