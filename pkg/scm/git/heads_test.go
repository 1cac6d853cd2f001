package git_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/git"
)

func TestHeads(t *testing.T) {
	t.Parallel()
	s, key := newServer(t), newKey(t)
	s.login.Store(&[2]string{"alice", secret})
	w := s.repository(t, "orders")
	first := w.commit("file", "one", "First")
	w.git("tag", "plain")
	w.git("tag", "-a", "-m", "Release", "v1/annotated")
	w.git("push", "-q", "origin", "HEAD:refs/pull/7/head", "HEAD:refs/heads/d'ébo$(id)", "plain", "v1/annotated")
	second := w.commit("file", "two", "Second")
	want := &cyclone.Heads{Default: "main", Refs: map[string]string{
		"refs/heads/main": second, "refs/heads/d'ébo$(id)": first, "refs/tags/plain": first, "refs/tags/v1/annotated": first,
	}}
	server := newSSH(t, s.dir, key)
	for name, spec := range map[string]cyclone.CloneSpec{
		"http": {URL: s.url("orders"), Username: "alice", Password: secret, Ref: "refs/heads/unused"},
		"ssh":  {URL: server.URL("orders"), Password: key.Private, HostKeys: []string{server.Host.Public}},
	} {
		got, err := fast().Heads(t.Context(), spec)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	var learned []string
	_, err := fast().Heads(t.Context(), cyclone.CloneSpec{URL: server.URL("orders"), Password: key.Private, Learned: func(keys []string) { learned = keys }})
	if err != nil || len(learned) != 1 || learned[0] != server.Host.Public {
		t.Errorf("learned %q, %v", learned, err)
	}
	s.repository(t, "empty")
	spec := cyclone.CloneSpec{URL: s.url("empty"), Username: "alice", Password: secret}
	if got, err := fast().Heads(t.Context(), spec); err != nil || len(got.Refs) != 0 {
		t.Errorf("an empty repository: %+v, %v", got, err)
	}
}

func TestHeadsFail(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.repository(t, "orders").commit("file", "one", "First")
	s.login.Store(&[2]string{"alice", secret})
	silentURL, _ := silent(t)
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		pkt := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
		_, _ = w.Write([]byte(pkt("# service=git-upload-pack\n") + "0000"))
		for i := 0; r.Context().Err() == nil; i++ {
			line := fmt.Sprintf("%040x refs/heads/%050000d\n", i+1, i)
			if i == 0 {
				line = fmt.Sprintf("%040x HEAD\x00symref=HEAD:refs/heads/main\n", 1)
			}
			if _, err := w.Write([]byte(pkt(line))); err != nil || i > 800 {
				_, _ = w.Write([]byte("0000"))
				return
			}
		}
	}))
	t.Cleanup(endless.Close)
	for name, tt := range map[string]struct {
		url  string
		want error
		says string
	}{
		"no login":   {s.url("orders"), cyclone.ErrForbidden, "credential"},
		"stalled":    {silentURL, cyclone.ErrUnavailable, "no answer"},
		"too large":  {endless.URL + "/orders.git", cyclone.ErrUnavailable, "larger than"},
		"an option":  {"--upload-pack=id", cyclone.ErrInvalid, "repository.url"},
		"no network": {"http://host.invalid/orders.git", cyclone.ErrUnavailable, "host.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &git.Cloner{Pauses: []time.Duration{}, Stall: 20 * time.Second}
			if name == "stalled" {
				c.Stall = 300 * time.Millisecond
			}
			_, err := c.Heads(t.Context(), cyclone.CloneSpec{URL: tt.url})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Error(err)
			}
		})
	}
}
