//go:build e2e

package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
)

// A forge is a strict fake of its REST API with a real git server behind it at
// the same address, as a forge has both.
type forge struct {
	*fakeforge.Forge
	scm      string
	gitUser  string // whom git logs in as with a token
	statuses string // a part of the path by which statuses are set
	// push delivers a push to the hooks that were made.
	push func(t testing.TB, repository, branch, before, after, message string, files ...string) []fakeforge.Delivered
	// pull tells of a pull request, comment of a comment on one.
	pull    func(t testing.TB, repository string, number int, action string) []fakeforge.Delivered
	comment func(t testing.TB, repository string, number int, author, text string) []fakeforge.Delivered
}

func startGitHub(t *testing.T, o fakeforge.Options) *forge {
	f, err := fakeforge.StartGitHub(o)
	if err != nil {
		t.Fatal(err)
	}
	return &forge{Forge: f.Forge, scm: "github", gitUser: "x-access-token", statuses: "/statuses/", push: f.Push, pull: f.PullRequestEvent, comment: f.Comment}
}

func startGitLab(t *testing.T, o fakeforge.Options) *forge {
	f, err := fakeforge.StartGitLab(o)
	if err != nil {
		t.Fatal(err)
	}
	return &forge{Forge: f.Forge, scm: "gitlab", gitUser: "x-access-token", statuses: "/statuses/", push: f.Push, pull: f.PullRequestEvent, comment: f.Comment}
}

func startGitea(t *testing.T, o fakeforge.Options) *forge {
	f, err := fakeforge.StartGitea(o)
	if err != nil {
		t.Fatal(err)
	}
	return &forge{Forge: f.Forge, scm: "gitea", gitUser: "x-access-token", statuses: "/statuses/", push: f.Push, pull: f.PullRequestEvent, comment: f.Comment}
}

// forges are what a project is connected to in these tests.
var forges = map[string]func(*testing.T, fakeforge.Options) *forge{"github": startGitHub, "gitlab": startGitLab, "gitea": startGitea}

const robotToken = "a-token-of-the-robot"

// connect makes a private repository at a forge and a project that is
// connected to it by a token.
func connect(t *testing.T, start func(*testing.T, fakeforge.Options) *forge, with map[string]any) (*forge, *project) {
	t.Helper()
	f := start(t, fakeforge.Options{Bind: system.Bridge + ":0", Git: system.Git.Handler()})
	f.CloseWith(t)
	p := newUnconnected(t)
	p.source = "acme/" + p.name
	f.AddUser("robot", robotToken)
	f.AddRepository(fakeforge.Repository{Name: p.source, Private: true, Roles: map[string]fakeforge.Role{"robot": fakeforge.Admin, "alice": fakeforge.Write}})
	p.commitTo(f, "Begin", "pre_build:\n  image: busybox:1\n  commands: [cat caicloud.yml]\n")
	system.Git.Close(p.source, f.gitUser, robotToken)
	p.url = f.RepositoryURL(p.source)
	body := map[string]any{"repository": map[string]any{"type": f.scm, "url": p.url, "token": robotToken}}
	for field, value := range with {
		body[field] = value
	}
	p.register(body)
	return f, p
}

// commitTo commits a caicloud.yml, which the forge knows then.
func (p *project) commitTo(f *forge, message, config string) (before string) {
	p.t.Helper()
	before = p.sha
	var err error
	if p.sha, err = system.Git.Commit(p.ctx, p.source, "main", message, map[string][]byte{"caicloud.yml": []byte(config)}); err != nil {
		p.t.Fatal(err)
	}
	f.Change(p.source, func(r *fakeforge.Repository) { r.Branches = []fakeforge.Ref{{Name: "main", SHA: p.sha}} })
	return before
}

// await waits until a condition holds that the server brings about.
func (p *project) await(what string, holds func() bool) {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-p.ctx.Done():
			p.t.Fatalf("%s did not happen", what)
		case <-tick.C:
		}
	}
}

// eventOf is the event that a delivery of the forge made.
func (p *project) eventOf(deliveries []fakeforge.Delivered) string {
	p.t.Helper()
	if len(deliveries) != 1 || deliveries[0].Status != http.StatusAccepted {
		p.t.Fatalf("deliveries: %+v", deliveries)
	}
	var d struct{ Events []string }
	p.await("the delivery's handling", func() bool {
		p.call("GET", "/api/v1/projects/"+p.name+"/deliveries/"+deliveries[0].ID, nil, &d)
		return len(d.Events) == 1
	})
	return d.Events[0]
}

// statesOf are the states of the commit at the forge, in the order in which
// they were set.
func (p *project) statesOf(f *forge, sha string) []string {
	var states []string
	for _, s := range f.Repository(p.source).Statuses {
		if s.SHA == sha && s.Context == "cyclone/"+p.name {
			states = append(states, s.State)
		}
	}
	return states
}

// told are the bodies of the calls that set statuses of a commit. GitLab changes
// a status in place, so what it has at the end does not tell what it had.
func told(f *forge, sha string) []string {
	var bodies []string
	for _, c := range f.Calls() {
		if c.Method == http.MethodPost && strings.Contains(c.Path, f.statuses+sha) {
			bodies = append(bodies, c.Body)
		}
	}
	return bodies
}

// A repository is connected by a token alone: the hook is made with its secret,
// a push starts an event, the source is cloned with the token, and the result
// stands next to the commit though the forge limits calls.
func TestConnectedRepository(t *testing.T) {
	t.Parallel()
	for name, start := range forges {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, p := connect(t, start, nil)
			var c cyclone.Connection
			p.call("GET", "/api/v1/projects/"+p.name+"/connection", nil, &c)
			// The server of these tests listens on loopback, which no forge elsewhere could reach.
			if len(c.Problems) != 1 || !strings.Contains(c.Problems[0], "CYCLONE_EXTERNAL_URL") || c.Account != "robot" || len(f.Repository(p.source).Hooks) != 1 {
				t.Fatalf("connection %+v, hooks %+v", c, f.Repository(p.source).Hooks)
			}
			first := p.pushed(f, "Change it")
			if told := told(f, first.Commit.SHA); len(told) < 2 || strings.Contains(told[0], "success") {
				t.Errorf("the forge was told: %q", told)
			}
			if name == "github" { // what follows from it is the same for all
				f.Inject(limit("POST", f.statuses, "1"))
				p.pushed(f, "Change it again")
			}
			p.call("DELETE", "/api/v1/projects/"+p.name, nil, nil)
			if hooks := f.Repository(p.source).Hooks; len(hooks) != 0 {
				t.Errorf("the project is gone, its hooks are not: %+v", hooks)
			}
		})
	}
}

// pushed commits, pushes, and returns the event when its result stands next to
// the commit.
func (p *project) pushed(f *forge, message string) *outcome {
	p.t.Helper()
	before := p.commitTo(f, message, "pre_build:\n  image: busybox:1\n  commands: [echo '"+message+"']\n")
	id := p.eventOf(f.push(p.t, p.source, "main", before, p.sha, message, "caicloud.yml"))
	o := p.finish(id, nil)
	if o.Status != cyclone.StatusSuccess || !strings.Contains(o.text(), message) || o.Commit.SHA != p.sha {
		p.t.Fatalf("%s: %s\n%s", o.Status, o.Reason, o.text())
	}
	p.await("the result next to the commit", func() bool {
		states := p.statesOf(f, p.sha)
		return len(states) > 0 && states[len(states)-1] == "success"
	})
	last := f.Repository(p.source).Statuses
	if url := last[len(last)-1].URL; !strings.HasSuffix(url, id) {
		p.t.Errorf("the status leads to %s", url)
	}
	return o
}

// limit answers once that there were too many calls.
func limit(method, path, after string) fakeforge.Fault {
	fault := fakeforge.Answer(http.StatusTooManyRequests, "slow down", "Retry-After", after)
	fault.Method, fault.Path, fault.Times = method, path, 1
	return fault
}

// A pull request runs, keeps one comment with the table of its stages, and runs
// again when somebody who may write asks for it, and for nobody else.
func TestPullRequestAtForge(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]struct{ ref, opened string }{
		"github": {"refs/pull/7/head", "opened"}, "gitlab": {"refs/merge-requests/7/head", "open"}, "gitea": {"refs/pull/7/head", "opened"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, p := connect(t, forges[name], map[string]any{
				"triggers":      map[string]any{"pullRequest": map[string]any{"enabled": true}},
				"notifications": map[string]any{"comment": map[string]any{"enabled": true}},
			})
			p.mailless = true
			sha := p.pullRequest(f, at.ref, at.opened)
			if name == "github" { // comments of the others are read and asked about the same way
				p.askedFor(f, sha)
			}
		})
	}
}

// pullRequest opens a pull request and returns its head when its result stands
// in the comment.
func (p *project) pullRequest(f *forge, ref, opened string) (sha string) {
	p.t.Helper()
	sha, err := system.Git.Commit(p.ctx, p.source, "fix", "Fix it", map[string][]byte{"caicloud.yml": []byte("pre_build:\n  image: busybox:1\n  commands: [echo fixed]\n")})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := system.Git.SetRef(p.ctx, p.source, ref, sha); err != nil {
		p.t.Fatal(err)
	}
	f.Change(p.source, func(r *fakeforge.Repository) {
		r.PullRequests = []fakeforge.PullRequest{{Number: 7, Title: "Fix <b>it</b> @everybody", Source: "fix", Target: "main", SHA: sha, Author: "alice"}}
	})
	o := p.finish(p.eventOf(f.pull(p.t, p.source, 7, opened)), nil)
	if o.Status != cyclone.StatusSuccess || o.PullRequest == nil || o.Commit.SHA != sha {
		p.t.Fatalf("%s: %s %+v\n%s", o.Status, o.Reason, o.PullRequest, o.text())
	}
	p.await("the comment with the result", func() bool {
		all := p.ownComments(f)
		return len(all) == 1 && strings.Contains(all[0].Text, "pre_build") && strings.Contains(all[0].Text, "success")
	})
	return sha
}

// askedFor has people ask for another run of a pull request in comments.
func (p *project) askedFor(f *forge, sha string) {
	p.t.Helper()
	p.ignored(f.comment(p.t, p.source, 7, "mallory", "/test"))
	again := p.finish(p.eventOf(f.comment(p.t, p.source, 7, "alice", "/test")), nil)
	if again.Status != cyclone.StatusSuccess || again.Trigger.Kind != cyclone.KindComment || again.Commit.SHA != sha || again.Trigger.Actor != "alice" {
		p.t.Errorf("the asked for event: %s %s %+v", again.Status, again.Reason, again.Trigger)
	}
	p.await("the new result in the same comment", func() bool {
		all := p.ownComments(f)
		return len(all) == 1 && strings.Contains(all[0].Text, string(again.ID))
	})
}

// ownComments are those of the project's token.
func (p *project) ownComments(f *forge) []fakeforge.Comment {
	return slices.DeleteFunc(f.Repository(p.source).Comments, func(c fakeforge.Comment) bool { return c.Author != "robot" })
}

// ignored waits until the delivery was handled without an event.
func (p *project) ignored(deliveries []fakeforge.Delivered) {
	p.t.Helper()
	var d cyclone.Delivery
	p.await("the delivery's handling", func() bool {
		p.call("GET", "/api/v1/projects/"+p.name+"/deliveries/"+deliveries[0].ID, nil, &d)
		return d.HandledAt != nil
	})
	if len(d.Events) != 0 || !strings.Contains(d.Ignored, "write") {
		p.t.Errorf("the delivery made %v, ignored: %q", d.Events, d.Ignored)
	}
}
