package svn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
	"cyclone/pkg/scm/svn"
)

func TestRefused(t *testing.T) {
	t.Parallel()
	ok := "svn://example.com/shop"
	for _, s := range []cyclone.CloneSpec{
		{URL: ""}, {URL: "file:///srv/svn"}, {URL: "/srv/svn"}, {URL: "svn+evil://example.com/x"}, {URL: "--config-dir=/x"}, {URL: "git@example.com:x"},
		{URL: "svn://alice@example.com/x"}, {URL: "https://alice:pw@example.com/x"}, {URL: "svn+ssh://alice:pw@example.com/x"}, {URL: "svn+ssh://-oProxyCommand=id@example.com/x"},
		{URL: "svn+ssh://-x/y"}, {URL: "svn+ssh://exa*mple/y"}, {URL: "svn://example.com/a/../b"}, {URL: "svn://example.com/a//b"}, {URL: "svn://example.com/a%0Ab"},
		{URL: "svn://example.com/x?y"}, {URL: "svn://example.com/x#y"}, {URL: "svn:///x"}, {URL: "svn:x"}, {URL: "svn://example.com/" + strings.Repeat("x", 5000)},
		{URL: ok, Ref: "refs/heads/../../x"}, {URL: ok, Ref: "a\nb"}, {URL: ok, Ref: "/x"}, {URL: ok, Ref: "x/"}, {URL: ok, Ref: "a\xff"},
		{URL: ok, SHA: "42"}, {URL: ok, SHA: "r0"}, {URL: ok, SHA: "r-1"}, {URL: ok, SHA: "rHEAD"}, {URL: ok, SHA: "r1:2"}, {URL: ok, SHA: "r99999999999999999999"},
		{URL: ok, Password: "a\nb"}, {URL: ok, Username: "a\x00"}, {URL: ok, Merge: true}, {URL: "svn+ssh://svn@example.com/x", HostKeys: []string{"no key"}},
	} {
		_, _, out, err := clone(t, s)
		if !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
		if out.all() != "" {
			t.Errorf("%+v: svn ran: %s", s, out.all())
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/file": "one"})
	var broken atomic.Int32
	url := front(t, func(conn net.Conn) {
		if broken.Add(-1) >= 0 {
			return
		}
		carry(conn, w.Addr)
	}) + "/shop"
	broken.Store(2)
	if _, _, out, err := clone(t, cyclone.CloneSpec{URL: url}); err != nil || strings.Count(out.all(), "trying again") != 2 {
		t.Errorf("comes back: %v\n%s", err, out.all())
	}
	broken.Store(1 << 20)
	if _, _, _, err := clone(t, cyclone.CloneSpec{URL: url}); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("stays away: %v", err)
	}
	if _, _, _, err := clone(t, cyclone.CloneSpec{URL: "svn://host.invalid/shop"}); !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "host.invalid") {
		t.Errorf("no such host: %v", err)
	}
	if _, _, _, err := clone(t, cyclone.CloneSpec{URL: "http://127.0.0.1:1/shop"}); !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "machine or container") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestSilentHost(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{}, 8)
	url := front(t, func(conn net.Conn) {
		heard <- struct{}{}
		_, _ = io.Copy(io.Discard, conn) // until svn is gone
	}) + "/shop"
	c := &svn.Cloner{Pauses: []time.Duration{}, Stall: 400 * time.Millisecond}
	if _, err := c.Heads(t.Context(), cyclone.CloneSpec{URL: url}); !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "no answer for 400ms") {
		t.Error(err)
	}
	<-heard
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("somebody asked")
	go func() {
		<-heard
		cancel(why)
	}()
	if _, err := fast().Clone(ctx, cyclone.CloneSpec{URL: url, Dir: t.TempDir()}, &recorder{}); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// A host that sends svn elsewhere: the login is not for that place.
func TestMovedRepository(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if h := r.Header.Get("Authorization"); h != "" {
			t.Errorf("another host was sent %q", h)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="svn"`)
		http.Error(w, "login needed", http.StatusUnauthorized)
	}))
	defer other.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusMovedPermanently)
	}))
	defer front.Close()
	spec := cyclone.CloneSpec{URL: front.URL + "/shop", Username: "alice", Password: secret, Patience: time.Hour}
	_, _, out, err := clone(t, spec)
	if !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), "has moved to "+other.URL) {
		t.Errorf("%v\n%s", err, out.all())
	}
	if _, err := fast().Heads(t.Context(), spec); !errors.Is(err, cyclone.ErrNotFound) || asked.Load() == 0 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}

// front listens for svn and gives each connection to serve.
func front(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
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
			go func() {
				serve(conn)
				_ = conn.Close()
			}()
		}
	}()
	return "svn://" + l.Addr().String()
}

func carry(conn net.Conn, address string) {
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(to, conn)
		_ = to.Close()
	}()
	_, _ = io.Copy(conn, to)
}

func TestSSH(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/file": "one"})
	key, stranger := newKey(t), newKey(t)
	server, err := lab.StartSSH(t.Context(), "127.0.0.1", w.dir, key.Public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	var learned []string
	learn := func(keys []string) { learned = keys }
	got, dir, out, err := clone(t, cyclone.CloneSpec{URL: server.SvnURL("shop"), SHA: "r1", Password: key.Private, Learned: learn})
	if err != nil || got.SHA != "r1" || content(t, dir, "file") != "one" {
		t.Fatalf("%+v, %v\n%s", got, err, out.all())
	}
	if len(learned) != 1 || learned[0] != server.Host.Public {
		t.Fatalf("learned %q, the key is %q", learned, server.Host.Public)
	}
	if h, err := fast().Heads(t.Context(), cyclone.CloneSpec{URL: server.SvnURL("shop"), Password: key.Private, HostKeys: learned}); err != nil || h.Refs["refs/heads/trunk"] != "r1" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, _, out, err := clone(t, cyclone.CloneSpec{URL: server.SvnURL("shop"), Password: stranger.Private}); !errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("another key: %v\n%s", err, out.all())
	}
	_, _, out, err = clone(t, cyclone.CloneSpec{URL: server.SvnURL("shop"), Password: key.Private, HostKeys: []string{stranger.Public}})
	if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), server.Host.Fingerprint()) || !strings.Contains(err.Error(), stranger.Fingerprint()) {
		t.Errorf("another host key: %v\n%s", err, out.all())
	}
}

func newKey(t *testing.T) lab.Key {
	t.Helper()
	k, err := lab.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}
