package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// Bench measures what a server does most, on an empty store each.
func Bench(b *testing.B, open func(testing.TB) Stores) {
	b.Run("claim by 50 at once", func(b *testing.B) { benchClaim(b, open(b), 50) })
	b.Run("hook, 16 at once", func(b *testing.B) {
		s := open(b)
		var n atomic.Int64
		spread(b, 16, func(ctx context.Context) error { return hook(ctx, s, fmt.Sprint(n.Add(1))) })
	})
	b.Run("delivery, 16 at once", func(b *testing.B) {
		s := open(b)
		var n atomic.Int64
		spread(b, 16, func(ctx context.Context) error {
			_, err := deliverHook(ctx, s, fmt.Sprint(n.Add(1)))
			return err
		})
	})
}

// spread shares b.N calls among clients.
func spread(b *testing.B, clients int, do func(context.Context) error) {
	ctx := context.Background()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	for _, err := range together(clients, func(int) error {
		for left.Add(-1) >= 0 {
			if err := do(ctx); err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "per-second")
}

// benchClaim has workers claim b.N events of five projects.
func benchClaim(b *testing.B, s Stores, workers int) {
	const projects = 5
	project := func(i int64) cyclone.ProjectName { return cyclone.ProjectName(fmt.Sprintf("p%d", i%projects)) }
	for i := range b.N {
		e := newEvent(project(int64(i)))
		must(b, s.Events.Create(context.Background(), e))
	}
	var next atomic.Int64
	spread(b, workers, func(ctx context.Context) error {
		for range projects {
			n := next.Add(1)
			_, err := s.Queue.Claim(ctx, cyclone.Claim{
				Project: project(n), Worker: cyclone.WorkerID(fmt.Sprint(n)), Now: time.Now(), Lease: time.Minute,
			})
			if !errors.Is(err, cyclone.ErrNotFound) {
				return err
			}
		}
		return nil // the others took the rest
	})
}

// hook does what the arrival of a delivery does to the store: three writes.
func hook(ctx context.Context, s Stores, id string) error {
	d, err := deliverHook(ctx, s, id)
	if err != nil {
		return err
	}
	e := newEvent("orders")
	e.Run.Key = "github/orders/" + id + "/0"
	if err := s.Events.Create(ctx, e); err != nil {
		return err
	}
	d.HandledAt, d.Events = new(time.Now()), []cyclone.EventID{e.ID}
	return s.Deliveries.Replace(ctx, d)
}

// deliverHook stores a delivery of 8 KB, after which a hook is answered.
func deliverHook(ctx context.Context, s Stores, id string) (*cyclone.Delivery, error) {
	d := delivery(id, 0)
	d.ReceivedAt, d.Body = time.Now(), make([]byte, 8000)
	return d, s.Deliveries.Create(ctx, d)
}
