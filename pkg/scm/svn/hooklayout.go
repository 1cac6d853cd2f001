package svn

import (
	"regexp"
	"slices"
	"strings"

	"cyclone/pkg/payload"
)

// maxLines is how many lines of development of one commit are looked at.
const maxLines = 1000

// line is a line of development that a commit touched: trunk, a branch or a
// tag, in the folder above of the repository ("" for its root).
type line struct {
	above, ref     string
	added, removed bool // all of it
	whole          bool // it is all there is: no trunk, branches or tags
}

// name names a line for people: "branch 1.x".
func (l *line) name() string {
	if tag, ok := strings.CutPrefix(l.ref, tagsRef); ok {
		return "tag " + tag
	}
	return "branch " + strings.TrimPrefix(l.ref, headsRef)
}

// usable reports whether the line's name may be that of a branch or tag here;
// Subversion's folders may be called anything.
func (l *line) usable() bool {
	_, err := payload.Name("", strings.TrimPrefix(strings.TrimPrefix(l.ref, headsRef), tagsRef))
	return err == nil
}

// rank orders lines: trunk, branches, tags.
func (l *line) rank() int {
	switch {
	case l.ref == headsRef+trunk:
		return 0
	case strings.HasPrefix(l.ref, headsRef):
		return 1
	}
	return 2
}

// change is one line of `svnlook changed`.
type change struct {
	path           string // without a final slash
	folder         bool
	added, removed bool
}

// status is what `svnlook changed` writes before a path: A, D, U or _ for the
// text, U for properties, + for a copy.
var status = regexp.MustCompile(`^[ADU_][U ][+ ] `)

// parseChange reads a line of `svnlook changed`, or just a path; ok is false
// when it is neither, as is a line that says where a copy comes from.
func parseChange(text string) (c change, ok bool) {
	text = strings.TrimSuffix(text, "\r")
	if s := status.FindString(text); s != "" {
		c.added, c.removed, text = s[0] == 'A', s[0] == 'D', text[len(s):]
	} else if strings.HasPrefix(text, "    (from ") {
		return c, false
	} else {
		// Of a folder nothing is known then.
		text = strings.TrimPrefix(text, "/")
		c.added = strings.HasSuffix(text, "/")
	}
	c.path, c.folder = strings.CutSuffix(text, "/")
	return c, validPath(c.path)
}

// locate finds the line that a path is in, and the path below it.
func locate(path string) (l line, rest string, ok bool) {
	above := 0 // where the part begins that is looked at
	for part := range strings.SplitSeq(path, "/") {
		inside := strings.TrimPrefix(path[above+len(part):], "/")
		folder := strings.TrimSuffix(path[:above], "/")
		above += len(part) + 1
		name, below, _ := strings.Cut(inside, "/")
		switch part {
		case trunk:
			return line{above: folder, ref: headsRef + trunk}, inside, true
		case branches:
			// A branch called trunk is not the trunk.
			return line{above: folder, ref: headsRef + name}, below, name != "" && name != trunk
		case tags:
			return line{above: folder, ref: tagsRef + name}, below, name != ""
		}
	}
	return line{}, "", false
}

// layout is where in a repository the URL of a payload leads.
type layout struct {
	url  string
	path []string // of the URL; nil when there is none
	line string   // the one line that the URL names, or ""
}

func layoutOf(url string) layout {
	from, bad := parseURL(url)
	if bad != "" {
		return layout{url: url}
	}
	at := layout{url: url, path: from.path, line: from.line()}
	switch {
	case at.line == headsRef+trunk:
		at.path = at.path[:len(at.path)-1]
	case at.line != "":
		at.path = at.path[:len(at.path)-2]
	}
	return at
}

// owns reports whether a folder of the repository, named from its root, can be
// the one that the URL leads to.
func (at layout) owns(folder string) bool {
	if folder == "" {
		return true
	}
	parts := strings.Split(folder, "/")
	return len(parts) <= len(at.path) && slices.Equal(parts, at.path[len(at.path)-len(parts):])
}

// touched are the lines of development that a commit touched, in the order in
// which they come. A commit to a repository without trunk, branches and tags
// touched its only line.
func (at layout) touched(changed []string) []*line {
	var lines []*line
	known, outside := map[string]*line{}, false
	for _, text := range changed {
		c, ok := parseChange(text)
		if !ok {
			continue
		}
		found, rest, ok := locate(c.path)
		if !ok || at.line != "" && (found.ref != at.line || !at.owns(found.above)) {
			outside = outside || !ok && at.line == "" && !c.layout()
			continue
		}
		key := found.above + "\x00" + found.ref
		l := known[key]
		if l == nil {
			if len(lines) == maxLines {
				continue
			}
			l = &found
			known[key], lines = l, append(lines, l)
		}
		if rest == "" && c.folder {
			l.added, l.removed = l.added || c.added, c.removed
		} else {
			l.removed = false
		}
	}
	if len(lines) == 0 && outside {
		return []*line{{ref: headsRef + trunk, whole: true}}
	}
	return at.own(lines)
}

// own are the lines of the folder that the URL leads to or, when there are
// none, all: the URL may be that of the root, and the project a folder in it.
func (at layout) own(lines []*line) []*line {
	var own []*line
	for _, l := range lines {
		if at.owns(l.above) {
			own = append(own, l)
		}
	}
	if len(own) > 0 {
		return own
	}
	return lines
}

// layout reports whether the change is of a folder that only holds lines.
func (c change) layout() bool {
	last := c.path[strings.LastIndex(c.path, "/")+1:]
	return c.folder && (last == branches || last == tags)
}

// repositories are the URLs of the projects that the chosen line is in.
func (at layout) repositories(chosen *line, touched []*line) []string {
	if at.url == "" {
		return nil
	}
	if chosen == nil || at.line != "" {
		return payload.URLs(at.url)
	}
	var urls []string
	for _, l := range touched {
		url := at.url
		if !at.owns(l.above) {
			url = strings.TrimRight(url, "/") + below(l.above)
		}
		if l.ref == chosen.ref && !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	return payload.URLs(urls...)
}

// below are the paths that were changed in a line, as they are in a check-out
// of it; nil when that is not all: of a folder that was copied or removed
// `svnlook changed` does not tell what is in it, and of the same branch of
// several projects of a repository it is not known which is meant.
func (at layout) below(chosen *line, changed []string) []string {
	var paths []string
	folders, parents := []string{}, map[string]bool{}
	for _, text := range changed {
		c, ok := parseChange(text)
		if !ok {
			continue
		}
		path, same := at.inside(chosen, c.path)
		switch {
		case !same:
			return nil
		case path == "":
			continue
		case c.folder && c.removed:
			return nil
		case c.folder && c.added:
			folders = append(folders, path)
		default:
			paths = append(paths, path)
		}
		if i := strings.LastIndex(path, "/"); i >= 0 {
			parents[path[:i]] = true
		}
	}
	for _, f := range folders {
		if !parents[f] {
			return nil
		}
	}
	return paths
}

// inside is a path as it is in the chosen line, or "" when it is not in it;
// same is false when it is in the same line of a project that may be meant too.
func (at layout) inside(chosen *line, path string) (rest string, same bool) {
	if chosen.whole {
		return at.relative(path), true
	}
	found, rest, ok := locate(path)
	if !ok || found.ref != chosen.ref {
		return "", true
	}
	if at.owns(chosen.above) && !at.owns(found.above) {
		return "", true
	}
	return rest, found.above == chosen.above
}

// relative is a path below the folder that the URL leads to, if it is in it.
func (at layout) relative(path string) string {
	parts := strings.Split(path, "/")
	for n := min(len(parts)-1, len(at.path)); n > 0; n-- {
		if folder := strings.Join(parts[:n], "/"); at.owns(folder) {
			return strings.TrimPrefix(path, folder+"/")
		}
	}
	return path
}
