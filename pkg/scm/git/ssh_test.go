package git_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

func newKey(t *testing.T) lab.Key {
	t.Helper()
	k, err := lab.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newSSH is a real sshd in front of the repositories of a folder.
func newSSH(t *testing.T, dir string, authorized lab.Key) *lab.SSH {
	t.Helper()
	s, err := lab.StartSSH(t.Context(), "127.0.0.1", dir, authorized.Public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func TestSSH(t *testing.T) {
	t.Parallel()
	s, key := newServer(t), newKey(t)
	sha := s.repository(t, "orders").commit("file", "one", "First")
	server := newSSH(t, s.dir, key)
	for _, tt := range []struct {
		name, password string
		want           error
	}{
		{"key", key.Private, nil}, {"unknown key", newKey(t).Private, cyclone.ErrForbidden}, {"password", "hunter2", cyclone.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var learned []string
			_, dir, out, err := clone(t, cyclone.CloneSpec{
				URL: server.URL("orders"), SHA: sha, Password: tt.password, Learned: func(keys []string) { learned = append(learned, keys...) },
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("%v\n%s", err, out.all())
			}
			if err == nil && (content(t, dir, "file") != "one" || !slices.Equal(learned, []string{server.Host.Public})) {
				t.Errorf("the file is not right, or the host's key: %q", learned)
			}
			if err != nil && learned != nil {
				t.Errorf("a host that refused us is trusted: %q", learned)
			}
		})
	}
}

func TestPinnedHostKey(t *testing.T) {
	t.Parallel()
	s, key := newServer(t), newKey(t)
	sha := s.repository(t, "orders").commit("file", "one", "First")
	server := newSSH(t, s.dir, key)
	spec := cyclone.CloneSpec{
		URL: server.URL("orders"), SHA: sha, Password: key.Private, HostKeys: []string{newKey(t).Public, server.Host.Public},
		Learned: func(keys []string) { t.Errorf("learned %q", keys) },
	}
	if _, _, out, err := clone(t, spec); err != nil {
		t.Fatalf("%v\n%s", err, out.all())
	}
	const otherType = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg="
	trusted := newKey(t)
	for name, tt := range map[string]struct{ pinned, shown string }{
		"another key":        {trusted.Public, trusted.Fingerprint()},
		"a key of its type":  {server.Host.Public, server.Host.Fingerprint()},
		"a key of no use":    {otherType, "SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM"},
		"with a comment too": {trusted.Public + " root@forge", trusted.Fingerprint()},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.pinned == server.Host.Public {
				if err := server.NewHostKey(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			spec.HostKeys = []string{tt.pinned}
			_, _, out, err := clone(t, spec)
			if !errors.Is(err, cyclone.ErrForbidden) {
				t.Fatalf("%v\n%s", err, out.all())
			}
			for _, want := range []string{tt.shown, server.Host.Fingerprint(), "repository.hostKeys", server.Addr[strings.Index(server.Addr, ":"):]} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

// The private key is for the repository's own host: another one, which a
// submodule names, sees a stranger.
func TestKeyStaysWithItsHost(t *testing.T) {
	t.Parallel()
	s, key := newServer(t), newKey(t)
	s.repository(t, "lib").commit("lib", "one", "First")
	server := newSSH(t, s.dir, key)
	w := s.repository(t, "orders")
	w.git("submodule", "--quiet", "add", filepath.Join(s.dir, "lib.git"), "lib")
	for url, want := range map[string]error{
		"../lib.git": nil,
		strings.Replace(server.URL("lib"), "127.0.0.1", "localhost", 1): cyclone.ErrForbidden,
	} {
		w.git("config", "-f", ".gitmodules", "submodule.lib.url", url)
		w.commit("file", url, "With a submodule")
		_, dir, out, err := clone(t, cyclone.CloneSpec{URL: server.URL("orders"), Password: key.Private, Submodules: true})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v\n%s", url, err, out.all())
		}
		if err == nil && content(t, dir, "lib/lib") != "one" {
			t.Errorf("%s: the submodule is not there", url)
		}
	}
}
