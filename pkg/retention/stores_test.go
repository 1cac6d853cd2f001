package retention_test

import (
	"sync/atomic"
	"testing"

	"cyclone/pkg/store/embeddedtest"
)

// each runs a test on the store in memory and on a real one.
func each(t *testing.T, test func(t *testing.T, open func(*testing.T) stores)) {
	t.Helper()
	for name, open := range map[string]func(*testing.T) stores{
		"memory":   func(*testing.T) stores { return memory() },
		"embedded": onDisk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

func onDisk(t *testing.T) stores {
	t.Helper()
	s := embeddedtest.Open(t)
	return stores{s.Projects, s.Events, s.Logs, s.Files, s.Deliveries, new(atomic.Int64)}
}
