package livelog_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/livelog"
)

func publish(h *livelog.Hub, key string, values ...int) {
	for _, v := range values {
		h.Publish(key, livelog.Message{Size: 100, Value: v})
	}
}

func next(t *testing.T, r *livelog.Reader) livelog.Message {
	t.Helper()
	m, err := r.Next(t.Context())
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return m
}

// Many topics share what one may keep: together they hold no more.
func TestManyTopicsKeepLessEach(t *testing.T) {
	t.Parallel()
	h := &livelog.Hub{Retain: 100 << 10, Total: 200 << 10}
	read := func(r *livelog.Reader) int {
		count := 0
		for {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			switch _, err := r.Next(ctx); {
			case errors.Is(err, livelog.ErrLagged):
				return -1
			case err != nil:
				return count
			}
			count++
		}
	}
	for _, topics := range []int{1, 20} {
		var readers []*livelog.Reader
		for i := range topics {
			r := h.Subscribe(strconv.Itoa(i))
			readers = append(readers, r)
		}
		for range 50 { // 50 KiB each: fits into one topic of one, not into one of twenty
			for i := range topics {
				h.Publish(strconv.Itoa(i), livelog.Message{Size: 1 << 10})
			}
		}
		want := 50
		if topics > 2 {
			want = -1
		}
		for i, r := range readers {
			if got := read(r); got != want {
				t.Errorf("%d topics: reader %d got %d messages, want %d", topics, i, got, want)
			}
			r.Close()
		}
	}
}

func TestReadersSeeAllInOrder(t *testing.T) {
	h := livelog.New()
	a, b := h.Subscribe("e1"), h.Subscribe("e1")
	other := h.Subscribe("e2")
	defer a.Close()
	defer b.Close()
	defer other.Close()
	publish(h, "e1", 1, 2, 3)
	publish(h, "e2", 9)
	for _, r := range []*livelog.Reader{a, b} {
		for want := 1; want <= 3; want++ {
			m := next(t, r)
			if m.Value != want || m.Seq != int64(want-1) {
				t.Errorf("got %v at %d, want %d", m.Value, m.Seq, want)
			}
		}
	}
	if m := next(t, other); m.Value != 9 {
		t.Errorf("other topic got %v", m.Value)
	}
}

func TestLaterReaderStartsAtNow(t *testing.T) {
	h := livelog.New()
	first := h.Subscribe("e")
	defer first.Close()
	publish(h, "e", 1, 2)
	late := h.Subscribe("e")
	defer late.Close()
	publish(h, "e", 3)
	if m := next(t, late); m.Value != 3 {
		t.Errorf("got %v, want 3", m.Value)
	}
}

func TestLaggingReaderIsToldOnceAndGoesOn(t *testing.T) {
	h := &livelog.Hub{Retain: 1000}
	r := h.Subscribe("e")
	defer r.Close()
	for i := range 100 {
		publish(h, "e", i)
	}
	if _, err := r.Next(t.Context()); !errors.Is(err, livelog.ErrLagged) {
		t.Fatalf("err = %v, want ErrLagged", err)
	}
	publish(h, "e", 100)
	if m := next(t, r); m.Value != 100 {
		t.Errorf("got %v, want 100", m.Value)
	}
}

func TestMessageLargerThanRetainedIsDelivered(t *testing.T) {
	h := &livelog.Hub{Retain: 10}
	r := h.Subscribe("e")
	defer r.Close()
	publish(h, "e", 1)
	if m := next(t, r); m.Value != 1 {
		t.Errorf("got %v", m.Value)
	}
}

func TestTopicIsFreedWithItsLastReader(t *testing.T) {
	h := livelog.New()
	a, b := h.Subscribe("e"), h.Subscribe("e")
	a.Close()
	a.Close()
	if n := h.Topics(); n != 1 {
		t.Errorf("topics = %d with a reader left", n)
	}
	b.Close()
	publish(h, "e", 1)
	if n := h.Topics(); n != 0 {
		t.Errorf("topics = %d, want 0", n)
	}
	if _, err := b.Next(t.Context()); !errors.Is(err, livelog.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := livelog.New()
		r := h.Subscribe("e")
		go func() {
			time.Sleep(time.Hour)
			publish(h, "e", 1)
			time.Sleep(time.Hour)
			r.Close()
		}()
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := r.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v, want the context's", err)
		}
		if m := next(t, r); m.Value != 1 {
			t.Errorf("got %v", m.Value)
		}
		if _, err := r.Next(t.Context()); !errors.Is(err, livelog.ErrClosed) {
			t.Errorf("err = %v, want ErrClosed", err)
		}
	})
}

// Five hundred readers and one writer: the writer waits for nobody, every
// reader sees an unbroken sequence or is told, and memory stays bounded.
func TestManyReaders(t *testing.T) {
	const readers, messages = 500, 2000
	h := &livelog.Hub{Retain: 64 << 10}
	var wg sync.WaitGroup
	for i := range readers {
		r := h.Subscribe("e")
		wg.Go(func() {
			defer r.Close()
			if err := readTo(t.Context(), r, messages-1); err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	for i := range messages {
		h.Publish("e", livelog.Message{Size: 1 << 10, Value: i})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for finished := false; !finished; {
		// Whoever lost the last value to lagging gets it again.
		h.Publish("e", livelog.Message{Size: 1 << 10, Value: messages - 1})
		select {
		case <-done:
			finished = true
		default:
			runtime.Gosched()
		}
	}
	if n := h.Topics(); n != 0 {
		t.Errorf("topics = %d after the last reader left", n)
	}
}

// readTo reads up to the last value and checks that nothing is missing but
// where the reader was told that it lagged.
func readTo(ctx context.Context, r *livelog.Reader, last int) error {
	want, lagged := 0, false
	for {
		m, err := r.Next(ctx)
		if errors.Is(err, livelog.ErrLagged) {
			lagged = true
			continue
		}
		if err != nil {
			return err
		}
		got, ok := m.Value.(int)
		if !ok || (got != want && !lagged) || got < want {
			return fmt.Errorf("got %v, want %d", m.Value, want)
		}
		want, lagged = got+1, false
		if got == last {
			return nil
		}
	}
}

func BenchmarkPublish500Readers(b *testing.B) {
	h := livelog.New()
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for range 500 {
		r := h.Subscribe("e")
		wg.Go(func() {
			defer r.Close()
			for {
				if _, err := r.Next(ctx); err != nil && !errors.Is(err, livelog.ErrLagged) {
					return
				}
			}
		})
	}
	for b.Loop() {
		h.Publish("e", livelog.Message{Size: 1 << 10})
	}
	cancel()
	wg.Wait()
}
