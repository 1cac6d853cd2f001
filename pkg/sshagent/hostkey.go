package sshagent

import (
	"context"
	"errors"
	"net"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"cyclone/pkg/cyclone"
)

const askTime = 10 * time.Second

// shownPattern is what ssh prints of a key that is not the known one.
var shownPattern = regexp.MustCompile(`(?s)sent by the remote host is\s+(SHA256:[A-Za-z0-9+/]+)`)

// Refused is the error for a host whose key ssh has refused, an ErrForbidden
// that names the fingerprints on both sides and says what to do. Printed is
// what ssh said.
func (s *Session) Refused(ctx context.Context, printed string) error {
	shown := "another key"
	if m := shownPattern.FindStringSubmatch(printed); m != nil {
		shown = m[1]
	} else if key, err := s.ask(ctx); err == nil {
		shown = ssh.FingerprintSHA256(key) + " (" + key.Type() + ")"
	}
	if !s.pinned() {
		return cyclone.Forbidden("the ssh host %s shows %s, which is not the key that this machine has in its known_hosts; somebody may stand in between. Ask who runs the host, then mend that file or name the right keys in repository.hostKeys",
			s.hostInFile(), shown)
	}
	return cyclone.Forbidden("the ssh host %s shows %s, and the project trusts only %s; somebody may stand in between, or the host has a new key. Ask who runs the host, then change repository.hostKeys of the project, or empty it to trust the next key that is seen",
		s.hostInFile(), shown, s.fingerprints())
}

func (s *Session) fingerprints() string {
	var all []string
	for _, k := range s.options.HostKeys {
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k)); err == nil {
			all = append(all, ssh.FingerprintSHA256(key)+" ("+key.Type()+")")
		}
	}
	return strings.Join(all, ", ")
}

// ask asks the host for its key: ssh itself does not tell the fingerprint of a
// key of another type than the pinned ones.
func (s *Session) ask(ctx context.Context) (ssh.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	port := s.options.Port
	if port == "" {
		port = "22"
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(s.options.Host, port))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // nothing was written that must arrive
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	enough := errors.New("the key is known")
	var key ssh.PublicKey
	_, _, _, err = ssh.NewClientConn(conn, s.options.Host, &ssh.ClientConfig{
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			key = k
			return enough // before any login
		},
	})
	if key == nil {
		return nil, err
	}
	return key, nil
}
