package mongo_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/mongo"
)

// through opens a store behind a proxy.
func through(t testing.TB, uri, name string) (*proxy, *mongo.Store) {
	t.Helper()
	p, uri := front(t, uri)
	s, err := mongo.Open(t.Context(), inDatabase(t, uri, name), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // connections may be broken
	return p, s
}

func newEvent(key string) *cyclone.Event {
	e := &cyclone.Event{Project: "orders", Status: cyclone.StatusPending}
	e.Run.Key = key
	return e
}

// ok ends the test on an error.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFaults runs all at the same time, beyond the number of processors: they
// mostly wait.
func TestFaults(t *testing.T) {
	t.Parallel()
	uri := server(t)
	atOnce(t, map[string]func(t *testing.T){
		"lost answers":       func(t *testing.T) { lostAnswers(t, uri) },
		"step down":          func(t *testing.T) { stepDown(t, uri) },
		"silent server":      func(t *testing.T) { silentServer(t, uri) },
		"slow server":        func(t *testing.T) { slowServer(t, uri) },
		"down in the middle": downInTheMiddle,
	})
}

func atOnce(t *testing.T, checks map[string]func(t *testing.T)) {
	var all sync.WaitGroup
	for name, check := range checks {
		all.Go(func() { t.Run(name, check) })
	}
	all.Wait()
}

// lostAnswers has each call's writes fail in each way, up to twice, before they
// get through. The call succeeds all the same, and what it did is done once.
func lostAnswers(t *testing.T, uri string) {
	checks := map[string]func(t *testing.T){}
	for _, c := range changes {
		for way, what := range map[string]fate{"primary steps down": refused, "request lost": cutBefore, "answer lost": cutAfter} {
			checks[c.name+", "+way] = func(t *testing.T) {
				p, s := through(t, uri, strings.ReplaceAll("cyclone-lost "+c.name+" "+way, " ", "-"))
				e := c.prepare(t, s)
				var left atomic.Int32
				left.Store(2)
				p.become(func(command string) fate {
					if isWrite(command) && left.Add(-1) >= 0 {
						return what
					}
					return passed
				})
				if err := c.do(t, s, e); err != nil {
					t.Fatalf("%v", err)
				}
				if left.Load() > 1 {
					t.Error("no write went through the proxy")
				}
				if !c.once(t, s, e) {
					t.Error("it was not done exactly once")
				}
			}
		}
	}
	atOnce(t, checks)
}

// stepDown has four clients go on while the primary is
// refusing, losing requests and losing answers at random. No event is doubled
// or lost, no event has two owners, and no line is lost.
func stepDown(t *testing.T, uri string) {
	p, s := through(t, uri, "cyclone-stepdown")
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(1, 2)) //#nosec G404 -- the same faults each time
	p.become(func(command string) fate {
		mu.Lock()
		defer mu.Unlock()
		if !isWrite(command) && command != "find" || dice.IntN(16) > 0 {
			return passed
		}
		return []fate{refused, cutBefore, cutAfter}[dice.IntN(3)]
	})
	const each, clients = 4, 4
	owners := map[cyclone.EventID][]cyclone.WorkerID{}
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				if err := oneLife(t, s, fmt.Sprintf("%d-%d", c, i), &mu, owners); err != nil {
					t.Errorf("client %d, event %d: %v", c, i, err)
				}
			}
		})
	}
	all.Wait()
	p.become(func(string) fate { return passed })
	if n := count(t, s); n != each*clients {
		t.Errorf("there are %d events; want %d", n, each*clients)
	}
	if n := count(t, s, cyclone.StatusSuccess); n != each*clients || len(owners) != n {
		t.Errorf("%d events are done and %d had an owner; want %d", n, len(owners), each*clients)
	}
	for id, who := range owners {
		last, err := s.Logs.Last(t.Context(), id)
		if len(who) != 1 || last != 3 || err != nil {
			t.Errorf("event %s was given to %v, its log ends at line %d, %v; want one owner and 3 lines", id, who, last, err)
		}
	}
}

// oneLife creates an event and takes one, perhaps another's, to its end. Calls
// that fail are repeated, as their callers do.
func oneLife(t *testing.T, s *mongo.Store, name string, mu *sync.Mutex, owners map[cyclone.EventID][]cyclone.WorkerID) error {
	ctx := t.Context()
	if err := patiently(func() error { return s.Events.Create(ctx, newEvent(name)) }); err != nil && !errors.Is(err, cyclone.ErrConflict) {
		return err
	}
	var e *cyclone.Event
	err := patiently(func() (err error) { e, err = s.Events.Claim(ctx, claimBy(name)); return err })
	if err != nil {
		return err
	}
	mu.Lock()
	owners[e.ID] = append(owners[e.ID], e.Worker.ID)
	mu.Unlock()
	for line := int64(1); line <= 3; line++ {
		chunk := cyclone.Chunk{First: line, Count: 1, Data: []byte(name)}
		if err := patiently(func() error { return s.Logs.Append(ctx, e.ID, chunk) }); err != nil {
			return err
		}
	}
	e.Status = cyclone.StatusSuccess
	return patiently(func() error { return s.Events.Replace(ctx, e) })
}

// patiently repeats a call while the store is unavailable.
func patiently(call func() error) error {
	var err error
	for range 20 {
		if err = call(); !errors.Is(err, cyclone.ErrUnavailable) {
			return err
		}
	}
	return err
}

// downInTheMiddle kills the server: calls fail within a bounded time and
// say why, and succeed on the same store as soon as it is back.
func downInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	uri, kill := startServer(t, "--dir", dir)
	s, err := mongo.Open(t.Context(), inDatabase(t, uri, "cyclone-down"), nil, slog.New(slog.DiscardHandler))
	ok(t, err)
	t.Cleanup(func() { _ = s.Close() }) // the server may be away
	e := running(t, s)
	kill()
	var all sync.WaitGroup
	for name, call := range map[string]func() error{
		"find":   func() error { _, err := s.Events.Find(t.Context(), e.ID); return err },
		"create": func() error { return s.Events.Create(t.Context(), newEvent("lost")) },
		"append": func() error {
			return s.Logs.Append(t.Context(), e.ID, cyclone.Chunk{First: 1, Count: 1, Data: []byte("x")})
		},
		"ping": func() error { return s.Ping(t.Context()) },
	} {
		all.Go(func() {
			begin := time.Now()
			err := call()
			if took := time.Since(begin); !errors.Is(err, cyclone.ErrUnavailable) || took > 15*time.Second {
				t.Errorf("%s failed after %v with %v; want the kind unavailable within about ten seconds", name, took, err)
			}
		})
	}
	all.Wait()
	startServer(t, "--dir", dir, "--address", strings.Trim(strings.TrimPrefix(uri, "mongodb://"), "/"))
	begin := time.Now()
	if f := found(t, s, e); f.Status != cyclone.StatusRunning || f.Worker.ID != "w" {
		t.Errorf("after the restart the event is %s of worker %q", f.Status, f.Worker.ID)
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the first call after the return took %v", took)
	}
	_, err = s.Events.Renew(t.Context(), cyclone.Fence{Event: e.ID, Worker: "w", Attempt: 1}, time.Now().Add(time.Hour))
	ok(t, err)
	ok(t, s.Ping(t.Context()))
}

// silentServer takes connections and never answers: it is unavailable too.
func silentServer(t *testing.T, uri string) {
	p, s := through(t, uri, "cyclone-silent")
	e := running(t, s)
	p.become(func(string) fate { return swallowed })
	begin := time.Now()
	err := s.Logs.Append(t.Context(), e.ID, cyclone.Chunk{First: 1, Count: 1, Data: []byte("x")})
	if took := time.Since(begin); !errors.Is(err, cyclone.ErrUnavailable) || took > 15*time.Second {
		t.Errorf("append failed after %v with %v; want the kind unavailable within about ten seconds", took, err)
	}
	p.become(func(string) fate { return passed })
	ok(t, s.Logs.Append(t.Context(), e.ID, cyclone.Chunk{First: 1, Count: 1, Data: []byte("x")}))
}

// warm has a connection made for each call that is to come: a slow server would
// take as long for that as for the call itself.
func warm(t *testing.T, s *mongo.Store) {
	t.Helper()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := s.Leases.Acquire(t.Context(), "warm", "w", time.Now(), time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// slowServer has each command take two seconds: everything is still right.
func slowServer(t *testing.T, uri string) {
	p, s := through(t, uri, "cyclone-slow")
	e := pending(t, s)
	warm(t, s)
	p.become(func(string) fate { return delayed })
	var all sync.WaitGroup
	for name, call := range map[string]func() error{
		"claim": func() error {
			got, err := s.Events.Claim(t.Context(), claimBy("w"))
			if err != nil {
				return err
			}
			got.Status = cyclone.StatusSuccess
			return s.Events.Replace(t.Context(), got)
		},
		"create": func() error { return s.Events.Create(t.Context(), newEvent("slow")) },
		"append": func() error {
			return s.Logs.Append(t.Context(), e.ID, cyclone.Chunk{First: 1, Count: 1, Data: []byte("x")})
		},
		"delivery": func() error {
			return s.Deliveries.Create(t.Context(), &cyclone.Delivery{ID: "d", SCM: "github", Project: "orders"})
		},
		"ping": func() error { return s.Ping(t.Context()) },
	} {
		all.Go(func() {
			if err := call(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
	p.become(func(string) fate { return passed })
	f := found(t, s, e)
	last, err := s.Logs.Last(t.Context(), e.ID)
	if f.Status != cyclone.StatusSuccess || f.Worker.Attempt != 1 || last != 1 || err != nil || count(t, s) != 2 {
		t.Errorf("event %+v, %d lines, %v, %d events", f, last, err, count(t, s))
	}
}
