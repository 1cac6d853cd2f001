package svn

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/patience"
)

// DefaultStall is how long svn may make no progress at all.
const DefaultStall = 60 * time.Second

// Cloner is a cyclone.Cloner over the svn command, and a cyclone.HeadReader.
// The zero value works.
//
// Passwords reach svn by its standard input, a private key stays in this
// process, and nothing of them is kept.
type Cloner struct {
	// Command is the svn program; "svn" by default.
	Command string
	// Pauses are the times to wait before each new try after the network
	// failed; 1 s and 3 s when nil, so that there are three tries.
	Pauses []time.Duration
	// Stall is how long svn may make no progress at all before the host counts
	// as unreachable; DefaultStall when zero.
	Stall time.Duration
}

var (
	_ cyclone.Cloner     = (*Cloner)(nil)
	_ cyclone.HeadReader = (*Cloner)(nil)
)

// Clone checks the revision s.SHA ("r42") of the line of development s.Ref out
// in s.Dir, or the last one that changed it. refs/heads/trunk is the folder
// trunk below the URL, or the URL's own folder where there is no trunk;
// refs/heads/x is branches/x, refs/tags/x is tags/x. A URL that names one of
// these is taken itself. Externals are not fetched.
//
// Errors: ErrInvalid for a URL, ref or revision that may not be used,
// ErrNotFound for a repository, folder or revision that is not there (for as
// long as s.Patience says), ErrForbidden for credentials that are missing or
// wrong and for a host with another key than s.HostKeys, ErrUnavailable for a
// host that does not answer after three tries and where svn is not installed,
// and context.Cause(ctx) when ctx ended.
func (c *Cloner) Clone(ctx context.Context, s cyclone.CloneSpec, out cyclone.Output) (cyclone.Commit, error) {
	if s.Dir == "" {
		return cyclone.Commit{}, cyclone.Invalid("dir", "no directory to check out into was given")
	}
	r, err := c.start(s, out)
	if err != nil {
		return cyclone.Commit{}, err
	}
	defer r.end()
	commit, err := r.clone(ctx)
	if err != nil && ctx.Err() != nil {
		return cyclone.Commit{}, fmt.Errorf("check %s out: %w", r.from.shown, context.Cause(ctx))
	}
	return commit, err
}

func (r *run) clone(ctx context.Context) (cyclone.Commit, error) {
	r.say("Checking out %s at %s", r.from.shown, r.what())
	if err := r.staysHere(ctx); err != nil {
		return cyclone.Commit{}, err
	}
	t, err := patience.Look(ctx, r.spec.Patience, r.say, func(ctx context.Context, _ bool) (target, error) { return r.find(ctx) })
	if err != nil {
		return cyclone.Commit{}, err
	}
	r.learn()
	if err := r.checkOut(ctx, t); err != nil {
		return cyclone.Commit{}, err
	}
	if err := r.sayExternals(ctx); err != nil {
		return cyclone.Commit{}, err
	}
	commit, err := r.describe(ctx, t)
	if err == nil {
		first, _, _ := strings.Cut(commit.Message, "\n")
		r.say("Checked out %s of %s %s", commit.SHA, r.from.show(t.path), first)
	}
	return commit, err
}

// what names the thing to check out for people.
func (r *run) what() string {
	ref := r.spec.Ref
	if ref == "" {
		ref = trunk
	}
	if r.spec.SHA == "" {
		return "the last revision of " + ref
	}
	return "revision " + r.spec.SHA + " of " + ref
}

// target is a folder that was found.
type target struct {
	path     string // below the URL
	peg      string // the number of a revision in which it is there
	revision string // the number of the revision to check out
}

// find looks for the folder of the ref. It returns a patience.Late when the
// revision is not there, or there is no such folder in the youngest one.
func (r *run) find(ctx context.Context) (target, error) {
	peg, revision := youngest, strings.TrimPrefix(r.spec.SHA, "r")
	if revision != "" {
		peg = revision
	}
	places := r.from.places(r.spec.Ref)
	for _, path := range places {
		entry, f := r.info(ctx, path, peg)
		switch {
		case f == nil && entry.Kind != "dir":
			return target{}, cyclone.NotFound("%s is a file; repository.url must be a folder", r.from.show(path))
		case f == nil:
			found := target{path: path, peg: entry.Revision, revision: revision}
			if revision == "" {
				found.revision = entry.Commit.Revision
			}
			return found, nil
		case f.kind == noRevision:
			return target{}, &patience.Late{
				What: "revision " + r.spec.SHA + " is not in " + r.from.shown,
				Why:  "the server may be a mirror that is behind, or the repository another one",
			}
		case f.kind != absent:
			return target{}, f.explain(fmt.Sprintf("check %s out at %s", r.from.shown, r.what()))
		}
	}
	return target{}, r.notThere(places)
}

// notThere is the error for a ref that has no folder. A revision that is there
// is complete: nothing will come into it later.
func (r *run) notThere(places []string) error {
	if len(places) == 0 {
		return cyclone.NotFound("%s is one line of development, %s; %s is not in it", r.from.shown, r.from.line(), r.spec.Ref)
	}
	where := r.from.show(places[0])
	if r.spec.SHA != "" {
		return cyclone.NotFound("%s is not in revision %s of the repository", where, r.spec.SHA)
	}
	return &patience.Late{What: where + " is not in the repository", Why: "it may have been removed, or its name is wrong"}
}

// entry is what `svn info` and `svn list` say of a path.
type entry struct {
	Kind     string `xml:"kind,attr"`
	Revision string `xml:"revision,attr"` // in which it was looked at
	URL      string `xml:"url"`
	Name     string `xml:"name"`
	Commit   struct {
		Revision string `xml:"revision,attr"` // that changed it last
	} `xml:"commit"`
}

// info describes a path below the URL in a revision.
func (r *run) info(ctx context.Context, path, peg string) (entry, *failure) {
	text, f := r.ask(ctx, "info", "--xml", r.from.at(path, peg))
	if f != nil {
		return entry{}, f
	}
	var answer struct {
		Entries []entry `xml:"entry"`
	}
	err := xml.Unmarshal(text, &answer)
	if err == nil && (len(answer.Entries) != 1 || !isNumber(answer.Entries[0].Revision) || !isNumber(answer.Entries[0].Commit.Revision)) {
		err = fmt.Errorf("it describes %d things", len(answer.Entries))
	}
	if err != nil {
		return entry{}, &failure{from: r.from, err: err, text: "cannot read what svn says of the folder"}
	}
	return answer.Entries[0], nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// checkOut fills the directory. The folder is looked up in the peg revision and
// followed from there: it may have had another name in the one that is wanted.
func (r *run) checkOut(ctx context.Context, t target) error {
	again := false
	f := r.persist(ctx, func() *failure {
		if again { // whoever was killed has left locks; without any it does nothing
			if f := r.attempt(ctx, io.Discard, "cleanup", "."); f != nil && f.kind != unknown {
				return f
			}
		}
		again = true
		return r.attempt(ctx, io.Discard, "checkout", "--ignore-externals", "-r", t.revision, r.from.at(t.path, t.peg), ".")
	})
	if f == nil {
		return nil
	}
	return f.explain(fmt.Sprintf("check %s out at %s", r.from.show(t.path), r.what()))
}

// sayExternals tells which externals the tree has: they stay away, since they
// may come from anywhere, at any revision.
func (r *run) sayExternals(ctx context.Context) error {
	text, f := r.ask(ctx, "propget", "--xml", "--recursive", "svn:externals", ".")
	if f != nil {
		return f.explain("look for externals")
	}
	var answer struct {
		Targets []struct {
			Path string `xml:"path,attr"`
		} `xml:"target"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("look for externals: %w", err)
	}
	if n := len(answer.Targets); n > 0 {
		first := answer.Targets[0].Path
		if rel, err := filepath.Rel(r.spec.Dir, first); err == nil {
			first = rel
		}
		r.say("Externals (svn:externals) are not fetched: %d folders have some, the first is %q", n, first)
	}
	return nil
}

// describe reads the commit of the revision that was checked out, or of the
// last one before it that changed the folder.
func (r *run) describe(ctx context.Context, t target) (cyclone.Commit, error) {
	text, f := r.ask(ctx, "log", "--xml", "--limit=1", "-r", t.revision+":1", r.from.at(t.path, t.peg))
	if f != nil {
		return cyclone.Commit{}, f.explain("read the message of r" + t.revision)
	}
	var answer struct {
		Entries []struct {
			Author  string `xml:"author"`
			Message string `xml:"msg"`
		} `xml:"logentry"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil {
		return cyclone.Commit{}, fmt.Errorf("read the message of r%s: %w", t.revision, err)
	}
	commit := cyclone.Commit{SHA: "r" + t.revision}
	if len(answer.Entries) > 0 { // who may not read the log sees none
		commit.Author, commit.Message = strings.TrimSpace(answer.Entries[0].Author), strings.TrimSpace(answer.Entries[0].Message)
	}
	return commit, nil
}
