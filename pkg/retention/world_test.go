package retention_test

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/retention"
)

const day = 24 * time.Hour

// now is a fixed time at which everything is judged.
var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// stores is what retention works on.
type stores struct {
	projects   cyclone.ProjectStore
	events     cyclone.EventStore
	logs       cyclone.LogStore
	files      cyclone.FileStore
	deliveries cyclone.DeliveryStore
	made       *atomic.Int64 // events
}

func memory() stores {
	m := cyclonetest.NewMemory()
	return stores{m.Projects, m.Events, m.Logs, m.Files, m.Deliveries, new(atomic.Int64)}
}

func (s stores) retention(defaults cyclone.Retention) *retention.Retention {
	return &retention.Retention{
		Projects: s.projects, Events: s.events, Logs: s.logs, Files: s.files, Deliveries: s.deliveries, Defaults: defaults,
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
	}
}

func (s stores) project(t *testing.T, name cyclone.ProjectName, own *cyclone.Retention) {
	t.Helper()
	if err := s.projects.Create(t.Context(), &cyclone.Project{Name: name, Retention: own, CreatedAt: now.Add(-1000 * day)}); err != nil {
		t.Fatal(err)
	}
}

// event stores an event of so many days ago, which ended at once and has a log.
func (s stores) event(t *testing.T, project cyclone.ProjectName, days int, change func(*cyclone.Event)) *cyclone.Event {
	t.Helper()
	at := now.Add(-time.Duration(days) * day)
	e := &cyclone.Event{Project: project, Status: cyclone.StatusSuccess, CreatedAt: at, FinishedAt: &at, LogLines: 2}
	if change != nil {
		change(e)
	}
	// Ids and keys that no other has.
	e.ID = cyclone.EventID(fmt.Sprintf("%s-%06d", e.Project, s.made.Add(1)))
	e.Run.Key = string(e.ID)
	if err := s.events.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if e.LogLines > 0 {
		s.log(t, e)
	}
	return e
}

func (s stores) log(t *testing.T, e *cyclone.Event) {
	t.Helper()
	c := cyclone.Chunk{First: 1, Count: 2, Data: []byte("one\ntwo\n")} // stores never look inside
	if err := s.logs.Append(t.Context(), e.ID, c); err != nil {
		t.Fatal(err)
	}
}

func (s stores) delivery(t *testing.T, project cyclone.ProjectName, days int, handled bool) {
	t.Helper()
	at := now.Add(-time.Duration(days) * day)
	d := &cyclone.Delivery{ID: cyclone.DeliveryID("d" + strconv.Itoa(days)), SCM: "github", Project: project, ReceivedAt: at}
	if handled {
		d.HandledAt = &at
	}
	if err := s.deliveries.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// left describes a project's events, newest first: the age in days, and what
// became of the log: "" there, "-" removed, "?" marked but still there, "!"
// removed without a mark.
func (s stores) left(t *testing.T, project cyclone.ProjectName) string {
	t.Helper()
	var words []string
	for page := (cyclone.Page{Limit: 200}); ; {
		l, err := s.events.List(t.Context(), cyclone.EventQuery{Project: project, Page: page})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range l.Items {
			last, err := s.logs.Last(t.Context(), e.ID)
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, strconv.Itoa(int(now.Sub(e.CreatedAt)/day))+fate(e, last))
		}
		if page.Cursor = l.Next; l.Next == "" {
			return strings.Join(words, " ")
		}
	}
}

func fate(e *cyclone.Event, last int64) string {
	switch marked, there := e.LogRemovedAt != nil, last > 0; {
	case marked && there:
		return "?"
	case marked:
		return "-"
	case !there && e.LogLines > 0:
		return "!"
	}
	return ""
}

// totals are the numbers of a report.
func totals(r cyclone.RetentionReport) [3]int { return [3]int{r.Events, r.Logs, r.Deliveries} }

// keep reads a policy: "90d,500".
func keep(t *testing.T, text string) *cyclone.Keep {
	t.Helper()
	if text == "" {
		return nil
	}
	k, err := retention.ParseKeep(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// said is what was logged.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// logged collects what is logged.
func logged() (*slog.Logger, *said) {
	s := &said{}
	return slog.New(slog.NewTextHandler(s, nil)), s
}
