package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Key is a key pair of ssh.
type Key struct {
	Private string // PEM
	Public  string // "ssh-ed25519 AAAA..."
}

// Fingerprint is the key's as ssh prints it.
func (k Key) Fingerprint() string {
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Public))
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(public)
}

// NewKey makes a key pair.
func NewKey() (Key, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make an ssh key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return Key{}, fmt.Errorf("make an ssh key: %w", err)
	}
	shown, err := ssh.NewPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("make an ssh key: %w", err)
	}
	return Key{Private: string(pem.EncodeToMemory(block)), Public: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(shown)))}, nil
}

// SSH is a real sshd that lets one key read git and Subversion repositories.
type SSH struct {
	Addr string
	User string // to log in as
	Host Key    // the host's

	bind, config string // address, folder
	process      *process
}

// sshCommands is all that a login may do: read the repositories below a folder.
const sshCommands = `#!/bin/sh
case $SSH_ORIGINAL_COMMAND in
"git-upload-pack '/"*"'") path=${SSH_ORIGINAL_COMMAND#git-upload-pack \'}; exec git -c safe.directory='*' upload-pack "%[1]s${path%%\'}" ;;
"svnserve -t") exec svnserve -t -r "%[1]s" --tunnel-user robot ;;
*) echo "refused: $SSH_ORIGINAL_COMMAND" >&2; exit 1 ;;
esac
`

// StartSSH serves the repositories below dir, to whoever has the key, on any
// port of the bind address. The packages openssh-server, git and, for its
// repositories, subversion must be installed.
func StartSSH(ctx context.Context, bind, dir, authorized string) (*SSH, error) {
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("ask who we are: %w", err)
	}
	s := &SSH{User: me.Username, bind: bind}
	if s.config, err = os.MkdirTemp("", "cyclone-sshd-"); err != nil {
		return nil, fmt.Errorf("make a folder for sshd: %w", err)
	}
	if me.Uid == "0" {
		// sshd gives its rights up there; the package's service makes it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, fmt.Errorf("make sshd's folder: %w", err)
		}
	}
	if s.Addr, err = freeAddress(bind, 0); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"authorized": authorized + "\n", "commands": fmt.Sprintf(sshCommands, dir)} {
		if err := os.WriteFile(filepath.Join(s.config, name), []byte(text), 0o755); err != nil {
			return nil, fmt.Errorf("prepare sshd: %w", err)
		}
	}
	return s, s.NewHostKey(ctx)
}

// NewHostKey starts the server, again with another key of its own.
func (s *SSH) NewHostKey(ctx context.Context) error {
	key, err := NewKey()
	if err != nil {
		return err
	}
	s.Host = key
	if err := os.WriteFile(filepath.Join(s.config, "host"), []byte(key.Private), 0o600); err != nil {
		return fmt.Errorf("prepare sshd: %w", err)
	}
	program, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		return fmt.Errorf("start sshd (package openssh-server): %w", err)
	}
	if s.process != nil {
		s.process.stop()
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return fmt.Errorf("start sshd: %w", err)
	}
	args := []string{"-D", "-e", "-f", "/dev/null", "-h", filepath.Join(s.config, "host")}
	for _, o := range []string{
		"ListenAddress=" + s.bind, "Port=" + port, "PidFile=none", "StrictModes=no", "UsePAM=no", "PasswordAuthentication=no", "PermitRootLogin=yes",
		"KbdInteractiveAuthentication=no", "AuthorizedKeysFile=" + filepath.Join(s.config, "authorized"), "ForceCommand=" + filepath.Join(s.config, "commands"),
	} {
		args = append(args, "-o", o)
	}
	if s.process, err = startProcess(program, args, os.Environ(), nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return s.process.waitFor(ctx, "sshd", func() error { return dials(ctx, s.Addr) })
}

// dials reports whether somebody listens.
func dials(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// URL is where a git repository is cloned from.
func (s *SSH) URL(name string) string { return "ssh://" + s.User + "@" + s.Addr + "/" + name + ".git" }

// SvnURL is where a Subversion repository is checked out from.
func (s *SSH) SvnURL(name string) string {
	return "svn+ssh://" + s.User + "@" + s.Addr + "/" + name
}

// Stop ends the server.
func (s *SSH) Stop() {
	if s.process != nil {
		s.process.stop()
	}
	_ = os.RemoveAll(s.config) // the system's folder for what is left behind
}
