package svn

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

// remote is a repository's URL, checked.
type remote struct {
	shown string   // for messages; there is nothing secret in it
	base  string   // scheme://host as svn gets it, without a path
	path  []string // of the folder, not escaped
	host  string
	port  string // of an ssh host; may be empty
	ssh   bool
}

var (
	revisionPattern = regexp.MustCompile(`^r[1-9][0-9]{0,18}$`)
	userPattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+@-]*$`)
)

const (
	write      = "write svn://host/path, svn+ssh://user@host/path, https://host/path or http://..."
	trunk      = "trunk"
	branches   = "branches"
	tags       = "tags"
	headsRef   = "refs/heads/"
	tagsRef    = "refs/tags/"
	youngest   = "HEAD"
	pathLimit  = 4096 // bytes of a path, as on disk
	schemeHTTP = "http"
)

// check refuses what must never reach svn's command line.
func check(s cyclone.CloneSpec) (remote, error) {
	from, bad := parseURL(s.URL)
	problems := &cyclone.InvalidError{}
	if bad != "" {
		problems.Add("repository.url", "%s", bad)
	}
	if s.Ref != "" && !validPath(s.Ref) {
		problems.Add("ref", "%q is not a branch or a tag: write trunk, the name of a branch, or refs/tags/name", s.Ref)
	}
	if s.SHA != "" && !revisionPattern.MatchString(s.SHA) {
		problems.Add("commit", "%q is not a revision of Subversion: write r42", s.SHA)
	}
	if s.Merge {
		problems.Add("ref", "Subversion has no pull requests that could be merged")
	}
	if strings.ContainsAny(s.Username+s.Password, "\x00") || !from.ssh && strings.ContainsAny(s.Username+s.Password, "\r\n") {
		problems.Add("repository.credential", "the user name or password has a line break in it")
	}
	return from, problems.OrNil()
}

// validPath reports whether a path can be one in a repository: every part has
// a name, and nothing in it could be taken for something else.
func validPath(path string) bool {
	if len(path) > pathLimit || !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl) {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// parseURL returns why a URL may not be used, or "".
func parseURL(s string) (remote, string) {
	if s == "" {
		return remote{}, "is missing; " + write
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Opaque != "" || u.Hostname() == "" {
		return remote{}, "is not the URL of a repository; " + write
	}
	from := remote{host: u.Hostname(), ssh: u.Scheme == "svn+ssh"}
	if !from.ssh && u.Scheme != "svn" && u.Scheme != schemeHTTP && u.Scheme != "https" {
		return remote{}, "svn may not use " + u.Scheme + ":// here; " + write
	}
	_, hasPassword := u.User.Password()
	if hasPassword || u.User != nil && !from.ssh {
		return remote{}, "has a credential in it; store it as a secret of the project and name that as the repository's credential"
	}
	if u.User != nil && !userPattern.MatchString(u.User.Username()) {
		return remote{}, "has a user name that ssh cannot use; " + write
	}
	if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return remote{}, "does not name a folder of a repository; " + write
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		if !validPath(path) {
			return remote{}, "has a path that no repository can have; " + write
		}
		from.path = strings.Split(path, "/")
	}
	from.base = (&url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host}).String()
	if from.ssh {
		// svn would take the port for a part of the host's name: ssh gets it.
		from.port = u.Port()
		from.base = strings.TrimSuffix(from.base, ":"+from.port)
	}
	from.shown = (&url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host}).String() + escaped(from.path)
	return from, ""
}

// escaped is a path as it stands in a URL.
func escaped(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// at is the URL of a path below the folder. The peg revision is always there:
// svn would take an @ in a name for the beginning of one.
func (r remote) at(path, peg string) string {
	return r.base + escaped(r.path) + below(path) + "@" + peg
}

// show is the URL of a path below the folder for people.
func (r remote) show(path string) string { return r.shown + below(path) }

func below(path string) string {
	if path == "" {
		return ""
	}
	return escaped(strings.Split(path, "/"))
}

// line is the ref of the one line of development that the URL itself names,
// and "" when it is a folder that may have several.
func (r remote) line() string {
	n := len(r.path)
	switch {
	case n >= 1 && r.path[n-1] == trunk:
		return headsRef + trunk
	case n >= 2 && r.path[n-2] == branches:
		return headsRef + r.path[n-1]
	case n >= 2 && r.path[n-2] == tags:
		return tagsRef + r.path[n-1]
	}
	return ""
}

// places are the paths below the folder where a ref is looked for, in order.
// None: the ref is not in the line of development that the URL names.
func (r remote) places(ref string) []string {
	name, isTag := strings.CutPrefix(ref, tagsRef)
	if !isTag {
		name = strings.TrimPrefix(ref, headsRef)
	}
	main := !isTag && (name == "" || name == trunk)
	if line := r.line(); line != "" {
		if main || line == ref || line == headsRef+name && !isTag {
			return []string{""}
		}
		return nil
	}
	switch {
	case main:
		// A folder without a trunk is a line of development itself.
		return []string{trunk, ""}
	case isTag:
		return []string{tags + "/" + name}
	}
	return []string{branches + "/" + name}
}
