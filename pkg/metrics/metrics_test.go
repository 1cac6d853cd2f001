package metrics_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/metrics"
)

// census answers with fixed totals, or an error.
type census struct {
	totals cyclone.Totals
	err    error
}

func (c census) Totals(context.Context) (cyclone.Totals, error) { return c.totals, c.err }

// scrape asks the handler as Prometheus does.
func scrape(t *testing.T, m *metrics.Metrics, c cyclone.Census) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler(c).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("%d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// ours are the samples of the server's own metrics, histograms by sum and count.
func ours(text string) []string {
	var lines []string
	for scan := bufio.NewScanner(strings.NewReader(text)); scan.Scan(); {
		if line := scan.Text(); strings.HasPrefix(line, "cyclone_") && !strings.Contains(line, "_bucket{") {
			lines = append(lines, line)
		}
	}
	return lines
}

// busy counts everything once or more.
func busy(m *metrics.Metrics) {
	start, end := time.Unix(100, 0), time.Unix(107, 0)
	m.EventCreated(cyclone.KindPush)
	m.EventFinished(&cyclone.Event{Status: cyclone.StatusFailure, Stages: []cyclone.StageState{
		{Name: cyclone.StageClone, Status: cyclone.StatusSuccess, StartedAt: &start, FinishedAt: &end},
		{Name: cyclone.StageBuild, Status: cyclone.StatusFailure, StartedAt: &end, FinishedAt: &start}, // a clock was set back
		{Name: cyclone.StageDeploy, Status: cyclone.StatusSkipped},
		{Name: "made up", Status: "so is this", StartedAt: &start, FinishedAt: &end},
	}})
	m.Claimed("local", 3*time.Second)
	m.Claimed("local", -time.Second)
	m.LaunchFailed("local")
	m.Caches("local", 512<<20)
	m.WorkerLost("local")
	m.EventRetried("local")
	for _, outcome := range []string{metrics.DeliveryAccepted, metrics.DeliveryAgain, metrics.DeliveryRejected, metrics.DeliveryRefused, metrics.DeliveryFailed, metrics.DeliveryParked} {
		m.Delivery("github", outcome)
	}
	m.Delivery("anything in an address", metrics.DeliveryRejected)
	m.Delivery("anything else", metrics.DeliveryRejected)
	for _, outcome := range []string{metrics.NoticeDone, metrics.NoticeFailed, metrics.NoticeGaveUp} {
		m.Notice(cyclone.NoticeMail, outcome)
	}
	m.CronSlot(metrics.SlotFired, 1)
	m.CronSlot(metrics.SlotMissed, 41)
	m.CronSlot(metrics.SlotFailed, 0)
	m.Look(cyclone.ViaPoll, metrics.LookDone)
	m.Look(cyclone.ViaMissed, metrics.LookFailed)
	m.Found(cyclone.ViaMissed, 2)
	m.LogStored(cyclone.Chunk{First: 1, Count: 40, Data: make([]byte, 1000)})
	_ = m.Viewer() // stays
	left := m.Viewer()
	left()
	left() // a second call changes nothing
	_ = m.WorkerConnected()
	m.WorkerConnected()()
	m.StoreCall("read", 20*time.Millisecond, false)
	m.StoreCall("write", 2*time.Second, true)
	m.Node(&cyclone.Node{Name: "local", Capacity: 4, Ready: true, Disk: &cyclone.Disk{Free: 5, Total: 50}})
	m.Node(&cyclone.Node{Name: "draining", Capacity: 2, Ready: true, Drain: true})
	m.Node(&cyclone.Node{Name: "gone", Ready: true, Disk: &cyclone.Disk{Free: 7, Total: 70}})
	m.NodeLeft("gone")
	m.NodeLeft("never seen")
	m.Disk(metrics.PlaceStore, cyclone.Disk{Free: 6, Total: 60})
	m.Removed(metrics.RemovedEvents, 3)
	m.Removed(metrics.RemovedLogs, 2)
	m.Removed(metrics.RemovedDeliveries, 0)
}

func TestWhatIsCounted(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	busy(m)
	text := scrape(t, m, census{totals: cyclone.Totals{Pending: 7, Blocked: 1, Running: 2, Notices: 3, DeliveriesWaiting: 4, DeliveriesParked: 5}})
	want := strings.Split(strings.TrimSpace(`
cyclone_cache_bytes{node="local"} 5.36870912e+08
cyclone_claims_total{node="local"} 2
cyclone_cron_slots_total{outcome="fired"} 1
cyclone_cron_slots_total{outcome="missed"} 41
cyclone_deliveries_parked 5
cyclone_deliveries_total{outcome="accepted",scm="github"} 1
cyclone_deliveries_total{outcome="again",scm="github"} 1
cyclone_deliveries_total{outcome="failed",scm="github"} 1
cyclone_deliveries_total{outcome="parked",scm="github"} 1
cyclone_deliveries_total{outcome="refused",scm="github"} 1
cyclone_deliveries_total{outcome="rejected",scm="github"} 1
cyclone_deliveries_total{outcome="rejected",scm="other"} 2
cyclone_deliveries_waiting 4
cyclone_disk_free_bytes{place="node local"} 5
cyclone_disk_free_bytes{place="store"} 6
cyclone_disk_total_bytes{place="node local"} 50
cyclone_disk_total_bytes{place="store"} 60
cyclone_event_wait_seconds_count 2
cyclone_event_wait_seconds_sum 3
cyclone_events_created_total{kind="push"} 1
cyclone_events_finished_total{status="failure"} 1
cyclone_events_retried_total{node="local"} 1
cyclone_events{status="blocked"} 1
cyclone_events{status="pending"} 7
cyclone_events{status="running"} 2
cyclone_launch_failures_total{node="local"} 1
cyclone_leases_lost_total{node="local"} 1
cyclone_log_bytes_total 1000
cyclone_log_lines_total 40
cyclone_log_viewers 1
cyclone_node_capacity{node="draining"} 2
cyclone_node_capacity{node="local"} 4
cyclone_node_ready{node="draining"} 0
cyclone_node_ready{node="local"} 1
cyclone_notices_total{notice="mail",outcome="done"} 1
cyclone_notices_total{notice="mail",outcome="failed"} 1
cyclone_notices_total{notice="mail",outcome="gave_up"} 1
cyclone_outbox_events 3
cyclone_queue_oldest_seconds 0
cyclone_repository_changes_total{via="missed"} 2
cyclone_repository_looks_total{outcome="done",via="poll"} 1
cyclone_repository_looks_total{outcome="failed",via="missed"} 1
cyclone_retention_removed_total{kind="deliveries"} 0
cyclone_retention_removed_total{kind="events"} 3
cyclone_retention_removed_total{kind="logs"} 2
cyclone_stage_duration_seconds_count{stage="build",status="failure"} 1
cyclone_stage_duration_seconds_count{stage="clone",status="success"} 1
cyclone_stage_duration_seconds_count{stage="other",status="other"} 1
cyclone_stage_duration_seconds_sum{stage="build",status="failure"} 0
cyclone_stage_duration_seconds_sum{stage="clone",status="success"} 7
cyclone_stage_duration_seconds_sum{stage="other",status="other"} 7
cyclone_store_errors_total 1
cyclone_store_seconds_count{call="read"} 1
cyclone_store_seconds_count{call="write"} 1
cyclone_store_seconds_sum{call="read"} 0.02
cyclone_store_seconds_sum{call="write"} 2
cyclone_store_up 1
cyclone_workers_connected 1`), "\n")
	got := ours(text)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", `cyclone_event_wait_seconds_bucket{le="5"} 2`, `cyclone_store_seconds_bucket{call="read",le="0.025"} 1`} {
		if !strings.Contains(text, name) {
			t.Errorf("%s is missing", name)
		}
	}
}

// How long the oldest event waits is counted from now.
func TestQueueAge(t *testing.T) {
	t.Parallel()
	for ago, want := range map[time.Duration]string{90 * time.Second: "cyclone_queue_oldest_seconds 9", -time.Hour: "cyclone_queue_oldest_seconds 0\n"} {
		text := scrape(t, metrics.New(), census{totals: cyclone.Totals{Pending: 1, OldestPending: time.Now().Add(-ago)}})
		if !strings.Contains(text, want) {
			t.Errorf("after %s: %q is missing", ago, want)
		}
	}
}

// A store that is away is told, and hides nothing else.
func TestCensusFails(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	busy(m)
	text := scrape(t, m, census{err: cyclone.Unavailable("store is away")})
	for _, line := range []string{"cyclone_store_up 0\n", "cyclone_log_lines_total 40\n", `cyclone_node_ready{node="local"} 1`} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing", line)
		}
	}
	for _, name := range []string{"cyclone_events{", "cyclone_outbox_events", "cyclone_queue_oldest_seconds", "store is away"} {
		if strings.Contains(text, name) {
			t.Errorf("%s is there, though nobody could count", name)
		}
	}
	if text := scrape(t, m, nil); strings.Contains(text, "cyclone_store_up") {
		t.Error("nobody was asked, but the store is up or down")
	}
}

// Every method may be called on nil, those that are added later too.
func TestNil(t *testing.T) {
	t.Parallel()
	var none *metrics.Metrics
	busy(none)
	v := reflect.ValueOf(none)
	for i := range v.NumMethod() {
		var in []reflect.Value
		for j := range v.Method(i).Type().NumIn() {
			kind := v.Method(i).Type().In(j)
			if kind.Kind() == reflect.Pointer {
				in = append(in, reflect.New(kind.Elem()))
			} else {
				in = append(in, reflect.Zero(kind))
			}
		}
		for _, out := range v.Method(i).Call(in) {
			if left, ok := out.Interface().(func()); ok {
				left()
			}
		}
	}
	answer := httptest.NewRecorder()
	none.Handler(nil).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusNotFound {
		t.Errorf("status %d", answer.Code)
	}
}

func TestNamesAreGood(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	busy(m)
	problems, err := promlint.New(strings.NewReader(scrape(t, m, census{}))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Many rooms count at once while Prometheus reads.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				busy(m)
			}
		})
		all.Go(func() { scrape(t, m, census{}) })
	}
	all.Wait()
	if text := scrape(t, m, census{}); !strings.Contains(text, "cyclone_log_lines_total 16000\n") {
		t.Error("lines were lost")
	}
}
