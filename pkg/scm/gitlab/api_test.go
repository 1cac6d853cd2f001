package gitlab_test

import (
	"net/http"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/gitlab"
	"cyclone/pkg/scm/scmtest"
)

func TestAPI(t *testing.T) {
	t.Parallel()
	scmtest.RunAPI(t, scmtest.APISuite{
		New:   func(client *http.Client) scmtest.API { return &gitlab.API{Client: client} },
		Start: func(t *testing.T) *fakeforge.Forge { return fakeforge.NewGitLab(t).Forge },
		States: map[cyclone.CommitState]string{
			cyclone.CommitPending: "pending", cyclone.CommitRunning: "running", cyclone.CommitSuccess: "success", cyclone.CommitSkipped: "skipped",
			cyclone.CommitFailure: "failed", cyclone.CommitError: "failed", cyclone.CommitCanceled: "canceled",
		},
		MaxDescription: 255,
		PullRef:        "refs/merge-requests/7/head",
		Events:         []string{"push_events", "tag_push_events", "merge_requests_events", "note_events", "releases_events"},
		Weak:           []string{"read_api"},
		Needs: map[string]string{
			"SetStatus": `"api" (the scope of a token), from somebody who is Developer or more`, "PutComment": `"api" (the scope of a token)`,
			"PutHook": `"api" (the scope of a token), from somebody who is Maintainer`, "RemoveHook": `"api" (the scope of a token)`,
		},
		Unknown: true, // GitLab compares the commits themselves
	})
}
