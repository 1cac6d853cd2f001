package gitea_test

import (
	"net/http"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/gitea"
	"cyclone/pkg/scm/scmtest"
)

func TestAPI(t *testing.T) {
	t.Parallel()
	scmtest.RunAPI(t, scmtest.APISuite{
		New:   func(client *http.Client) scmtest.API { return &gitea.API{Client: client} },
		Start: func(t *testing.T) *fakeforge.Forge { return fakeforge.NewGitea(t).Forge },
		States: map[cyclone.CommitState]string{
			cyclone.CommitPending: "pending", cyclone.CommitRunning: "pending", cyclone.CommitSuccess: "success", cyclone.CommitSkipped: "success",
			cyclone.CommitFailure: "failure", cyclone.CommitError: "error", cyclone.CommitCanceled: "error",
		},
		MaxDescription: 255,
		PullRef:        "refs/pull/7/head",
		Events:         []string{"push", "create", "pull_request", "pull_request_sync", "pull_request_comment", "release", "issue_comment"},
		Weak:           []string{"read:repository", "read:issue", "read:user"},
		Needs: map[string]string{
			"SetStatus":  `"repository: Read and Write" (the scope write:repository), from somebody who may push`,
			"PutComment": `"issue: Read and Write" (the scope write:issue)`,
			"PutHook":    `"repository: Read and Write" (the scope write:repository), from somebody who administers`,
			"RemoveHook": `(the scope write:repository)`,
		},
		AlwaysVerified: true,
	})
}
