package trigger_test

import (
	"errors"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

// A project of Subversion may be a folder of the repository that the payload
// is about, whose scripts may not know its address at all.
func TestRepositoryOfSubversion(t *testing.T) {
	cases := []struct {
		payload []string
		fits    bool
	}{
		{nil, true},
		{[]string{"svn://svn.example.com/all/orders"}, true},
		{[]string{"svn://svn.example.com:3690/all/"}, true},
		{[]string{"https://svn.example.com/all"}, true},
		{[]string{"svn://svn.example.com/al"}, false},
		{[]string{"svn://svn.example.com/all/orders2"}, false},
		{[]string{"svn://evil.org/all"}, false},
		{[]string{""}, false},
	}
	for _, c := range cases {
		w := newWorld(t, func(p *cyclone.Project) {
			p.Repository = cyclone.Repository{Type: "svn", URL: "svn://svn.example.com/all/orders"}
		})
		err := w.Deliver(t.Context(), w.stored(with(push("trunk"), func(h *cyclone.Hook) {
			h.Repositories, h.Commit.SHA = c.payload, "r42"
		})))
		if (err == nil) != c.fits || err != nil && !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("payload %q: %v", c.payload, err)
		}
	}
}

func TestRepository(t *testing.T) {
	same := []string{
		"https://github.com/acme/orders.git", "https://github.com/acme/orders", "https://github.com/acme/orders/",
		"http://github.com:80/acme/orders", "https://github.com:443/acme/orders", "git://github.com/acme/orders.git",
		"git@github.com:acme/orders.git", "github.com:acme/orders", "ssh://git@github.com/acme/orders",
		"ssh://git@github.com:22/acme/orders.git", "https://user:pass@github.com/acme/orders", "https://GitHub.com/Acme/Orders.git",
		" https://github.com/acme/orders ", "git@github.com:/acme/orders.git",
	}
	other := []string{
		"https://github.com/acme/orders2", "https://github.com/evil/orders", "https://github.com.evil.org/acme/orders",
		"https://evil.org/github.com/acme/orders", "https://github.com:8443/acme/orders", "file:///github.com/acme/orders", "", "orders",
	}
	for _, project := range same {
		for _, payload := range same {
			w := newWorld(t, func(p *cyclone.Project) { p.Repository.URL = project })
			if err := w.Deliver(t.Context(), w.stored(with(push("main"), func(h *cyclone.Hook) {
				h.Repositories = []string{"https://mirror.example.com/x", payload}
			}))); err != nil {
				t.Errorf("project %q, payload %q: %v", project, payload, err)
			}
		}
	}
	for _, payload := range append(other, "") {
		w := newWorld(t, nil)
		d := w.stored(with(push("main"), func(h *cyclone.Hook) {
			h.Repositories = []string{payload}
		}))
		err := w.Deliver(t.Context(), d)
		if !errors.Is(err, cyclone.ErrInvalid) || d.HandledAt == nil || d.Error == "" || len(d.Events) != 0 {
			t.Errorf("payload %q: Deliver = %v, delivery %+v", payload, err, d)
		}
	}
	w := newWorld(t, nil)
	err := w.Deliver(t.Context(), w.stored(with(push("main"), func(h *cyclone.Hook) {
		h.Repositories = []string{"https://alice:hunter2@evil.org/x"}
	})))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the message is %v", err)
	}
}
