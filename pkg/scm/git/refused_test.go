package git_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/git"
)

const edKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

func TestRefused(t *testing.T) {
	t.Parallel()
	ok := "https://example.com/acme/orders.git"
	for _, s := range []cyclone.CloneSpec{
		{URL: ""}, {URL: "file:///etc"}, {URL: "/srv/orders.git"}, {URL: "ext::sh -c id"}, {URL: "git://example.com/x"},
		{URL: "-oProxyCommand=id"}, {URL: "ssh://-oProxyCommand=id/x"}, {URL: "ssh://-x@example.com/x"}, {URL: "-x@example.com:a"},
		{URL: "git@example.com:-x"}, {URL: "https://user:pw@example.com/x.git"}, {URL: "https://token@example.com/x.git"},
		{URL: "https://example.com"}, {URL: "https://example.com/x?token=1"}, {URL: "https://exa mple.com/x"}, {URL: "https://example.com/x\n"},
		{URL: "ssh://git:pw@example.com/x"}, {URL: "ext::https://example.com/x"}, {URL: "ssh://git@example.com/-x"},
		{URL: ok, Ref: "--upload-pack=id"}, {URL: ok, Ref: "-x"}, {URL: ok, Ref: "a..b"}, {URL: ok, Ref: "a b"}, {URL: ok, Ref: "+main:x"},
		{URL: ok, Ref: "main:refs/heads/x"}, {URL: ok, Ref: "a@{1}"}, {URL: ok, Ref: "a\nb"}, {URL: ok, Ref: "x.lock"}, {URL: ok, Ref: "refs/heads/*"},
		{URL: ok, SHA: "HEAD"}, {URL: ok, SHA: "-abcdef"}, {URL: ok, SHA: "abc"}, {URL: ok, SHA: "ABCDEF12"},
		{URL: ok, Password: "a\nhost=evil"}, {URL: ok, Username: "a\r"}, {URL: ok, Merge: true}, {URL: ok, Merge: true, Ref: "refs/pull/1/merge"},
		{URL: "ssh://git@exa*mple.com/x"}, {URL: "ssh://git@example.com/x", HostKeys: []string{"ssh-ed25519 rubbish"}},
		{URL: "git@example.com:x", HostKeys: []string{"command=\"id\" " + edKey}}, {URL: "git@example.com:x", HostKeys: []string{edKey + "\nexample.org " + edKey}},
	} {
		_, _, out, err := clone(t, s)
		if !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
		if out.all() != "" {
			t.Errorf("%+v: git ran: %s", s, out.all())
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.repository(t, "orders").commit("file", "one", "First")
	t.Run("comes back", func(t *testing.T) {
		s.broken.Store(2)
		_, _, out, err := clone(t, cyclone.CloneSpec{URL: s.url("orders")})
		if err != nil || strings.Count(out.text[cyclone.System], "trying again") != 2 {
			t.Errorf("%v\n%s", err, out.all())
		}
	})
	t.Run("stays away", func(t *testing.T) {
		s.broken.Store(1 << 20)
		defer s.broken.Store(0)
		_, _, _, err := clone(t, cyclone.CloneSpec{URL: s.url("orders")})
		if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "502") {
			t.Error(err)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + l.Addr().String() + "/orders.git"
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		_, _, _, err = clone(t, cyclone.CloneSpec{URL: url})
		if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), url) {
			t.Error(err)
		}
	})
	t.Run("no such host", func(t *testing.T) {
		_, _, _, err := clone(t, cyclone.CloneSpec{URL: "https://host.invalid/orders.git"})
		if !errors.Is(err, cyclone.ErrUnavailable) {
			t.Error(err)
		}
	})
}

// silent accepts connections and says nothing.
func silent(t *testing.T) (url string, accepted <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	heard := make(chan struct{}, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			heard <- struct{}{}
		}
	}()
	return "http://" + l.Addr().String() + "/orders.git", heard
}

func TestSilentHost(t *testing.T) {
	t.Parallel()
	url, _ := silent(t)
	c := &git.Cloner{Pauses: []time.Duration{}, Stall: 300 * time.Millisecond}
	_, err := c.Clone(t.Context(), cyclone.CloneSpec{URL: url, Dir: t.TempDir()}, &recorder{})
	if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "no answer") {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	url, accepted := silent(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("somebody asked")
	go func() {
		<-accepted
		cancel(why)
	}()
	_, err := fast().Clone(ctx, cyclone.CloneSpec{URL: url, Dir: t.TempDir()}, &recorder{})
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}
