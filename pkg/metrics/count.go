package metrics

import (
	"slices"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// other stands for every value that is not one of those known here. Labels of
// Prometheus must be few, and some of these come from outside: the forge's name
// from an address, a stage's from a worker.
const other = "other"

// forges are the names that deliveries come under.
var forges = []string{"github", "gitlab", "gitea", "git", "svn", "poll"}

func known[T ~string](all []T, v T) string {
	if slices.Contains(all, v) {
		return string(v)
	}
	return other
}

// seconds of a span; clocks of two machines can make it negative.
func seconds(d time.Duration) float64 { return max(d, 0).Seconds() }

// EventCreated counts a new event.
func (m *Metrics) EventCreated(kind cyclone.TriggerKind) {
	if m != nil {
		m.created.WithLabelValues(string(kind)).Inc()
	}
}

// EventFinished counts an event that became final, with its stages.
func (m *Metrics) EventFinished(e *cyclone.Event) {
	if m == nil {
		return
	}
	m.finished.WithLabelValues(string(e.Status)).Inc()
	for _, s := range e.Stages {
		if s.StartedAt != nil && s.FinishedAt != nil {
			m.stages.WithLabelValues(known(cyclone.Stages, s.Name), known(cyclone.Statuses, s.Status)).Observe(seconds(s.FinishedAt.Sub(*s.StartedAt)))
		}
	}
}

// Claimed counts an event that was claimed for a node after it had waited.
func (m *Metrics) Claimed(node string, waited time.Duration) {
	if m != nil {
		m.claims.WithLabelValues(node).Inc()
		m.waited.Observe(seconds(waited))
	}
}

// LaunchFailed counts a worker that could not be started.
func (m *Metrics) LaunchFailed(node string) {
	if m != nil {
		m.launches.WithLabelValues(node).Inc()
	}
}

// WorkerLost counts a worker that died or fell silent.
func (m *Metrics) WorkerLost(node string) {
	if m != nil {
		m.lost.WithLabelValues(node).Inc()
	}
}

// EventRetried counts an event that starts again after its worker was lost.
func (m *Metrics) EventRetried(node string) {
	if m != nil {
		m.retried.WithLabelValues(node).Inc()
	}
}

// Outcomes of deliveries.
const (
	DeliveryAccepted = "accepted" // stored
	DeliveryAgain    = "again"    // was there already
	DeliveryRejected = "rejected" // wrong signature
	DeliveryRefused  = "refused"  // unreadable, or about another repository
	DeliveryFailed   = "failed"   // an attempt at handling it failed; it is tried again
	DeliveryParked   = "parked"   // given up
)

// Delivery counts what became of a forge's delivery.
func (m *Metrics) Delivery(scm, outcome string) {
	if m != nil {
		m.deliveries.WithLabelValues(known(forges, scm), outcome).Inc()
	}
}

// Outcomes of notices.
const (
	NoticeDone   = "done"
	NoticeFailed = "failed"
	NoticeGaveUp = "gave_up"
)

// Notice counts an attempt to tell somebody about an event.
func (m *Metrics) Notice(name, outcome string) {
	if m != nil {
		m.notices.WithLabelValues(name, outcome).Inc()
	}
}

// Outcomes of slots of cron triggers.
const (
	SlotFired  = "fired"
	SlotMissed = "missed" // passed over: a later one fired instead
	SlotFailed = "failed" // an attempt at it failed; it is tried again
)

// CronSlot counts slots of cron triggers.
func (m *Metrics) CronSlot(outcome string, n int) {
	if m != nil && n > 0 {
		m.slots.WithLabelValues(outcome).Add(float64(n))
	}
}

// Outcomes of looks at repositories.
const (
	LookDone   = "done"
	LookFailed = "failed"
)

// Look counts a look at the heads of a repository: cyclone.ViaPoll, or
// cyclone.ViaMissed for the daily comparison.
func (m *Metrics) Look(via, outcome string) {
	if m != nil {
		m.looks.WithLabelValues(via, outcome).Inc()
	}
}

// Found counts branches and tags that such a look found changed.
func (m *Metrics) Found(via string, n int) {
	if m != nil && n > 0 {
		m.found.WithLabelValues(via).Add(float64(n))
	}
}

// LogStored counts a stored chunk.
func (m *Metrics) LogStored(c cyclone.Chunk) {
	if m != nil {
		m.lines.Add(float64(c.Count))
		m.bytes.Add(float64(len(c.Data)))
	}
}

// Viewer counts somebody who follows a log, until the returned function is called.
func (m *Metrics) Viewer() (left func()) {
	if m == nil {
		return func() {}
	}
	m.viewers.Inc()
	return sync.OnceFunc(m.viewers.Dec)
}

// WorkerConnected counts a connected worker, until the returned function is called.
func (m *Metrics) WorkerConnected() (left func()) {
	if m == nil {
		return func() {}
	}
	m.connected.Inc()
	return sync.OnceFunc(m.connected.Dec)
}

// StoreCall counts a call of the store; failed means that the store could not
// be reached or written, not that there was nothing to be found.
func (m *Metrics) StoreCall(call string, took time.Duration, failed bool) {
	if m == nil {
		return
	}
	m.store.WithLabelValues(call).Observe(took.Seconds())
	if failed {
		m.storeErrors.Inc()
	}
}

// Node notes the state of a node.
func (m *Metrics) Node(n *cyclone.Node) {
	if m == nil {
		return
	}
	ready := 0.0
	if n.Ready && !n.Drain {
		ready = 1
	}
	m.nodeReady.WithLabelValues(n.Name).Set(ready)
	m.nodeCapacity.WithLabelValues(n.Name).Set(float64(n.Capacity))
	if n.Disk != nil {
		m.Disk(nodePlace(n.Name), *n.Disk)
	}
}

// Caches notes how much a node keeps between events, in bytes.
func (m *Metrics) Caches(node string, size cyclone.Size) {
	if m != nil {
		m.cacheBytes.WithLabelValues(node).Set(float64(size))
	}
}

// NodeLeft forgets a node that this server no longer dispatches for: what it
// saw last is another server's to say.
func (m *Metrics) NodeLeft(name string) {
	if m == nil {
		return
	}
	m.nodeReady.DeleteLabelValues(name)
	m.nodeCapacity.DeleteLabelValues(name)
	m.cacheBytes.DeleteLabelValues(name)
	m.diskFree.DeleteLabelValues(nodePlace(name))
	m.diskTotal.DeleteLabelValues(nodePlace(name))
}

func nodePlace(node string) string { return "node " + node }

// PlaceStore is the disk of the data folder.
const PlaceStore = "store"

// Disk notes the free space of a place: PlaceStore, or a node's.
func (m *Metrics) Disk(place string, d cyclone.Disk) {
	if m != nil {
		m.diskFree.WithLabelValues(place).Set(float64(d.Free))
		m.diskTotal.WithLabelValues(place).Set(float64(d.Total))
	}
}

// Kinds of what retention removes.
const (
	RemovedEvents     = "events"
	RemovedLogs       = "logs"
	RemovedFiles      = "artifacts"
	RemovedDeliveries = "deliveries"
)

// Removed counts what retention removed.
func (m *Metrics) Removed(kind string, n int) {
	if m != nil {
		m.removed.WithLabelValues(kind).Add(float64(n))
	}
}
