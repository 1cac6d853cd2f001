package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// wrongSettings fails the test unless err is the operator's to correct and says so.
func wrongSettings(t *testing.T, err error, want string) {
	t.Helper()
	var wrong *settingsError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v; want one of the settings that says %q", err, want)
	}
}

// may asks for something that needs a token.
func may(t *testing.T, s *server, token string) bool {
	t.Helper()
	asker := lab.Server{URL: s.URL, Token: token}
	err := asker.Call(t.Context(), "GET", "/api/v1/projects", nil, nil)
	if err != nil && !strings.Contains(err.Error(), "401") {
		t.Fatal(err)
	}
	return err == nil
}

// The administrator's token is printed at the first start, never again and
// never logged; a configured one replaces it.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.start("WORKERS=0")
	made := w.token
	if made == "" || strings.Count(first.stdout.String(), "\n") != 1 {
		t.Fatalf("the first start printed %q", first.stdout.String())
	}
	if !may(t, first, made) || may(t, first, "") || may(t, first, made+"x") {
		t.Error("the printed token, and only that, must be accepted")
	}
	first.stop()
	again := w.start("WORKERS=0")
	if again.stdout.String() != "" || !may(t, again, made) {
		t.Errorf("the second start printed %q", again.stdout.String())
	}
	again.stop()
	const chosen = "a-token-of-the-operators-own"
	configured := w.start("WORKERS=0", "ADMIN_TOKEN="+chosen)
	if configured.stdout.String() != "" || !may(t, configured, chosen) || may(t, configured, made) {
		t.Errorf("the configured token must be the only one; printed was %q", configured.stdout.String())
	}
	configured.stop()
	// Without the setting the last token stays.
	last := w.start("WORKERS=0")
	if last.stdout.String() != "" || !may(t, last, chosen) {
		t.Errorf("the last start printed %q", last.stdout.String())
	}
	last.stop()
	for _, s := range []*server{first, again, configured, last} {
		if log := s.stderr.String(); strings.Contains(log, made) || strings.Contains(log, chosen) {
			t.Error("the token was logged")
		}
	}
	found := 0
	for _, name := range []string{"cyclone.db", "cyclone.db-wal"} {
		text, err := os.ReadFile(filepath.Join(w.data, name))
		if err != nil {
			continue // no log is left after an orderly end
		}
		if found++; strings.Contains(string(text), made) || strings.Contains(string(text), chosen) {
			t.Errorf("%s holds the token itself", name)
		}
	}
	if found == 0 {
		t.Error("there is no store to look into")
	}
}

// Only the key with which the store's credentials were encrypted is accepted,
// and it is never replaced.
func TestEncryptionKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start("WORKERS=0").stop()
	path := filepath.Join(w.data, "encryption.key")
	made, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file is %v, %v", info.Mode(), err)
	}
	wrongSettings(t, w.refused("ENCRYPTION_KEY="+key), "is not the key that this store's credentials were encrypted with")
	if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrongSettings(t, w.refused(), path+" is damaged")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wrongSettings(t, w.refused(), "there is no "+path+" either")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key that opens nothing was made: %v", err)
	}
	// The key may come from the settings as well as from the file.
	w.start("WORKERS=0", "ENCRYPTION_KEY="+strings.TrimSpace(string(made))).stop()
	if err := os.WriteFile(path, made, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start("WORKERS=0").stop()
}

// With a key in the settings from the start none is kept beside the store.
func TestConfiguredKeyIsNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start("WORKERS=0", "ENCRYPTION_KEY="+key).stop()
	if _, err := os.Stat(filepath.Join(w.data, "encryption.key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key was written down: %v", err)
	}
	wrongSettings(t, w.refused(), "is not set")
}

func TestSecondServerOnTheFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start("WORKERS=0")
	err := w.refused()
	if !errors.Is(err, cyclone.ErrConflict) || !strings.Contains(err.Error(), w.data) || !strings.Contains(err.Error(), "in use by another server") {
		t.Errorf("error %v", err)
	}
	if !may(t, s, w.token) {
		t.Error("the first server does not answer any more")
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wrongSettings(t, w.refused("LISTEN="+l.Addr().String()), l.Addr().String()+": bind: address already in use")
	wrongSettings(t, w.refused("LISTEN=nowhere"), "nowhere")
	// Nothing is held on to: neither the folder nor the workers' socket.
	w.start("WORKERS=0").stop()
	left, err := os.ReadDir(filepath.Join(w.data, "run"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(0, len(left)); diff != "" {
		t.Errorf("the workers' socket was left: %v", left)
	}
}

// A socket that a killed server left is no obstacle.
func TestLeftSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := filepath.Join(w.data, "run")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, "server.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	w.start("WORKERS=0").stop()
}
