package git

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"cyclone/pkg/cyclone"
)

// remote is a repository's URL, checked.
type remote struct {
	shown string // for messages; there is nothing secret in it
	base  string // scheme://host[:port], where credentials may go; "" for ssh
	host  string
	port  string // as the URL has it; may be empty
	ssh   bool
	file  bool // on this machine's disk
}

var (
	hashPattern = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
	// scpPattern is ssh's short form: user@host:path.
	scpPattern = regexp.MustCompile(`^(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?([A-Za-z0-9_][A-Za-z0-9_.-]*):([^-:/][^:]*|/[^/:][^:]*)$`)
	// refPattern is stricter than git: nothing that a shell, an option parser
	// or a revision expression could read in its own way.
	refPattern = regexp.MustCompile(`^[\pL\pN_][\pL\pN_./+@#=,!%&()-]*$`)
)

// check refuses what must never reach git's command line.
func check(s cyclone.CloneSpec, files bool) (remote, error) {
	from, bad := parseURL(s.URL)
	if path, onDisk := strings.CutPrefix(s.URL, "file:///"); onDisk && files {
		from, bad = remote{shown: "/" + path, file: true}, ""
	}
	problems := &cyclone.InvalidError{}
	if bad != "" {
		problems.Add("repository.url", "%s", bad)
	}
	if s.Merge && (s.Ref == "" || s.SHA == "") {
		problems.Add("ref", "a merge needs its ref and the commit that was merged")
	}
	if s.Ref != "" && !validRef(s.Ref) {
		problems.Add("ref", "%q is not a branch, a tag or another ref of git", s.Ref)
	}
	if s.SHA != "" && !hashPattern.MatchString(s.SHA) {
		problems.Add("commit", "%q is not the hash of a commit (4 to 64 of 0-9a-f)", s.SHA)
	}
	if strings.ContainsAny(s.Username+s.Password, "\x00") || !from.ssh && strings.ContainsAny(s.Username+s.Password, "\r\n") {
		problems.Add("repository.credential", "the user name or password has a line break in it")
	}
	if s.Dir == "" {
		problems.Add("dir", "no directory to clone into was given")
	}
	return from, problems.OrNil()
}

func validRef(ref string) bool {
	return refPattern.MatchString(ref) && !strings.Contains(ref, "..") && !strings.Contains(ref, "@{") &&
		!strings.Contains(ref, "//") && !strings.Contains(ref, "/.") &&
		!strings.HasSuffix(ref, "/") && !strings.HasSuffix(ref, ".") && !strings.HasSuffix(ref, ".lock")
}

const write = "write https://host/path.git, http://..., ssh://user@host/path.git or user@host:path.git"

// parseURL returns why a URL may not be cloned, or "".
func parseURL(s string) (remote, string) {
	if s == "" {
		return remote{}, "is missing; " + write
	}
	if m := scpPattern.FindStringSubmatch(s); m != nil {
		return remote{shown: s, host: m[1], ssh: true}, ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || strings.HasPrefix(s, "-") {
		return remote{}, "is not the URL of a repository; " + write
	}
	if u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ssh" {
		return remote{}, "git may not use " + quoteScheme(u.Scheme) + " here; " + write
	}
	_, hasPassword := u.User.Password()
	if hasPassword || u.User != nil && u.Scheme != "ssh" {
		return remote{}, "has a credential in it; store it as a secret of the project and name that as the repository's credential"
	}
	if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || strings.Trim(u.Path, "/") == "" {
		return remote{}, "does not name a repository; " + write
	}
	if strings.HasPrefix(u.Host, "-") || strings.HasPrefix(u.User.Username(), "-") || strings.HasPrefix(strings.Trim(u.Path, "/"), "-") {
		return remote{}, "has a part that begins with a dash; " + write
	}
	from := remote{shown: u.String(), host: u.Hostname(), port: u.Port(), ssh: u.Scheme == "ssh"}
	if !from.ssh {
		from.base = u.Scheme + "://" + u.Host
	}
	return from, ""
}

func quoteScheme(s string) string {
	if s == "" {
		return "a URL without a scheme"
	}
	return s + "://"
}

// local reports whether the host is this machine, for messages only.
func (r remote) local() bool {
	ip := net.ParseIP(r.host)
	return r.host == "localhost" || ip != nil && ip.IsLoopback()
}
