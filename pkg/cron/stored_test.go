package cron_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cron"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embeddedtest"
	"cyclone/pkg/trigger"
)

// Three servers on a real store that all think they lead, in real time: their
// clocks show the end of a minute. Real events come of it.
func TestOnAStore(t *testing.T) {
	t.Parallel()
	store, w := embeddedtest.Open(t), newWorld(t)
	begun := time.Now()
	slot := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC) // 02:00 in Berlin, which is left out
	now := func() time.Time { return slot.Add(-300*time.Millisecond + time.Since(begun)) }
	p := &cyclone.Project{Name: "orders", CreatedAt: now(), UpdatedAt: now(), Triggers: cyclone.Triggers{Cron: []cyclone.CronTrigger{
		{Schedule: "30 2 * * *", Timezone: "Europe/Berlin", Branch: "main"},
	}}}
	if err := store.Projects.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	var stops []func()
	for range 3 {
		fires := &trigger.Trigger{Projects: store.Projects, Events: store.Events, Deliveries: store.Deliveries, Log: log, Now: now}
		stops = append(stops, w.start(&cron.Cron{Projects: store.Projects, Marks: store.Marks, Trigger: fires, Log: log, Now: now}))
	}
	deadline := time.Now().Add(20 * time.Second)
	for stored := ""; stored != "2026-03-29T01:00:00Z"; {
		if time.Now().After(deadline) {
			t.Fatalf("the mark is %q; log: %s", stored, w.log.text.String())
		}
		marks, err := store.Marks.List(t.Context(), "orders", "cron/")
		if err != nil {
			t.Fatal(err)
		}
		if len(marks) == 1 {
			stored = string(marks[0].Value)
		}
		time.Sleep(10 * time.Millisecond) // of a poll, with a deadline
	}
	for _, stop := range stops {
		stop()
	}
	list, err := store.Events.List(t.Context(), cyclone.EventQuery{Project: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Fatalf("%d events; log: %s", len(list.Items), w.log.text.String())
	}
	e := list.Items[0]
	if e.Trigger.Kind != cyclone.KindCron || e.Branch != "main" || e.Status != cyclone.StatusPending || e.CreatedAt.Before(slot) || !strings.HasPrefix(e.Run.Key, "cron/orders/") {
		t.Errorf("event %+v", e)
	}
}
