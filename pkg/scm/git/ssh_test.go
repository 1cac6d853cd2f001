package git_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"cyclone/pkg/cyclone"
)

// newKey makes a key pair; the private one in PEM.
func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(pem.EncodeToMemory(block))
}

// serveSSH serves the repositories of dir to whoever has the key.
func serveSSH(t *testing.T, dir string, key ssh.PublicKey) (address string) {
	t.Helper()
	host, _ := newKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(offered.Marshal(), key.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go session(conn, config, dir)
		}
	}()
	return l.Addr().String()
}

// session runs git-upload-pack for one connection; errors end it.
func session(conn net.Conn, config *ssh.ServerConfig, dir string) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		channel, requests, err := wanted.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			var command struct{ Text string }
			if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			name := filepath.Base(strings.Trim(strings.TrimPrefix(command.Text, "git-upload-pack "), "'"))
			cmd := exec.Command("git", "-c", "safe.directory=*", "upload-pack", filepath.Join(dir, name))
			cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
			status := struct{ Code uint32 }{}
			if cmd.Run() != nil {
				status.Code = 128
			}
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
			_ = channel.Close()
		}
	}
}

func TestSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh client on this machine")
	}
	s := newServer(t)
	sha := s.repository(t, "orders").commit("file", "one", "First")
	public, private := newKey(t)
	_, stranger := newKey(t)
	url := "ssh://git@" + serveSSH(t, s.dir, public.PublicKey()) + "/orders.git"
	for _, tt := range []struct {
		name, password string
		want           error
	}{
		{"key", private, nil}, {"unknown key", stranger, cyclone.ErrForbidden}, {"password", "hunter2", cyclone.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fast()
			c.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
			dir, out := t.TempDir(), &recorder{}
			_, err := c.Clone(t.Context(), cyclone.CloneSpec{URL: url, SHA: sha, Dir: dir, Password: tt.password}, out)
			if !errors.Is(err, tt.want) {
				t.Errorf("%v\n%s", err, out.all())
			}
			if err == nil && content(t, dir, "file") != "one" {
				t.Error("the file is not right")
			}
		})
	}
}
