package trigger

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
)

// Start creates a manual event. ErrInvalid lists every wrong field of the
// request. Without a commit the head of the ref is run; the worker reports
// which commit that was.
func (t *Trigger) Start(ctx context.Context, p *cyclone.Project, r cyclone.StartRequest) (*cyclone.Event, error) {
	if err := checkStart(p, r); err != nil {
		return nil, err
	}
	e, err := t.blank(p, cyclone.Trigger{Kind: cyclone.KindManual, Actor: r.Actor})
	if err != nil {
		return nil, err
	}
	source(e, p, r)
	e.Run.Key = "manual/" + string(e.ID)
	e.Run.Stages = inOrder(r.Stages)
	e.Run.Variables = r.Variables
	e.Run.VersionWanted = r.Version
	e.Version = r.Version
	if e.Version == "" {
		e.Version = e.DefaultVersion()
	}
	e.Image = t.image(p, e.Version)
	if err := t.create(ctx, p, e); err != nil {
		return nil, err
	}
	return e, nil
}

// home is the ref that runs when nobody names one.
func home(p *cyclone.Project) string {
	switch {
	case p.Repository.DefaultBranch != "":
		return "refs/heads/" + p.Repository.DefaultBranch
	case p.Repository.Type == "svn":
		return "refs/heads/trunk"
	}
	return "HEAD"
}

// source fills in where the commit of an event is to be found that no delivery
// tells of.
func source(e *cyclone.Event, p *cyclone.Project, r cyclone.StartRequest) {
	switch {
	case r.Commit != "":
		// The ref says where to look when the server gives no bare commits.
		e.Commit.SHA, e.Ref = r.Commit, home(p)
		return
	case r.Branch != "":
		e.Ref = "refs/heads/" + r.Branch
	case r.Tag != "":
		e.Ref = "refs/tags/" + r.Tag
	case r.Ref != "":
		e.Ref = r.Ref
	default:
		e.Ref = home(p)
	}
	if branch, ok := strings.CutPrefix(e.Ref, "refs/heads/"); ok {
		e.Branch = branch
	}
	if tag, ok := strings.CutPrefix(e.Ref, "refs/tags/"); ok {
		e.Tag = tag
	}
	e.PullRequest = requestOf(e.Ref)
}

var requestRef = regexp.MustCompile(`^refs/(?:pull|merge-requests|pull-requests)/([0-9]{1,9})/`)

// requestOf treats a ref that anybody may fill by opening a pull request as
// one of a fork: no secrets, no push, no deployment.
func requestOf(ref string) *cyclone.PullRequest {
	m := requestRef.FindStringSubmatch(ref)
	if m == nil {
		return nil
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return nil
	}
	return &cyclone.PullRequest{Number: n, Fork: true}
}

var (
	fullHash     = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	revision     = regexp.MustCompile(`^r[1-9][0-9]{0,15}$`)
	dockerTag    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// checkStart reports every wrong field at once.
func checkStart(p *cyclone.Project, r cyclone.StartRequest) error {
	bad := &cyclone.InvalidError{}
	sources := 0
	for _, s := range []struct{ field, value string }{{"ref", r.Ref}, {"branch", r.Branch}, {"tag", r.Tag}} {
		if s.value == "" {
			continue
		}
		sources++
		if !validRef(s.value) {
			bad.Add(s.field, "%q is not a name that git takes", s.value)
		}
	}
	if r.Ref != "" && !strings.HasPrefix(r.Ref, "refs/") {
		bad.Add("ref", "%q must be written in full, such as refs/heads/main", r.Ref)
	}
	if r.Commit != "" {
		sources++
		svn := p.Repository.Type == "svn"
		if svn && !revision.MatchString(r.Commit) {
			bad.Add("commit", "%q is not a revision such as r42", r.Commit)
		}
		if !svn && !fullHash.MatchString(r.Commit) {
			bad.Add("commit", "%q is not a full commit hash of 40 (or 64) lower-case hexadecimal digits", r.Commit)
		}
	}
	if sources > 1 {
		bad.Add("ref", "give only one of ref, branch, tag and commit")
	}
	if r.Version != "" && !dockerTag.MatchString(r.Version) {
		bad.Add("version", "%q cannot be an image's tag: use letters, digits, '_', '.' and '-', at most 128", r.Version)
	}
	for i, s := range r.Stages {
		if !slices.Contains(cyclone.Stages, s) {
			bad.Add(fmt.Sprintf("stages[%d]", i), "%q is not a stage; there are %s", s, stageNames())
		}
	}
	for name := range r.Variables {
		if !variableName.MatchString(name) {
			bad.Add("variables", "%q cannot be a variable's name", name)
		}
	}
	return bad.OrNil()
}

// validRef keeps what git refuses, or could take for an option, away from it.
func validRef(s string) bool {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }
	return len(s) <= 1024 && !strings.HasPrefix(s, "-") && !strings.Contains(s, "..") &&
		!strings.HasSuffix(s, "/") && !strings.HasPrefix(s, "/") && !strings.ContainsFunc(s, bad)
}

func stageNames() string {
	names := make([]string, len(cyclone.Stages))
	for i, s := range cyclone.Stages {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// inOrder sorts a list of stages into the order in which they run; nil stays nil.
func inOrder(wanted []cyclone.Stage) []cyclone.Stage {
	var sorted []cyclone.Stage
	for _, s := range cyclone.Stages {
		if slices.Contains(wanted, s) {
			sorted = append(sorted, s)
		}
	}
	return sorted
}
