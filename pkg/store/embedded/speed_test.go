package embedded_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
)

// bg is the context of calls that nobody cancels.
var bg = context.Background()

// hook does what the arrival of a delivery does to the store.
func hook(s *embedded.Store, id string) error {
	now := time.Now()
	d := &cyclone.Delivery{ID: cyclone.DeliveryID(id), SCM: "github", Project: "orders", ReceivedAt: now, Body: make([]byte, 8000)}
	if err := s.Deliveries.Create(bg, d); err != nil {
		return err
	}
	e := &cyclone.Event{Project: "orders", Status: cyclone.StatusPending}
	e.Run.Key = "github/orders/" + id + "/0"
	if err := s.Events.Create(bg, e); err != nil {
		return err
	}
	d.HandledAt, d.Events = &now, []cyclone.EventID{e.ID}
	return s.Deliveries.Replace(bg, d)
}

// BenchmarkHook is three writes, each on the disk before the next.
func BenchmarkHook(b *testing.B) {
	s := open(b, b.TempDir())
	for n := 0; b.Loop(); n++ {
		if err := hook(s, fmt.Sprint(n)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHooks is many of them at once: commits are shared.
func BenchmarkHooks(b *testing.B) {
	s := open(b, b.TempDir())
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := hook(s, fmt.Sprint(n.Add(1))); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkAppend is a log chunk of 64 KiB.
func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir())
	data := make([]byte, 64<<10)
	b.SetBytes(int64(len(data)))
	for line := int64(1); b.Loop(); line++ {
		if err := s.Logs.Append(bg, "e", cyclone.Chunk{First: line, Count: 1, Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}
