//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// showsSource prints what came, and for which commit.
const showsSource = `
pre_build:
  image: busybox:1
  commands:
    - echo "commit $CYCLONE_COMMIT_SHA"
    - cat "a folder/Grüße @ 1.txt"
    - env
    - find . -type f -size -100k -exec cat {} +
`

func sourceFiles() map[string][]byte {
	return map[string][]byte{"caicloud.yml": []byte(showsSource), "a folder/Grüße @ 1.txt": []byte("content hello\n")}
}

// newSource registers a repository that is there already, with a credential.
func newSource(t *testing.T, name, kind, url, credential string) *project {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	p := &project{t: t, ctx: ctx, server: system.Server, name: name, url: url}
	p.register(map[string]any{"repository": map[string]any{"type": kind, "url": url}})
	p.call("PUT", "/api/v1/projects/"+name+"/secrets/clone", map[string]any{"value": credential, "masked": true}, nil)
	p.call("PATCH", "/api/v1/projects/"+name, map[string]any{"repository": map[string]any{"credential": "clone"}}, nil)
	return p
}

// start makes a manual event.
func (p *project) start(request map[string]any) string {
	p.t.Helper()
	var e cyclone.Event
	p.call("POST", "/api/v1/projects/"+p.name+"/events", request, &e)
	return string(e.ID)
}

// came checks an event whose source came, and that the credential stayed away
// from the steps and the log.
func (p *project) came(o *outcome, commit, version, credential string) {
	p.t.Helper()
	if o.Status != cyclone.StatusSuccess {
		p.t.Fatalf("%s: %s\n%s", o.Status, o.Reason, o.text())
	}
	if got := after(p.t, o, "commit "); got != commit || o.Commit.SHA != commit || o.Version != version {
		p.t.Errorf("the steps see commit %s, the event has %s, version %s; want %s, %s", got, o.Commit.SHA, o.Version, commit, version)
	}
	if got := after(p.t, o, "content "); got != "hello" {
		p.t.Errorf("the file holds %q", got)
	}
	for part := range strings.Lines(credential) {
		if part = strings.TrimSpace(part); len(part) > 8 && strings.Contains(o.text(), part) {
			p.t.Errorf("the log shows the credential:\n%s", o.text())
		}
	}
}

func TestGitOverHTTP(t *testing.T) {
	t.Parallel()
	name := fmt.Sprintf("p%d", projects.Add(1))
	sha, err := system.Git.Commit(t.Context(), name, "main", "Change", sourceFiles())
	if err != nil {
		t.Fatal(err)
	}
	const password = "the-password-of-the-robot"
	system.Git.Close(name, "robot", password)
	p := newSource(t, name, "git", system.Git.URL(name), "robot:"+password)
	p.came(p.finish(p.start(map[string]any{"branch": "main"}), nil), sha, "ci-"+sha[:7], password)
	o := p.finish(p.start(map[string]any{"commit": sha}), nil)
	p.came(o, sha, "ci-"+sha[:7], password)
}

// A deploy key over ssh: the host's key is pinned by the first event, and a
// host with another one is refused from then on.
func TestGitOverSSH(t *testing.T) {
	t.Parallel()
	key, err := lab.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	server, err := lab.StartSSH(t.Context(), system.Bridge, system.Git.Dir(), key.Public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	name := fmt.Sprintf("p%d", projects.Add(1))
	sha, err := system.Git.Commit(t.Context(), name, "main", "Change", sourceFiles())
	if err != nil {
		t.Fatal(err)
	}
	p := newSource(t, name, "git", server.URL(name), key.Private)
	p.came(p.finish(p.start(map[string]any{"branch": "main"}), nil), sha, "ci-"+sha[:7], key.Private)
	var stored cyclone.Project
	p.call("GET", "/api/v1/projects/"+name, nil, &stored)
	if !slices.Equal(stored.Repository.HostKeys, []string{server.Host.Public}) {
		t.Fatalf("the project trusts %q, the host shows %q", stored.Repository.HostKeys, server.Host.Public)
	}
	p.came(p.finish(p.start(map[string]any{"branch": "main"}), nil), sha, "ci-"+sha[:7], key.Private)
	known := server.Host.Fingerprint()
	if err := server.NewHostKey(p.ctx); err != nil {
		t.Fatal(err)
	}
	o := p.finish(p.start(map[string]any{"branch": "main"}), nil)
	expect(t, o, "failure", "clone", regexp.QuoteMeta(server.Host.Fingerprint())+`.*trusts only.*`+regexp.QuoteMeta(known)+`.*repository\.hostKeys`)
}

func TestSubversion(t *testing.T) {
	t.Parallel()
	server, err := lab.StartSvn(t.Context(), system.Bridge, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	name := fmt.Sprintf("p%d", projects.Add(1))
	if err := server.Create(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	commit := func(files map[string][]byte) string {
		t.Helper()
		below := map[string][]byte{}
		for path, content := range files {
			below["trunk/"+path] = content
		}
		number, err := server.Commit(t.Context(), name, "Change", below)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("r%d", number)
	}
	first := commit(sourceFiles())
	const password = "the-password-of-the-robot"
	if err := server.Close(name, "robot", password); err != nil {
		t.Fatal(err)
	}
	p := newSource(t, name, "svn", server.URL(name), "robot:"+password)
	p.came(p.finish(p.start(map[string]any{"commit": first}), nil), first, "ci-"+first, password)

	// The script of the repository tells of the next revision.
	files := sourceFiles()
	files["caicloud.yml"] = []byte(showsSource + "  when: {paths: ['new/**']}\n")
	files["new/file"] = []byte("1\n")
	second := commit(files)
	answer, err := p.server.DeliverSvn(p.ctx, name, p.secret, map[string]any{
		"repository": server.URL(name), "revision": 2, "author": "alice", "message": "Change", "changed": []string{"U   trunk/caicloud.yml", "A   trunk/new/", "A   trunk/new/file"},
	})
	if err != nil || len(answer.Events) != 1 {
		t.Fatalf("%+v, %v", answer, err)
	}
	o := p.finish(answer.Events[0], nil)
	p.came(o, second, "ci-"+second, password)
	if o.Branch != "trunk" || o.Commit.Author != "alice" || !strings.Contains(o.text(), "new/file has changed") {
		t.Errorf("branch %q, author %q\n%s", o.Branch, o.Commit.Author, o.text())
	}
}
