package svn

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"

	"cyclone/pkg/cyclone"
)

// quiet drops what svn prints.
type quiet struct{}

// Write implements cyclone.Output.
func (quiet) Write(cyclone.Stream, []byte) {}

// Changed returns the paths in which the line of development s.Ref differs
// between the revisions base and s.SHA ("r41" and "r42"): all of them when it
// was not there in base. Nothing is read from dir, and nothing in it changes.
// The errors are those of Clone.
func (c *Cloner) Changed(ctx context.Context, s cyclone.CloneSpec, _, base string) ([]string, error) {
	if base == "" {
		return nil, cyclone.NotFound("there was no revision before")
	}
	if !revisionPattern.MatchString(base) || !revisionPattern.MatchString(s.SHA) {
		return nil, cyclone.Invalid("base", "%q and %q are not two revisions of Subversion", base, s.SHA)
	}
	s.Dir = ""
	r, err := c.start(s, quiet{})
	if err != nil {
		return nil, err
	}
	defer r.end()
	paths, err := r.changed(ctx, base)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return paths, err
}

func (r *run) changed(ctx context.Context, base string) ([]string, error) {
	if err := r.staysHere(ctx); err != nil {
		return nil, err
	}
	t, err := r.find(ctx)
	if err != nil {
		return nil, err
	}
	doing := fmt.Sprintf("compare %s with %s", r.spec.SHA, base)
	text, f := r.ask(ctx, "diff", "--summarize", "--xml", "--old="+r.from.at(t.path, strings.TrimPrefix(base, "r")), "--new="+r.from.at(t.path, t.peg))
	if f != nil {
		return nil, f.explain(doing)
	}
	var answer struct {
		Paths []struct {
			URL  string `xml:",chardata"`
			Kind string `xml:"kind,attr"`
		} `xml:"paths>path"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	root := strings.TrimSuffix(r.from.at(t.path, ""), "@")
	var paths []string
	for _, p := range answer.Paths {
		path, ok := relative(root, strings.TrimSpace(p.URL))
		if !ok {
			return nil, fmt.Errorf("%s: svn names %q, which is not below %s", doing, p.URL, r.from.show(t.path))
		}
		if path != "" && p.Kind != "dir" { // the files of a folder are named too
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// relative is the path of a URL below a root. Both are compared without their
// escapes: svn escapes other characters than we do.
func relative(root, full string) (string, bool) {
	from, err := url.PathUnescape(root)
	if err != nil {
		return "", false
	}
	to, err := url.PathUnescape(full)
	if err != nil {
		return "", false
	}
	rest, ok := strings.CutPrefix(to, from)
	return strings.TrimPrefix(rest, "/"), ok && (rest == "" || rest[0] == '/')
}
