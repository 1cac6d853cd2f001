// Package sshagent lends one ssh key and the pinned keys of one host to the
// ssh command that git or svn starts. The private key stays in this process's
// memory: ssh reaches it through an agent, and for that host alone.
//
// It opens no connection of its own but to ask a host that was refused for its
// key, and it stores nothing beyond a session.
package sshagent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"cyclone/pkg/cyclone"
)

// Options say what a session is for.
type Options struct {
	Host string // name or address, without brackets
	Port string // empty for 22
	// Key is a private key in PEM without a passphrase; empty for none.
	Key string
	// HostKeys are the only keys of the host that are trusted
	// ("ssh-ed25519 AAAA..."). Without any, the first key seen is accepted,
	// unless this machine knows another one for the host already.
	HostKeys []string
}

// Session is the surroundings of the ssh command for one host. Hosts that it
// is used for besides (a submodule's) get no key of ours.
type Session struct {
	options Options
	dir     string
	keys    *keyServer // nil without a key
}

// hostPattern keeps what ssh's configuration reads as a pattern out of it.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$|^[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?$`)

// Open makes a session; Close ends it. Errors: ErrForbidden for a key that
// cannot be used, ErrInvalid for a host or host keys that are none.
func Open(o Options) (*Session, error) {
	if !hostPattern.MatchString(o.Host) {
		return nil, cyclone.Invalid("repository.url", "%q is not the name of an ssh host", o.Host)
	}
	if err := CheckHostKeys(o.HostKeys); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cyclone-ssh-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("make folder for ssh: %w", err)
	}
	s := &Session{options: o, dir: dir}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// CheckHostKeys reports keys that are no public keys of ssh, as an ErrInvalid
// about repository.hostKeys.
func CheckHostKeys(keys []string) error {
	problems := &cyclone.InvalidError{}
	for i, k := range keys {
		if _, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(k)); err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
			problems.Add(fmt.Sprintf("repository.hostKeys[%d]", i), "is not a public key of an ssh host; write it as ssh-keyscan prints it, without the host: ssh-ed25519 AAAA...")
		}
	}
	return problems.OrNil()
}

func (s *Session) prepare() error {
	var known strings.Builder
	for _, k := range s.options.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k))
		if err != nil {
			return fmt.Errorf("read host key: %w", err)
		}
		fmt.Fprintf(&known, "%s %s", s.hostInFile(), ssh.MarshalAuthorizedKey(key))
	}
	for name, text := range map[string]string{"known_hosts": known.String(), "config": s.config()} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("prepare ssh: %w", err)
		}
	}
	if s.options.Key == "" {
		return nil
	}
	var err error
	s.keys, err = serveKey(s.options.Key, s.path("agent"))
	return err
}

// config is ssh's configuration. The first value of a setting counts, so that
// what the machine's own files say comes after ours.
func (s *Session) config() string {
	quoted := func(name string) string { return `"` + strings.ReplaceAll(s.path(name), "%", "%%") + `"` }
	lines := []string{"Match originalhost " + s.options.Host}
	if s.options.Key != "" {
		lines = append(lines, "IdentityAgent "+quoted("agent"))
	}
	if s.pinned() {
		lines = append(lines, "StrictHostKeyChecking yes", "UserKnownHostsFile "+quoted("known_hosts"), "GlobalKnownHostsFile none")
	}
	lines = append(lines,
		// By this name the key is looked up, whatever the machine's own files
		// say of the host.
		"HostKeyAlias "+s.hostInFile(), "CheckHostIP no", "UpdateHostKeys no", "ControlPath none",
		"Match all",
		// There is nobody to ask. New keys are written to the first file.
		"StrictHostKeyChecking accept-new", "HashKnownHosts no",
		"UserKnownHostsFile "+quoted("known_hosts")+" ~/.ssh/known_hosts ~/.ssh/known_hosts2")
	if s.options.Key != "" {
		lines = append(lines, "IdentityAgent none")
	}
	lines = append(lines,
		"BatchMode yes", "ConnectTimeout 20", "ServerAliveInterval 20", "ForwardAgent no", "PermitLocalCommand no",
		"Include ~/.ssh/config", "Include /etc/ssh/ssh_config")
	return strings.Join(lines, "\n") + "\n"
}

func (s *Session) pinned() bool { return len(s.options.HostKeys) > 0 }

func (s *Session) path(name string) string { return filepath.Join(s.dir, name) }

// hostInFile is the host as known_hosts names it.
func (s *Session) hostInFile() string {
	host := strings.ToLower(s.options.Host)
	if s.options.Port == "" || s.options.Port == "22" {
		return host
	}
	return "[" + host + "]:" + s.options.Port
}

// Command is the ssh command as a shell, git and svn read it. There is nothing
// secret in it.
func (s *Session) Command() string {
	return "ssh -F '" + strings.ReplaceAll(s.path("config"), "'", `'\''`) + "'"
}

// Learned are the host's keys that were accepted because there were none to
// compare them with.
func (s *Session) Learned() []string {
	if s.pinned() {
		return nil
	}
	text, err := os.ReadFile(s.path("known_hosts"))
	if err != nil {
		return nil
	}
	var keys []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && fields[0] == s.hostInFile() {
			keys = append(keys, fields[1]+" "+fields[2])
		}
	}
	return keys
}

// Close ends the session and forgets the key.
func (s *Session) Close() {
	if s.keys != nil {
		s.keys.stop()
	}
	_ = os.RemoveAll(s.dir) // there is nothing secret in it
}
