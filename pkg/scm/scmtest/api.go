package scmtest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
)

// API is what a driver calls its forge with.
type API interface {
	cyclone.StatusSetter
	cyclone.RepositoryReader
	cyclone.HookKeeper
	cyclone.RepositoryLister
}

// APISuite is what a driver brings to the contract of the four interfaces.
type APISuite struct {
	// New makes the driver; client may be nil.
	New func(client *http.Client) API
	// Start starts a fake of the forge that ends with the test.
	Start func(t *testing.T) *fakeforge.Forge
	// States are the forge's words for the states of a commit.
	States map[cyclone.CommitState]string
	// MaxDescription is how many characters of a description the forge takes.
	MaxDescription int
	// PullRef is where git has the head of pull request 7.
	PullRef string
	// Events are the forge's names of what the webhook must tell.
	Events []string
	// Weak are the scopes of a token that may only read.
	Weak []string
	// Needs are words that a refusal must say, by method: the permission.
	Needs map[string]string
	// Unknown is set where the forge does not tell when commits diverged.
	Unknown bool
	// AlwaysVerified is set where a webhook cannot turn the check of our
	// certificate off.
	AlwaysVerified bool
}

// What the fake forge of the suite holds.
const (
	apiToken  = "tok-0123456789abcdef"
	weakToken = "weak-0123456789abcdef"
	repoName  = "acme/orders"
	shaA      = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
	shaB      = "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"
	shaC      = "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"
	hookURL   = "https://ci.example.com/api/v1/hooks/x/orders"
	marker    = "<!-- cyclone:orders -->"
)

// world is one test's forge and driver.
type world struct {
	*fakeforge.Forge
	api API
	a   cyclone.ForgeAccess // of a user who may all
}

func (s APISuite) world(t *testing.T) *world {
	t.Helper()
	f := s.Start(t)
	f.AddUser("robot", apiToken)
	f.AddUser("reader", weakToken, s.Weak...)
	f.AddRepository(fakeforge.Repository{
		Name: repoName, Private: true,
		Roles: map[string]fakeforge.Role{
			"robot": fakeforge.Admin, "reader": fakeforge.Read, "alice": fakeforge.Write,
			"maria": fakeforge.Maintain, "tim": fakeforge.Triage, "root": fakeforge.Admin,
		},
		Branches: []fakeforge.Ref{{Name: "main", SHA: shaB}, {Name: "feature/pay", SHA: shaC}, {Name: "Fix", SHA: shaA}},
		Tags:     []fakeforge.Ref{{Name: "v1.0", SHA: shaA}, {Name: "v2.0", SHA: shaB}},
		Commits:  []string{shaA, shaB, shaC},
		Compared: []fakeforge.Comparison{
			{Before: shaA, After: shaB, Files: []string{"README.md", "src/old.go => src/new.go", "ünicode file.txt"}},
			{Before: shaB, After: shaC, Diverged: true, Files: []string{"half.txt"}},
		},
		PullRequests: []fakeforge.PullRequest{
			{Number: 7, Title: "Pay \"later\"", Source: "feature/pay", Target: "main", SHA: shaC, Author: "alice", Files: []string{"pay.go", "a.go => b.go"}},
			{Number: 8, Title: "From outside", Source: "patch", Target: "main", SHA: shaB, Author: "stranger", Fork: true, Draft: true},
			{Number: 9, Title: "Gone", Source: "patch", Target: "main", SHA: shaA, Author: "stranger", Fork: true, ForkGone: true, Closed: true},
		},
	})
	f.AddUser("stranger", "")
	w := &world{Forge: f, api: s.New(nil)}
	w.a = w.access(apiToken)
	return w
}

// access reaches the repository with a token.
func (w *world) access(token string) cyclone.ForgeAccess {
	return cyclone.ForgeAccess{
		URL:        w.RepositoryURL(repoName),
		Credential: cyclone.Credential{Username: "git", Password: token, Holder: `secret "forge"`},
	}
}

// method is one thing that a driver does.
type method struct {
	name string
	do   func(context.Context, API, cyclone.ForgeAccess) error
}

// methods are all of them.
func methods() []method {
	return []method{
		{"SetStatus", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			return api.SetStatus(ctx, a, shaA, cyclone.CommitStatus{State: cyclone.CommitPending, Context: "cyclone/orders", Description: "waits", URL: "https://ci.example.com/e/1", Ref: "refs/heads/main"})
		}},
		{"PutComment", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			return api.PutComment(ctx, a, 7, marker, marker+"\nresult")
		}},
		{"Repository", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.Repository(ctx, a)
			return err
		}},
		{"Changed", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.Changed(ctx, a, shaA, shaB, 0)
			return err
		}},
		{"Changed of a pull request", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.Changed(ctx, a, "", "", 7)
			return err
		}},
		{"PullRequest", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.PullRequest(ctx, a, 7)
			return err
		}},
		{"MayWrite", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.MayWrite(ctx, a, "alice")
			return err
		}},
		{"PutHook", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.PutHook(ctx, a, cyclone.HookSpec{URL: hookURL, Secret: "hook-secret"})
			return err
		}},
		{"RemoveHook", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			return api.RemoveHook(ctx, a, hookURL)
		}},
		{"Repositories", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.Repositories(ctx, a, "", cyclone.Page{})
			return err
		}},
		{"Branches", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.Branches(ctx, a, "", cyclone.Page{})
			return err
		}},
		{"Tags", func(ctx context.Context, api API, a cyclone.ForgeAccess) error {
			_, err := api.Tags(ctx, a, "", cyclone.Page{})
			return err
		}},
	}
}

// RunAPI checks the whole contract.
func RunAPI(t *testing.T, s APISuite) {
	t.Helper()
	for name, test := range map[string]func(*testing.T){
		"statuses": s.statuses, "description": s.description, "comment": s.comment, "comment among many": s.manyComments,
		"comments of others": s.otherComments, "repository": s.repository, "changed": s.changed, "pull request": s.pullRequest,
		"may write": s.mayWrite, "webhook": s.hook, "webhook mended": s.hookMended, "webhooks removed": s.hooksRemoved,
		"repositories": s.repositories, "branches and tags": s.refs, "cursor": s.cursor,
		"faults": s.faults, "limits": s.limits, "permissions": s.permissions, "credentials": s.credentials,
		"addresses": s.addresses, "silence": s.silence, "at once": s.atOnce, "strange names": s.strangeNames,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// sane checks an error text: no token, one printable line, not endless.
func sane(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{apiToken, weakToken, "hook-secret"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows a secret", what)
		}
	}
	if text := err.Error(); strings.ContainsAny(text, "\n\r\x1b\x00") || len(text) > 2000 {
		t.Errorf("%s: the error is no short line: %q", what, text)
	}
}

// must fails the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names lists what an item of a page is called.
func names[T any](items []T, name func(T) string) string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = name(item)
	}
	return fmt.Sprint(all)
}
