package connect_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/connect"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
)

// second is another server on the same store.
func (w *world) second(now func() time.Time) *connect.Connector {
	c := w.Connector
	return &connect.Connector{Projects: c.Projects, Secrets: c.Secrets, Marks: c.Marks, Sealer: c.Sealer, Drivers: c.Drivers,
		Heads: c.Heads, ExternalURL: c.ExternalURL, Apps: c.Apps, Now: now, Log: c.Log}
}

// Of two servers and many callers one renews a token that runs out, and all
// get the new one.
func TestRenewalRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(2 * time.Hour)
	w.login("bob")
	p := w.byAccount()
	before, err := w.Credential(t.Context(), p)
	if err != nil || w.exchanges() != 1 {
		t.Fatalf("%v, %d exchanges", err, w.exchanges())
	}
	w.clock.move(2*time.Hour - 4*time.Minute)
	other := w.second(w.clock.Now)
	var mu sync.Mutex
	var group sync.WaitGroup
	tokens := map[string]int{}
	for i := range 16 {
		server := w.Connector
		if i%2 == 1 {
			server = other
		}
		group.Go(func() {
			got, err := server.Credential(t.Context(), p)
			if err != nil {
				t.Errorf("credential: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			tokens[got.Password]++
		})
	}
	group.Wait()
	if len(tokens) != 1 || tokens[before.Password] != 0 || w.exchanges() != 2 {
		t.Errorf("%d tokens, the old one %d times, %d exchanges", len(tokens), tokens[before.Password], w.exchanges())
	}
	if _, err := w.MayWrite(t.Context(), p, "bob"); err != nil {
		t.Errorf("the new token: %v", err)
	}
}

// A caller that gives up in the middle does not cost the grant: its result is
// saved all the same.
func TestRenewalOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(2 * time.Hour)
	w.login("bob")
	p := w.byAccount()
	w.clock.move(3 * time.Hour)
	wait := make(chan struct{})
	w.forge.Inject(fakeforge.Fault{Path: "/access_token", Wait: wait, Times: 1})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := w.Credential(ctx, p)
		done <- err
	}()
	w.awaitClaim()
	cancel()
	close(wait)
	if err := <-done; err != nil {
		t.Errorf("renewal: %v", err)
	}
	if _, err := w.Credential(t.Context(), p); err != nil || w.exchanges() != 2 {
		t.Errorf("%v, %d exchanges", err, w.exchanges())
	}
}

// awaitClaim waits until a renewal has written its claim.
func (w *world) awaitClaim() {
	w.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		if marks := w.marks("account/"); len(marks) == 1 && marks[0].Revision == 2 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatal("nobody renews")
}

// When a server dies over a renewal, another takes over after a while; and the
// first, should it come back, uses what the other got.
func TestRenewalOfADeadServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(2 * time.Hour)
	w.login("bob")
	p := w.byAccount()
	w.clock.move(3 * time.Hour)
	wait := make(chan struct{})
	w.forge.Inject(fakeforge.Fault{Path: "/access_token", Wait: wait, Times: 1})
	type result struct {
		got cyclone.Credential
		err error
	}
	dead := make(chan result)
	go func() {
		got, err := w.Credential(t.Context(), p)
		dead <- result{got, err}
	}()
	w.awaitClaim()
	later := &clock{now: w.clock.Now().Add(46 * time.Second)}
	got, err := w.second(later.Now).Credential(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	close(wait)
	if r := <-dead; r.err != nil || r.got != got {
		t.Errorf("the first one got %v, %v", r.got == got, r.err)
	}
}

// What a forge that refuses or fails means for a token that still lasts, and
// for one that does not.
func TestRenewalFails(t *testing.T) {
	t.Parallel()
	refused := fakeforge.Fault{Path: "/access_token", Status: 200, Body: `{"error":"bad_refresh_token","error_description":"used"}`}
	refused.Header = map[string][]string{"Content-Type": {"application/json"}}
	down := fakeforge.Fault{Path: "/access_token", Status: 503}
	for _, tt := range []struct {
		name  string
		fault fakeforge.Fault
		moved time.Duration
		kind  error // of the first call
		then  error // once the forge works again
	}{
		{"down, lasts", down, 2*time.Hour - time.Minute, nil, nil},
		{"down, over", down, 3 * time.Hour, cyclone.ErrUnavailable, nil},
		{"refused, lasts", refused, 2*time.Hour - time.Minute, nil, nil},
		{"refused, over", refused, 3 * time.Hour, cyclone.ErrForbidden, cyclone.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.app(2 * time.Hour)
			w.login("bob")
			p := w.byAccount()
			w.clock.move(tt.moved)
			w.forge.Inject(tt.fault)
			_, err := w.Credential(t.Context(), p)
			if !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
			w.forge.Heal()
			if _, err = w.Credential(t.Context(), p); !errors.Is(err, tt.then) {
				t.Errorf("then got %v, want %v", err, tt.then)
			}
			if tt.then != nil {
				w.wantError(err, tt.then, "scm login", "bad_refresh_token")
				if all, err := w.Accounts(t.Context()); err != nil || all[0].Broken == "" {
					t.Errorf("account %+v, %v", all, err)
				}
				w.login("bob")
				if _, err := w.Credential(t.Context(), p); err != nil {
					t.Errorf("connected anew: %v", err)
				}
			}
		})
	}
}
