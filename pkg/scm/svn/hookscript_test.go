package svn_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
	"cyclone/pkg/scm/svn"
)

// documented is the post-commit script of the documentation, filled in.
func documented(t *testing.T, hook, repository, secret string) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, ok := strings.Cut(string(page), "```sh\n#!/bin/sh\n")
	script, _, end := strings.Cut(script, "```\n")
	if !ok || !end {
		t.Fatal("docs/hooks.md has no script any more")
	}
	lines := strings.Split("#!/bin/sh\n"+script, "\n")
	for i, line := range lines {
		for name, value := range map[string]string{"hook=": hook, "repository=": repository, "secret=": secret} {
			if strings.HasPrefix(line, name) {
				lines[i] = name + value
			}
		}
	}
	return strings.Join(lines, "\n")
}

// The script that people are told to use works, on a real repository, whatever
// is in the commit, and what it sends is taken as it is.
func TestDocumentedScript(t *testing.T) {
	t.Parallel()
	const key = "it is a $ecret, and 64 bytes of it: 0123456789012345678901234567"
	type call struct {
		header http.Header
		body   []byte
	}
	calls := make(chan call, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls <- call{r.Header, body}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	world, err := lab.StartSvn(t.Context(), "127.0.0.1", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(world.Stop)
	if err := world.Create(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	script := documented(t, server.URL, world.URL("orders"), secret)
	if err := os.WriteFile(filepath.Join(dir, "orders", "hooks", "post-commit"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	const message = "Count & sort: \"1 + 1 = 2\"; it's 100%\n\n$(touch /tmp/x) `id` Größe 🚀"
	if _, err := world.Commit(t.Context(), "orders", message, map[string][]byte{
		"trunk/caicloud.yml": []byte("x"), "trunk/a & b=c+d%20/ä.txt": []byte("x"),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := world.Commit(t.Context(), "orders", "Again", map[string][]byte{"trunk/caicloud.yml": []byte("y")}); err != nil {
		t.Fatal(err)
	}
	want := []cyclone.Hook{
		{Commit: cyclone.Commit{SHA: "r1", Message: message}},
		{Commit: cyclone.Commit{SHA: "r2", Message: "Again"}, Before: "r1", Changed: []string{"caicloud.yml"}},
	}
	for _, w := range want {
		var c call
		select {
		case c = <-calls: // the commit waited for it
		default:
			t.Fatalf("the script told nobody of %s", w.Commit.SHA)
		}
		if err := (svn.Forge{}).Verify(c.header, c.body, []byte(key)); err != nil {
			t.Error(err)
		}
		if id := (svn.Forge{}).DeliveryID(c.header, c.body); !strings.HasSuffix(string(id), "-"+w.Commit.SHA[1:]) || len(id) < 36 {
			t.Errorf("the id of %s is %q", w.Commit.SHA, id)
		}
		got, err := svn.Forge{}.Parse(c.header, c.body)
		if err != nil {
			t.Fatal(err)
		}
		w.Kind, w.Action, w.Actor, w.Ref, w.Branch = cyclone.KindPush, cyclone.ActionStart, "alice", "refs/heads/trunk", "trunk"
		w.Commit.Author, w.Repositories = "alice", []string{world.URL("orders")}
		if diff := cmp.Diff(&w, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", w.Commit.SHA, diff)
		}
	}
}
