package cron_test

import (
	"log/slog"
	"testing"
	"time"

	"cyclone/pkg/cron"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embeddedtest"
)

// Three servers on a real store that all think they lead, in real time: their
// clocks show the end of a minute.
func TestOnAStore(t *testing.T) {
	t.Parallel()
	store := embeddedtest.Open(t)
	w := newWorld(t)
	begun := time.Now()
	slot := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC) // 02:00 in Berlin, which is left out
	now := func() time.Time { return slot.Add(-300*time.Millisecond + time.Since(begun)) }
	p := &cyclone.Project{Name: "orders", CreatedAt: now(), UpdatedAt: now(), Triggers: cyclone.Triggers{Cron: []cyclone.CronTrigger{
		{Schedule: "30 2 * * *", Timezone: "Europe/Berlin"},
	}}}
	if err := store.Projects.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c := &cron.Cron{Projects: store.Projects, Marks: store.Marks, Trigger: w, Log: slog.New(slog.NewTextHandler(w.log, nil)), Now: now}
		defer w.start(c)()
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
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.fired) != 1 || !w.fired[0].slot.Equal(slot) {
		t.Errorf("fired: %v; want %s once", w.fired, slot)
	}
}
