package httpapi_test

import (
	"io"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// BenchmarkTail opens the last 200 lines of logs of several lengths, by GET
// and by the stream.
func BenchmarkTail(b *testing.B) {
	f := newFixture(b)
	f.project("orders")
	for _, total := range []int64{1000, 100_000, 10_000_000} {
		e := f.large(total)
		b.Run("get/lines="+strconv.FormatInt(total, 10), func(b *testing.B) {
			for b.Loop() {
				f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/logs?tail=200", "")
			}
		})
		b.Run("stream/lines="+strconv.FormatInt(total, 10), func(b *testing.B) {
			for b.Loop() {
				v := f.watch(e, "?tail=200", total-199)
				v.upTo(total)
				_ = v.conn.Close()
			}
		})
	}
}

// BenchmarkViewers shows a live log of a million lines to five hundred
// viewers, and 500 live logs to one viewer each.
func BenchmarkViewers(b *testing.B) {
	for _, logs := range []int{1, 500} {
		b.Run("viewers=500/logs="+strconv.Itoa(logs), func(b *testing.B) { benchmarkViewers(b, logs, 500, 200_000) })
	}
}

// benchmarkViewers reports how many lines a second viewers get together while
// so many lines are appended in all, and how much memory that takes at most.
func benchmarkViewers(b *testing.B, logs, count int, total int64) {
	const per = 1000
	for b.Loop() {
		f := newFixture(b)
		f.project("orders")
		events := make([]*cyclone.Event, logs)
		for i := range events {
			events[i] = f.event("orders", cyclone.StatusRunning)
		}
		before := heap()
		var all sync.WaitGroup
		for i := range count {
			v := f.watch(events[i%logs], "", 1)
			all.Go(func() { drainViewer(b, v) })
		}
		stop, most := make(chan struct{}), make(chan int64)
		go func() { most <- peak(stop) }()
		start := time.Now()
		each := max(total/int64(logs)/per*per, per)
		for from := int64(1); from <= each; from += per {
			for _, e := range events {
				f.append(e, from, from+per-1)
			}
		}
		written := time.Since(start)
		for _, e := range events {
			f.finish(e, each)
		}
		all.Wait()
		took := time.Since(start)
		close(stop)
		b.ReportMetric(float64(each)*float64(count)/took.Seconds(), "lines/s")
		b.ReportMetric(float64(each)*float64(logs)/written.Seconds(), "written/s")
		b.ReportMetric(float64(<-most-before)/(1<<20), "MiB")
	}
}

// drainViewer reads a stream to its end without looking at it.
func drainViewer(b *testing.B, v *viewer) {
	_ = v.conn.SetReadDeadline(time.Now().Add(5 * time.Minute))
	for {
		_, r, err := v.conn.NextReader()
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Error(err)
			return
		}
	}
}

// peak is the largest heap until stop.
func peak(stop <-chan struct{}) int64 {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var m runtime.MemStats
	most := int64(0)
	for {
		select {
		case <-stop:
			return most
		case <-tick.C:
			runtime.ReadMemStats(&m)
			most = max(most, int64(m.HeapAlloc))
		}
	}
}
