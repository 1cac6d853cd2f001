package cyclonetest_test

import (
	"testing"

	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/store/storetest"
)

// The stores in memory keep the same contract as the real ones.
func TestMemoryContract(t *testing.T) {
	storetest.Run(t, func(testing.TB) storetest.Stores {
		m := cyclonetest.NewMemory()
		return storetest.Stores{
			Projects: m.Projects, Events: m.Events, Queue: m.Events, Logs: m.Logs, Files: m.Files,
			Deliveries: m.Deliveries, Clusters: m.Clusters, Secrets: m.Secrets, Settings: m.Settings,
			Leases: m.Leases, Nodes: m.Nodes, Marks: m.Marks, Census: m,
		}
	})
}
