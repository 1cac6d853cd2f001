package svn

import (
	"fmt"
	"net"
	"strings"

	"cyclone/pkg/cyclone"
)

// kind says what a failure of svn means.
type kind int

const (
	unknown    kind = iota
	noRevision      // the repository has no such revision
	absent          // no such path
	noRepository
	denied // credentials
	certificate
	hostKey
	moved
	unreachable // worth another try
	full
	tooLarge
	noProgram
)

// phrases are what svn and ssh say; the first match counts. svn's numbers are
// the same for errors (E160006) and warnings (W160006).
var phrases = []struct {
	kind kind
	text string
}{
	{full, "no space left on device"},
	{full, "disk is full"},
	{noRevision, "160006:"},
	{hostKey, "host key verification failed"},
	{denied, "permission denied ("},
	{denied, "too many authentication failures"},
	{certificate, "230001:"},
	{certificate, "certificate"},
	{denied, "170001:"}, // not authorized
	{denied, "215004:"}, // no more credentials
	{denied, "175013:"}, // access forbidden
	{denied, "220001:"}, // unreadable
	{moved, "170011:"},
	{noRepository, "210005:"},
	{noRepository, "175003:"}, // no DAV
	{noRepository, "175009:"}, // no XML
	{noRepository, "170003:"}, // none that svn knows
	{absent, "170000:"},
	{absent, "160013:"},
	{absent, "160005:"},
	{absent, "195012:"},
	{unreachable, "can't connect"},
	{unreachable, "connection "},
	{unreachable, "unknown hostname"},
	{unreachable, "could not resolve"},
	{unreachable, "timed out"},
	{unreachable, "no route to host"},
	{unreachable, "network is unreachable"},
	{unreachable, "error running context"},
	{unreachable, "unexpected http status 5"},
	{unreachable, "unexpected http status 429"},
	{unreachable, "210002:"}, // the connection ended
	{unreachable, "210004:"}, // what came is no protocol
	{unreachable, "170013:"},
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

// failure is a call of svn that did not succeed.
type failure struct {
	kind kind
	from remote
	text string // the end of what svn printed
	err  error
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
	case noRevision:
		return cyclone.NotFound("%s: there is no such revision: %s", doing, said)
	case absent:
		return cyclone.NotFound("%s: there is no such folder, or it is hidden from this credential: %s", doing, said)
	case noRepository:
		return cyclone.NotFound("%s: there is no Subversion repository: %s", doing, said)
	case moved:
		return cyclone.NotFound("%s: the repository has moved; change repository.url: %s", doing, said)
	case denied:
		return cyclone.Forbidden("%s: access denied; check the secret named as the repository's credential: %s", doing, said)
	case hostKey:
		return cyclone.Forbidden("%s: the host's ssh key is not the one that is known for it: %s", doing, said)
	case certificate:
		return cyclone.Unavailable("%s: the host's TLS certificate cannot be trusted: %s", doing, said)
	case unreachable:
		return cyclone.Unavailable("%s: the host cannot be reached: %s%s", doing, said, f.hint())
	case tooLarge, noProgram:
		return cyclone.Unavailable("%s: %s", doing, said)
	case full:
		return fmt.Errorf("%s: the disk is full: %s", doing, said)
	}
	return fmt.Errorf("%s: %w: %s", doing, f.err, said)
}

func (f *failure) hint() string {
	ip := net.ParseIP(f.from.host)
	if f.from.host == "localhost" || ip != nil && ip.IsLoopback() {
		return "; note that " + f.from.host + " is the machine or container that checks out"
	}
	return ""
}

// summary is the line of svn's output that says most.
func (f *failure) summary() string {
	lines := strings.FieldsFunc(f.text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if classify(lines[i]) == f.kind && f.kind != unknown {
			return strings.TrimSpace(lines[i])
		}
	}
	if len(lines) == 0 {
		return "svn says nothing"
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
