package mongo_test

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/mongo"
)

// Whoever observes is told of each call by its kind, and only of those as
// failed for which there was no server.
func TestObserver(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	good, failed := map[string]int{}, map[string]int{}
	uri, kill := startServer(t)
	s, err := mongo.Open(t.Context(), inDatabase(t, uri, "cyclone-observed")+"?serverSelectionTimeoutMS=1000", func(call string, _ time.Duration, bad bool) {
		mu.Lock()
		defer mu.Unlock()
		if bad {
			failed[call]++
		} else {
			good[call]++
		}
	}, slog.New(slog.DiscardHandler))
	ok(t, err)
	t.Cleanup(func() { _ = s.Close() }) // its server is gone
	e := pending(t, s)
	running(t, s)
	for _, err := range []error{s.Events.Delete(t.Context(), e.ID), s.Events.Create(t.Context(), &cyclone.Event{ID: e.ID, Project: "other"})} {
		if !errors.Is(err, cyclone.ErrConflict) {
			t.Errorf("%v; want a conflict", err)
		}
	}
	mu.Lock()
	for _, call := range []string{"read", "insert", "update", "other"} {
		if good[call] == 0 {
			t.Errorf("no %s was seen: %v", call, good)
		}
	}
	if len(good) > 5 || len(failed) > 0 {
		t.Errorf("seen were %v, and as failed %v", good, failed)
	}
	mu.Unlock()
	kill()
	for range 2 { // the first may notice by the connection that it has
		if err := s.Ping(t.Context()); !errors.Is(err, cyclone.ErrUnavailable) {
			t.Errorf("ping: %v; want ErrUnavailable", err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if failed["connect"] == 0 {
		t.Errorf("a server that is away was not seen: %v", failed)
	}
}
