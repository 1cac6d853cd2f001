package github_test

import (
	"net/http"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/github"
	"cyclone/pkg/scm/scmtest"
)

func TestAPI(t *testing.T) {
	t.Parallel()
	scmtest.RunAPI(t, scmtest.APISuite{
		New:   func(client *http.Client) scmtest.API { return &github.API{Client: client} },
		Start: func(t *testing.T) *fakeforge.Forge { return fakeforge.NewGitHub(t).Forge },
		States: map[cyclone.CommitState]string{
			cyclone.CommitPending: "pending", cyclone.CommitRunning: "pending", cyclone.CommitSuccess: "success", cyclone.CommitSkipped: "success",
			cyclone.CommitFailure: "failure", cyclone.CommitError: "error", cyclone.CommitCanceled: "error",
		},
		MaxDescription: 140,
		PullRef:        "refs/pull/7/head",
		Events:         []string{"push", "pull_request", "release", "issue_comment"},
		Weak:           []string{"read:org"},
		Needs: map[string]string{
			"SetStatus": `"Commit statuses: read and write" (or the scope repo:status`, "PutComment": `"Pull requests: read and write"`,
			"PutHook": `"Webhooks: read and write" (or the scope admin:repo_hook`, "RemoveHook": `"Webhooks: read and write"`,
			"Changed": `"Contents: read"`, "PullRequest": `"Pull requests: read"`, "Branches": `"Contents: read"`,
		},
	})
}
