package embedded_test

import (
	"testing"

	"cyclone/pkg/store/embedded"
	"cyclone/pkg/store/embeddedtest"
	"cyclone/pkg/store/storetest"
)

// open opens a store in a folder and closes it at the end of the test.
func open(t testing.TB, dir string) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func parts(s *embedded.Store) storetest.Stores {
	return storetest.Stores{
		Projects: s.Projects, Events: s.Events, Queue: s.Events, Logs: s.Logs, Files: s.Files,
		Deliveries: s.Deliveries, Clusters: s.Clusters, Secrets: s.Secrets, Settings: s.Settings,
		Leases: s.Leases, Nodes: s.Nodes, Marks: s.Marks, Census: s,
	}
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Stores { return parts(embeddedtest.Open(t)) })
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b testing.TB) storetest.Stores { return parts(open(b, b.TempDir())) })
}
