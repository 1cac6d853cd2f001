package embedded_test

import (
	"os"
	"path/filepath"
	"testing"

	"cyclone/pkg/store/embedded"
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
		Leases: s.Leases, Nodes: s.Nodes, Census: s,
	}
}

func TestContract(t *testing.T) {
	// Making the tables takes longer than most of what is tested on them.
	empty := emptyFile(t)
	storetest.Run(t, func(t testing.TB) storetest.Stores {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "cyclone.db"), empty, 0o600); err != nil {
			t.Fatal(err)
		}
		return parts(open(t, dir))
	})
}

// emptyFile is what a store that was opened for the first time leaves.
func emptyFile(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	s, err := embedded.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "cyclone.db"))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b testing.TB) storetest.Stores { return parts(open(b, b.TempDir())) })
}
