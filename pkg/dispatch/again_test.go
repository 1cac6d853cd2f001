package dispatch_test

import (
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
	"cyclone/pkg/progress"
)

// With progress itself behind the dispatcher: an event whose worker dies has
// its second worker a moment after the next tick, whenever that happens; and
// the first worker is gone by then.
func TestSecondAttempt(t *testing.T) {
	for _, after := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 900 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.project("a", cyclone.Limits{})
			w.Progress = &progress.Progress{
				Events: w.store.Events, Queue: w.store.Events, Projects: w.store.Projects, Logs: w.store.Logs, Hub: livelog.New(),
				Launcher: w.node, Node: "local", Nodes: w.store.Nodes, Log: w.Log, Now: time.Now, Wake: w.Wake,
			}
			id := w.pending("a")
			stop := w.start()
			defer stop()
			first := w.launchedAt(0)
			time.Sleep(after) // into the tick
			w.node.set(func(n *node) {
				n.workers[first.ID] = cyclone.WorkerState{ID: first.ID, Event: id, Detail: "exit code 137"}
			})
			died := time.Now()
			second := w.launchedAt(1)
			t.Logf("the second attempt began %s after the worker's death", time.Since(died))
			if second.Attempt != 2 || second.Event != id {
				t.Errorf("second worker %+v", second)
			}
			w.node.set(func(n *node) {
				if _, there := n.workers[first.ID]; there {
					t.Error("the first worker is still there")
				}
			})
		})
	}
}

// launchedAt waits for the n-th launched worker.
func (w *world) launchedAt(n int) cyclone.WorkerSpec {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if specs := w.node.launched(); len(specs) > n {
			return specs[n]
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("worker %d was not launched in time", n)
		}
	}
}
