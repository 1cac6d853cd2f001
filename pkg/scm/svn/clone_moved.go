package svn

import (
	"context"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// connectedPattern is how svn names the URL at which it failed.
var connectedPattern = regexp.MustCompile(`at URL '([^']+)'`)

// staysHere refuses a repository whose host sends svn to another one: svn would
// follow, and give the login to that. So it is asked without the login first.
func (r *run) staysHere(ctx context.Context) error {
	if !r.login() || !strings.HasPrefix(r.from.base, schemeHTTP) {
		return nil
	}
	once := *r.cloner
	once.Pauses = []time.Duration{}
	bare := *r
	bare.cloner = &once
	bare.spec.Username, bare.spec.Password, bare.out = "", "", quiet{}
	there := ""
	if root, f := bare.info(ctx, "", youngest); f == nil {
		there = root.URL
	} else if m := connectedPattern.FindStringSubmatch(f.text); m != nil {
		there = m[1]
	}
	if there == "" || sameHost(r.from.base, there) {
		return nil // whatever is wrong besides, the next question says it
	}
	return cyclone.NotFound("%s has moved to %s; change repository.url of the project, which its credential is for", r.from.shown, there)
}

// sameHost reports whether a login for one URL may be used at the other: the
// same host and port, or the host's https instead of http.
func sameHost(ours, there string) bool {
	from, err := url.Parse(ours)
	if err != nil {
		return false
	}
	to, err := url.Parse(there)
	if err != nil || !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	return from.Scheme == to.Scheme && port(from) == port(to) ||
		from.Scheme == schemeHTTP && to.Scheme == "https" && port(from) == "80" && port(to) == "443"
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{schemeHTTP: "80", "https": "443"}[u.Scheme]
}
