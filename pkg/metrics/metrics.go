// Package metrics counts what the server does, in the form that Prometheus
// reads. Rooms call its methods; every method may be called on a nil *Metrics,
// which counts nothing, so that no room needs to ask.
//
// It decides nothing and keeps no history: that is Prometheus's work. What it
// offers is listed in docs/operations.md.
package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cyclone/pkg/cyclone"
)

// namespace begins every name.
const namespace = "cyclone"

// Metrics are the server's own. Make it with New.
type Metrics struct {
	registry *prometheus.Registry

	created, finished, claims, launches, lost, retried *prometheus.CounterVec
	deliveries, notices, removed                       *prometheus.CounterVec
	slots, looks, found                                *prometheus.CounterVec
	stages, store                                      *prometheus.HistogramVec
	waited                                             prometheus.Observer
	lines, bytes, storeErrors                          prometheus.Counter
	viewers, connected                                 prometheus.Gauge
	nodeReady, nodeCapacity, diskFree, diskTotal       *prometheus.GaugeVec
	cacheBytes                                         *prometheus.GaugeVec
}

// durations are buckets in seconds, from a container's start to a long build.
var durations = []float64{0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200}

// New returns metrics with everything at zero.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.events()
	m.work()
	m.times()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

func (m *Metrics) events() {
	m.created = m.counters("events_created_total", "Events created, by kind of trigger.", "kind")
	m.finished = m.counters("events_finished_total", "Events that became final, by status.", "status")
	m.stages = m.histograms("stage_duration_seconds", "How long stages ran, by stage and status.", durations, "stage", "status")
	m.waited = m.histograms("event_wait_seconds", "How long events were pending before they were claimed.", durations).WithLabelValues()
	m.claims = m.counters("claims_total", "Events claimed for a worker, by node.", "node")
	m.launches = m.counters("launch_failures_total", "Workers that could not be started, by node.", "node")
	m.lost = m.counters("leases_lost_total", "Workers that died or fell silent, by node.", "node")
	m.retried = m.counters("events_retried_total", "Events put back into the queue after their worker was lost, by node.", "node")
}

func (m *Metrics) work() {
	m.deliveries = m.counters("deliveries_total", "Webhook deliveries, by forge and outcome (accepted, again, rejected, refused, failed, parked).", "scm", "outcome")
	m.notices = m.counters("notices_total", "Attempts to tell somebody about a final event, by notice and outcome (done, failed, gave_up).", "notice", "outcome")
	m.lines = m.counters("log_lines_total", "Log lines stored.").WithLabelValues()
	m.bytes = m.counters("log_bytes_total", "Bytes of log chunks stored, compressed.").WithLabelValues()
	m.viewers = m.gauges("log_viewers", "Websockets that follow a log now.").WithLabelValues()
	m.connected = m.gauges("workers_connected", "Workers connected to this server now.").WithLabelValues()
	m.store = m.histograms("store_seconds", "How long calls of the store took, by kind of call.",
		[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "call")
	m.storeErrors = m.counters("store_errors_total", "Calls of the store that failed because it could not be reached or written.").WithLabelValues()
	m.removed = m.counters("retention_removed_total", "What retention removed (events, logs and artifacts before their events, deliveries).", "kind")
	m.nodeReady = m.gauges("node_ready", "1 while a node takes work, else 0.", "node")
	m.nodeCapacity = m.gauges("node_capacity", "How many workers run on a node at once.", "node")
	m.cacheBytes = m.gauges("cache_bytes", "What a node keeps between events, as of the last look at it.", "node")
	m.diskFree = m.gauges("disk_free_bytes", "Free space, by place (a node, or the store).", "place")
	m.diskTotal = m.gauges("disk_total_bytes", "Size of the file system, by place.", "place")
}

func (m *Metrics) times() {
	m.slots = m.counters("cron_slots_total", "Slots of cron triggers, by outcome (fired, missed, failed).", "outcome")
	m.looks = m.counters("repository_looks_total", "Looks at the heads of repositories, by why (poll, missed) and outcome (done, failed).", "via", "outcome")
	m.found = m.counters("repository_changes_total", "Branches and tags found changed by looking, by why it was looked (poll, missed).", "via")
}

// Handler answers with all metrics. What census counts is asked for at each
// scrape; when it cannot be counted, those are missing from the answer and
// cyclone_store_up is 0. Of a nil m there is nothing to be read: 404.
func (m *Metrics) Handler(census cyclone.Census) http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	all := prometheus.Gatherers{m.registry}
	if census != nil {
		counted := prometheus.NewRegistry()
		counted.MustRegister(&totals{census: census})
		all = append(all, counted)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// totals turns the store's totals into gauges.
type totals struct{ census cyclone.Census }

var (
	storeUp    = desc("store_up", "1 when the store answered this scrape within 5 s, else 0.")
	queueDepth = desc("events", "Events that are not over, by status.", "status")
	queueAge   = desc("queue_oldest_seconds", "How long the event has been pending that waits longest; 0 when none is.")
	outbox     = desc("outbox_events", "Final events with something still to be told.")
	waiting    = desc("deliveries_waiting", "Deliveries neither handled nor parked.")
	parked     = desc("deliveries_parked", "Deliveries given up, which somebody has to redeliver.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// Describe is prometheus.Collector's.
func (c *totals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{storeUp, queueDepth, queueAge, outbox, waiting, parked} {
		ch <- d
	}
}

// censusTime bounds the counting of one scrape.
const censusTime = 5 * time.Second

// Collect is prometheus.Collector's.
func (c *totals) Collect(ch chan<- prometheus.Metric) {
	ctx, stop := context.WithTimeout(context.Background(), censusTime)
	defer stop()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	t, err := c.census.Totals(ctx)
	if err != nil {
		gauge(storeUp, 0)
		return
	}
	gauge(storeUp, 1)
	gauge(queueDepth, float64(t.Pending), string(cyclone.StatusPending))
	gauge(queueDepth, float64(t.Blocked), string(cyclone.StatusBlocked))
	gauge(queueDepth, float64(t.Running), string(cyclone.StatusRunning))
	age := 0.0
	if !t.OldestPending.IsZero() {
		age = seconds(time.Since(t.OldestPending))
	}
	gauge(queueAge, age)
	gauge(outbox, float64(t.Notices))
	gauge(waiting, float64(t.DeliveriesWaiting))
	gauge(parked, float64(t.DeliveriesParked))
}
