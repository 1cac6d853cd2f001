package git

import (
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
)

// kind says what a failure of git means.
type kind int

const (
	unknown kind = iota
	missing      // no such ref or commit
	absent       // no such repository
	denied       // credentials
	certificate
	hostKey
	transport   // a protocol that is not allowed
	unreachable // worth another try
	full
)

// phrases are what git, curl and ssh say in English; the first match counts,
// so a narrow phrase stands before a wide one.
var phrases = []struct {
	kind kind
	text string
}{
	{full, "no space left on device"},
	{missing, "not our ref"},
	{missing, "couldn't find remote ref"},
	{missing, "no such remote ref"},
	{missing, "unadvertised object"},
	{missing, "did not contain"},
	{missing, "unable to find current revision in submodule"},
	{missing, "direct fetching of that commit failed"},
	{transport, "transport '"},
	{certificate, "certificate"},
	{certificate, "ssl peer"},
	{hostKey, "host key verification failed"},
	{denied, "authentication failed"},
	{denied, "could not read username"},
	{denied, "could not read password"},
	{denied, "terminal prompts disabled"},
	{denied, "permission denied ("},
	{denied, "too many authentication failures"},
	{denied, "returned error: 401"},
	{denied, "returned error: 403"},
	{denied, "access denied"},
	{denied, "authentication required"}, // git-lfs
	{denied, "authorization error"},
	{absent, "returned error: 404"},
	{absent, "returned error: 410"},
	{absent, "object does not exist"}, // git-lfs
	{absent, "repository not found"},
	{absent, "not found"},
	{absent, "not appear to be a git repository"},
	{absent, "not valid: is this a git repository"},
	{absent, "not a valid git repository"},
	{absent, "invalid gitfile format"},
	{unreachable, "could not resolve"},
	{unreachable, "couldn't connect"},
	{unreachable, "failed to connect"},
	{unreachable, "connection "},
	{unreachable, "timed out"},
	{unreachable, "no route to host"},
	{unreachable, "network is unreachable"},
	{unreachable, "operation too slow"},
	{unreachable, "empty reply"},
	{unreachable, "early eof"},
	{unreachable, "unexpected disconnect"},
	{unreachable, "hung up unexpectedly"},
	{unreachable, "rpc failed"},
	{unreachable, "returned error: 5"},
	{unreachable, "returned error: 429"},
	{unreachable, "unable to access"},
	{unreachable, "transfer closed"},
	{unreachable, "gnutls"},
	{unreachable, "ssl_"},
}

func classify(text string) kind {
	text = strings.ToLower(text)
	for _, p := range phrases {
		if strings.Contains(text, p.text) {
			return p.kind
		}
	}
	return unknown
}

// failure is a call of git that did not succeed.
type failure struct {
	kind   kind
	remote remote
	text   string // the end of what git printed
	err    error
	// refused says more about a host's key that is not the known one.
	refused error
}

// explain says what failed, why and what to do, as one of cyclone's kinds.
func (f *failure) explain(doing string) error {
	if f.refused != nil {
		return fmt.Errorf("%s: %w", doing, f.refused)
	}
	said := f.summary()
	switch f.kind {
	case missing:
		return cyclone.NotFound("%s: a commit is not there: %s", doing, said)
	case absent:
		return cyclone.NotFound("%s: there is no git repository, or it is hidden from this credential: %s", doing, said)
	case denied:
		return cyclone.Forbidden("%s: access denied; check the secret named as the repository's credential: %s", doing, said)
	case hostKey:
		return cyclone.Forbidden("%s: the host's ssh key is not the one that is known for it: %s", doing, said)
	case certificate:
		return cyclone.Unavailable("%s: the host's TLS certificate cannot be trusted: %s", doing, said)
	case transport:
		return cyclone.Forbidden("%s: only http, https and ssh may be used: %s", doing, said)
	case unreachable:
		return cyclone.Unavailable("%s: the host cannot be reached: %s%s", doing, said, f.hint())
	case full:
		return fmt.Errorf("%s: the disk is full: %s", doing, said)
	}
	return fmt.Errorf("%s: %w: %s", doing, f.err, said)
}

func (f *failure) hint() string {
	if f.remote.local() {
		return "; note that " + f.remote.host + " is the machine or container that clones"
	}
	return ""
}

// summary is the line of git's output that says most.
func (f *failure) summary() string {
	lines := strings.FieldsFunc(f.text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if classify(lines[i]) == f.kind && f.kind != unknown {
			return strings.TrimSpace(lines[i])
		}
	}
	return lastLine(f.text)
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return strings.TrimSpace(text[strings.LastIndexAny(text, "\r\n")+1:])
}
