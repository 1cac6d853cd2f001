package sshagent_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
	"cyclone/pkg/sshagent"
)

func newKey(t *testing.T) lab.Key {
	t.Helper()
	k, err := lab.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, o sshagent.Options) *sshagent.Session {
	t.Helper()
	s, err := sshagent.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// config is the file that the command names.
func config(t *testing.T, s *sshagent.Session) string {
	t.Helper()
	m := regexp.MustCompile(`-F '([^']+)'`).FindStringSubmatch(s.Command())
	if m == nil {
		t.Fatalf("no configuration in %s", s.Command())
	}
	return m[1]
}

// settings are what ssh itself makes of a session for a host.
func settings(t *testing.T, s *sshagent.Session, host string) map[string]string {
	t.Helper()
	out, err := exec.Command("ssh", "-F", config(t, s), "-G", host).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[name] = value
	}
	return all
}

func TestSettings(t *testing.T) {
	t.Parallel()
	key, pin := newKey(t), newKey(t)
	for name, tt := range map[string]struct {
		options    sshagent.Options
		own, other map[string]string
	}{
		"nothing known": {
			sshagent.Options{Host: "Forge.example.com", Key: key.Private},
			map[string]string{"stricthostkeychecking": "accept-new", "hostkeyalias": "forge.example.com", "identityagent": "agent"},
			map[string]string{"stricthostkeychecking": "accept-new", "hostkeyalias": "", "identityagent": "none"},
		},
		"pinned": {
			sshagent.Options{Host: "forge.example.com", Port: "2222", Key: key.Private, HostKeys: []string{pin.Public}},
			map[string]string{"stricthostkeychecking": "true", "hostkeyalias": "[forge.example.com]:2222", "identityagent": "agent", "globalknownhostsfile": "none"},
			map[string]string{"stricthostkeychecking": "accept-new", "identityagent": "none"},
		},
		"no key": {
			sshagent.Options{Host: "::1"},
			map[string]string{"hostkeyalias": "::1", "identityagent": ""},
			map[string]string{"identityagent": "", "batchmode": "yes", "forwardagent": "no"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, tt.options)
			for host, want := range map[string]map[string]string{tt.options.Host: tt.own, "other.example.com": tt.other} {
				got := settings(t, s, host)
				for setting, value := range want {
					if g := got[setting]; g != value && (value != "agent" || g != filepath.Join(filepath.Dir(config(t, s)), "agent")) {
						t.Errorf("%s: %s is %q, want %q", host, setting, g, value)
					}
				}
			}
			if tt.options.Key == "" {
				return
			}
			err := filepath.WalkDir(filepath.Dir(config(t, s)), func(path string, d os.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					text, readErr := os.ReadFile(path)
					err = readErr
					if strings.Contains(string(text), "PRIVATE KEY") || strings.Contains(string(text), key.Private[40:90]) {
						t.Errorf("the key stands in %s", path)
					}
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusedOptions(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	locked := string(pem.EncodeToMemory(block))
	for name, tt := range map[string]struct {
		options sshagent.Options
		want    error
		says    string
	}{
		"pattern":      {sshagent.Options{Host: "a*"}, cyclone.ErrInvalid, "a*"},
		"two hosts":    {sshagent.Options{Host: "a b"}, cyclone.ErrInvalid, "a b"},
		"option":       {sshagent.Options{Host: "-x"}, cyclone.ErrInvalid, "-x"},
		"password":     {sshagent.Options{Host: "a", Key: "hunter2"}, cyclone.ErrForbidden, "not an ssh private key"},
		"passphrase":   {sshagent.Options{Host: "a", Key: locked}, cyclone.ErrForbidden, "passphrase"},
		"rubbish pins": {sshagent.Options{Host: "a", HostKeys: []string{newKey(t).Public, "x"}}, cyclone.ErrInvalid, "repository.hostKeys[1]"},
	} {
		_, err := sshagent.Open(tt.options)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A session over a real sshd: what is learned is what the next one pins.
func TestSession(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	server, err := lab.StartSSH(t.Context(), "127.0.0.1", t.TempDir(), key.Public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	_, port, _ := strings.Cut(server.Addr, ":")
	options := sshagent.Options{Host: "127.0.0.1", Port: port, Key: key.Private}
	try := func(s *sshagent.Session) string {
		// What a login may do is refused here by the server: it was let in.
		out, _ := exec.CommandContext(t.Context(), "ssh", "-F", config(t, s), "-p", port, server.User+"@127.0.0.1", "hello").CombinedOutput()
		return string(out)
	}
	first := open(t, options)
	if out := try(first); !strings.Contains(out, "refused: hello") {
		t.Fatal(out)
	}
	learned := first.Learned()
	if !slices.Equal(learned, []string{server.Host.Public}) {
		t.Fatalf("learned %q", learned)
	}
	folder := filepath.Dir(config(t, first))
	first.Close()
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind: %v", folder, err)
	}
	options.HostKeys = learned
	pinned := open(t, options)
	if out := try(pinned); !strings.Contains(out, "refused: hello") || pinned.Learned() != nil {
		t.Errorf("%s, learned %q", out, pinned.Learned())
	}
	before := server.Host.Fingerprint()
	if err := server.NewHostKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := try(pinned)
	err = pinned.Refused(t.Context(), out)
	for _, want := range []string{before, server.Host.Fingerprint(), "[127.0.0.1]:" + port, "repository.hostKeys"} {
		if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v\n%s", want, err, out)
		}
	}
	// Without ssh's own words the host is asked.
	if err := pinned.Refused(t.Context(), ""); !strings.Contains(err.Error(), server.Host.Fingerprint()) {
		t.Error(err)
	}
}
