package mongo_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/mongo"
)

// change is a call that changes something, and how to tell that it did once.
type change struct {
	name    string
	prepare func(t *testing.T, s *mongo.Store) *cyclone.Event
	do      func(t *testing.T, s *mongo.Store, e *cyclone.Event) error
	once    func(t *testing.T, s *mongo.Store, e *cyclone.Event) bool
}

func pending(t *testing.T, s *mongo.Store) *cyclone.Event {
	e := newEvent("")
	ok(t, s.Events.Create(t.Context(), e))
	return e
}

func claimBy(worker string) cyclone.Claim {
	return cyclone.Claim{Project: "orders", Worker: cyclone.WorkerID(worker), Now: time.Now(), Lease: time.Minute}
}

func running(t *testing.T, s *mongo.Store) *cyclone.Event {
	pending(t, s)
	e, err := s.Events.Claim(t.Context(), claimBy("w"))
	ok(t, err)
	return e
}

func count(t *testing.T, s *mongo.Store, statuses ...cyclone.Status) int {
	t.Helper()
	l, err := s.Events.List(t.Context(), cyclone.EventQuery{Statuses: statuses})
	ok(t, err)
	return l.Total
}

func found(t *testing.T, s *mongo.Store, e *cyclone.Event) *cyclone.Event {
	t.Helper()
	f, err := s.Events.Find(t.Context(), e.ID)
	ok(t, err)
	return f
}

var changes = []change{
	{"create event", func(*testing.T, *mongo.Store) *cyclone.Event { return newEvent("key") },
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) error { return s.Events.Create(t.Context(), e) },
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) bool {
			return count(t, s) == 1 && e.Number == 1 && found(t, s, e).Number == 1
		}},
	{"claim", func(t *testing.T, s *mongo.Store) *cyclone.Event { pending(t, s); return pending(t, s) },
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) error {
			got, err := s.Events.Claim(t.Context(), claimBy("w"))
			if err == nil && (got.Number != 1 || got.Worker.Attempt != 1) {
				err = fmt.Errorf("claimed number %d, attempt %d", got.Number, got.Worker.Attempt)
			}
			return err
		},
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) bool {
			return count(t, s, cyclone.StatusRunning) == 1
		}},
	{"renew", running,
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) error {
			_, err := s.Events.Renew(t.Context(), cyclone.Fence{Event: e.ID, Worker: "w", Attempt: 1}, e.Run.LeaseUntil.Add(time.Hour))
			return err
		},
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) bool {
			return found(t, s, e).Run.LeaseUntil.Equal(e.Run.LeaseUntil.Add(time.Hour))
		}},
	{"replace event", running,
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) error {
			e.Status, e.Reason = cyclone.StatusSuccess, "mine"
			return s.Events.Replace(t.Context(), e)
		},
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) bool {
			f := found(t, s, e)
			return f.Reason == "mine" && f.Run.Revision == 3 && e.Run.Revision == 3
		}},
	{"append", running,
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) error {
			return s.Logs.Append(t.Context(), e.ID, cyclone.Chunk{First: 1, Count: 2, Data: []byte("text")})
		},
		func(t *testing.T, s *mongo.Store, e *cyclone.Event) bool {
			chunks, err := s.Logs.Chunks(t.Context(), e.ID, 1, 10)
			return err == nil && len(chunks) == 1 && bytes.Equal(chunks[0].Data, []byte("text"))
		}},
	{"put file", pending,
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) error {
			_, err := s.Files.Put(t.Context(), artifact("a"), strings.NewReader("text"))
			return err
		},
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) bool { return fileHolds(t, s, "a", "text") }},
	{"put file over another", func(t *testing.T, s *mongo.Store) *cyclone.Event { put(t, s, "a", "old"); return nil },
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) error {
			_, err := s.Files.Put(t.Context(), artifact("a"), strings.NewReader("text"))
			return err
		},
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) bool {
			files, err := s.Files.List(t.Context(), "e", "")
			return fileHolds(t, s, "a", "text") && err == nil && len(files) == 1
		}},
	{"create delivery", pending,
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) error {
			return s.Deliveries.Create(t.Context(), &cyclone.Delivery{ID: "d", SCM: "github", Project: "orders"})
		},
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) bool {
			l, err := s.Deliveries.List(t.Context(), "orders", cyclone.Page{})
			return err == nil && l.Total == 1
		}},
	{"create and replace project", pending,
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) error {
			p := &cyclone.Project{Name: "orders"}
			return errors.Join(s.Projects.Create(t.Context(), p), s.Projects.Replace(t.Context(), p))
		},
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) bool {
			p, err := s.Projects.Find(t.Context(), "orders")
			return err == nil && p.Revision == 2
		}},
	{"lease and setting", pending,
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) error {
			held, err := s.Leases.Acquire(t.Context(), "l", "me", time.Now(), time.Minute)
			value, once := s.Settings.SetOnce(t.Context(), "id", []byte("mine"))
			if !held || string(value) != "mine" {
				err = errors.Join(err, fmt.Errorf("held %v, value %q", held, value))
			}
			return errors.Join(err, once)
		},
		func(t *testing.T, s *mongo.Store, _ *cyclone.Event) bool {
			held, err := s.Leases.Acquire(t.Context(), "l", "other", time.Now(), time.Minute)
			return !held && err == nil
		}},
}
