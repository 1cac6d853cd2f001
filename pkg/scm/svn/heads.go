package svn

import (
	"context"
	"encoding/xml"
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
)

// Heads reads the branches and tags of a repository with the revisions that
// changed them last ("r42"). A repository without the folder trunk has one
// branch, trunk, and so has a URL that names one line of development: that is
// its only ref. The errors are those of Clone, and ErrUnavailable for an answer
// that is larger than 64 MiB. It implements cyclone.HeadReader.
func (c *Cloner) Heads(ctx context.Context, s cyclone.CloneSpec) (*cyclone.Heads, error) {
	s.Dir, s.Ref, s.SHA, s.Merge = "", "", "", false
	r, err := c.start(s, quiet{})
	if err != nil {
		return nil, err
	}
	defer r.end()
	heads, err := r.heads(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("read the heads of %s: %w", r.from.shown, context.Cause(ctx))
	}
	return heads, err
}

func (r *run) heads(ctx context.Context) (*cyclone.Heads, error) {
	doing := "read the heads of " + r.from.shown
	if err := r.staysHere(ctx); err != nil {
		return nil, err
	}
	root, f := r.info(ctx, "", youngest)
	if f != nil {
		return nil, f.explain(doing)
	}
	r.learn()
	single := &cyclone.Heads{Default: trunk, Refs: map[string]string{headsRef + trunk: "r" + root.Commit.Revision}}
	if line := r.from.line(); line != "" {
		branch, _ := strings.CutPrefix(line, headsRef)
		if strings.HasPrefix(line, tagsRef) {
			branch = ""
		}
		return &cyclone.Heads{Default: branch, Refs: map[string]string{line: "r" + root.Commit.Revision}}, nil
	}
	// All in the same revision: what is committed meanwhile comes next time.
	lists, f := r.list(ctx, root.Revision, "")
	if f != nil {
		return nil, f.explain(doing)
	}
	h := &cyclone.Heads{Default: trunk, Refs: map[string]string{}}
	var folders []string
	for _, e := range lists[0].Entries {
		switch {
		case e.Kind == "dir" && e.Name == trunk:
			h.Refs[headsRef+trunk] = "r" + e.Commit.Revision
		case e.Kind == "dir" && (e.Name == branches || e.Name == tags):
			folders = append(folders, e.Name)
		}
	}
	if h.Refs[headsRef+trunk] == "" {
		h = single
	}
	if len(folders) == 0 {
		return h, nil
	}
	if lists, f = r.list(ctx, root.Revision, folders...); f != nil {
		return nil, f.explain(doing)
	}
	for i, folder := range folders {
		lists[i].add(h, map[string]string{branches: headsRef, tags: tagsRef}[folder])
	}
	return h, nil
}

// add adds the folders as refs. A branch that is called trunk, as somebody may
// have by mistake, does not hide the trunk.
func (l listing) add(h *cyclone.Heads, prefix string) {
	for _, e := range l.Entries {
		if e.Kind == "dir" && validPath(e.Name) && prefix+e.Name != headsRef+trunk {
			h.Refs[prefix+e.Name] = "r" + e.Commit.Revision
		}
	}
}

// listing is what is in a folder.
type listing struct {
	Entries []entry `xml:"entry"`
}

// list lists folders below the URL in a revision.
func (r *run) list(ctx context.Context, peg string, folders ...string) ([]listing, *failure) {
	args := []string{"list", "--xml"}
	for _, folder := range folders {
		args = append(args, r.from.at(folder, peg))
	}
	text, f := r.ask(ctx, args...)
	if f != nil {
		return nil, f
	}
	var answer struct {
		Lists []listing `xml:"list"`
	}
	err := xml.Unmarshal(text, &answer)
	if err == nil && len(answer.Lists) != len(folders) {
		err = fmt.Errorf("it lists %d folders and not %d", len(answer.Lists), len(folders))
	}
	if err != nil {
		return nil, &failure{from: r.from, err: err, text: "cannot read what svn lists"}
	}
	return answer.Lists, nil
}
