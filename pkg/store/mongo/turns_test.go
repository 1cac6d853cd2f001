package mongo

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// One at a time has the turn; who gives up while waiting is in nobody's way.
func TestTurns(t *testing.T) {
	t.Parallel()
	var line turns
	var inside, entered, left atomic.Int64
	var people sync.WaitGroup
	for i := range 200 {
		people.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%3 == 0 {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*10*time.Microsecond)
				defer cancel()
			}
			end, err := line.wait(ctx, "orders")
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) || i%3 != 0 {
					t.Errorf("wait: %v", err)
				}
				left.Add(1)
				return
			}
			defer end()
			entered.Add(1)
			if n := inside.Add(1); n != 1 {
				t.Errorf("%d at once", n)
			}
			runtime.Gosched()
			inside.Add(-1)
		})
	}
	people.Wait()
	if entered.Load()+left.Load() != 200 || entered.Load() < 133 {
		t.Errorf("%d had a turn, %d left", entered.Load(), left.Load())
	}
	if len(line.lines) != 0 {
		t.Errorf("%d lines are left behind", len(line.lines))
	}
}

// Nobody waits for those of another project, and one who leaves does not take
// the turn along.
func TestTurnsOfProjects(t *testing.T) {
	t.Parallel()
	var line turns
	end, err := line.wait(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := line.wait(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := line.wait(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	end()
	again, err := line.wait(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	again()
}
