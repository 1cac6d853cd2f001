package httpapi

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"cyclone/pkg/cyclone"
)

// secretPattern is what names of secrets look like: they may become variables.
var secretPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,99}$`)

// checkRepository keeps away every URL by which git or svn could be made to
// read the worker's own files or to run a program.
func checkRepository(p *cyclone.Project, bad *cyclone.InvalidError) {
	r := p.Repository
	if r.Type == "" {
		bad.Add("repository.type", "is required: github, gitlab, gitea, git or svn")
	} else {
		checkOneOf("repository.type", r.Type, bad, "github", "gitlab", "gitea", "git", "svn")
	}
	if problem := urlProblem(r.URL, r.Type == "svn"); problem != "" {
		bad.Add("repository.url", "%s", problem)
	}
	if !validBranch(r.DefaultBranch) {
		bad.Add("repository.defaultBranch", "is not the name of a branch")
	}
	if r.Credential != "" && !secretPattern.MatchString(r.Credential) {
		bad.Add("repository.credential", "must be the name of one of the project's secrets, not a credential itself")
	}
}

var (
	gitSchemes = []string{"https", "http", "ssh", "git"}
	svnSchemes = []string{"https", "http", "svn", "svn+ssh"}
	// scpForm is git's short form of ssh: git@host:path.
	scpForm = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*:[^:]+$`)
	// helperForm is git's way to name a program that transports: ext::sh -c ...
	helperForm = regexp.MustCompile(`^[A-Za-z0-9_.+-]*::`)
)

// urlProblem says what is wrong with a repository's URL, never repeating it.
func urlProblem(text string, svn bool) string {
	schemes := gitSchemes
	if svn {
		schemes = svnSchemes
	}
	if problem := shapeProblem(text); problem != "" {
		return problem
	}
	if !strings.Contains(text, "://") {
		if _, path, _ := strings.Cut(text, ":"); strings.HasPrefix(path, "-") {
			return "must not name a path that begins with a dash"
		}
		if !svn && scpForm.MatchString(text) {
			return ""
		}
		return "must be an address like https://host/path, not a path"
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "is not a valid address"
	case !slices.Contains(schemes, u.Scheme):
		return "must begin with " + strings.Join(schemes, "://, ") + "://"
	case u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-"):
		return "must name a host"
	case !validPort(u.Port()):
		return "must have a port from 1 to 65535, or none"
	case hasControl(u.Path):
		return "must not hold control characters, also not written as %00"
	case hasCredential(u):
		return "must not hold a credential; store it as a secret of the project and name that in repository.credential"
	case u.RawQuery != "" || u.Fragment != "":
		return "must not have a query or fragment"
	case u.Path == "" || u.Path == "/":
		return "must name a repository, not only a host"
	}
	return ""
}

func shapeProblem(text string) string {
	switch {
	case text == "":
		return "is required"
	case len(text) > 1000:
		return "must be at most 1000 bytes long"
	case hasControl(text) || strings.ContainsFunc(text, unicode.IsSpace) || strings.Contains(text, `\`):
		return "must not hold blanks, control characters or backslashes"
	case strings.HasPrefix(text, "-"):
		return "must not begin with a dash"
	case helperForm.MatchString(text):
		return "must not name a transport helper (such as ext::)"
	}
	return ""
}

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n >= 1 && n <= 65535
}

// hasCredential reports a password, or with http any user: there the name
// alone is often a token.
func hasCredential(u *url.URL) bool {
	if u.User == nil {
		return false
	}
	_, password := u.User.Password()
	return password || strings.HasPrefix(u.Scheme, "http") || strings.HasPrefix(u.User.Username(), "-")
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// validBranch follows git's rules for names of references.
func validBranch(name string) bool {
	switch {
	case name == "" || len(name) > 255 || hasControl(name):
		return false
	case strings.ContainsAny(name, " ~^:?*[\\") || strings.Contains(name, "..") || strings.Contains(name, "@{"):
		return false
	case strings.HasPrefix(name, "-") || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/"):
		return false
	case strings.Contains(name, "//") || strings.HasSuffix(name, ".") || strings.HasSuffix(name, ".lock"):
		return false
	}
	return true
}
