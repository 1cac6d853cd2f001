package cron_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
)

func every(spec string) cyclone.CronTrigger { return cyclone.CronTrigger{Schedule: spec} }

// inBubble runs a test in a time of its own.
func inBubble(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t)) })
}

func TestEachSlotFiresOnceInTime(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("*/10 * * * *"))
		w.put("users", cyclone.CronTrigger{Schedule: "30 2 * * *", Timezone: "Europe/Berlin"})
		w.put("quiet")
		defer w.run("a")()
		pass(2 * time.Hour)
		if n := len(w.fired); n != 2*6+1 {
			t.Errorf("%d fired in two hours", n)
		}
		for _, f := range w.fired {
			if late := f.at.Sub(f.slot); late < 0 || late > time.Second {
				t.Errorf("slot %s of %s fired %s late", f.slot, f.project, late)
			}
		}
		if w.projects.lists > 2*3600/5+1 {
			t.Errorf("the projects were listed %d times", w.projects.lists)
		}
		if lines := w.log.count("\n"); lines != 0 {
			t.Errorf("%d lines were logged: %s", lines, w.log.text.String())
		}
	})
}

func TestAfterDowntimeTheLatestFiresOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("0 * * * *"))
		w.put("users", every("0 4 * * *"))
		stop := w.run("a")
		pass(90 * time.Minute)
		w.want("at first", "01 01:00")
		stop()
		pass(5*time.Hour + 7*time.Minute)
		defer w.run("b")()
		pass(30 * time.Second)
		got := w.take()
		if got != "01 06:00, 01 04:00" && got != "01 04:00, 01 06:00" {
			t.Errorf("after five hours: %q", got)
		}
		if w.log.count("cron trigger fired late") != 2 || w.log.count("passed_over=4") != 1 || w.log.count("passed_over=0") != 1 {
			t.Errorf("log: %s", w.log.text.String())
		}
		pass(time.Hour)
		w.want("later", "01 07:00")
	})
}

func TestNewTriggersBeginFromNow(t *testing.T) {
	inBubble(t, func(w *world) {
		defer w.run("a")()
		pass(30*time.Minute + 3*time.Second)
		w.put("orders", every("0 * * * *"), every("30 * * * *"))
		pass(20 * time.Second)
		w.want("slots before it was there", "")
		pass(2 * time.Hour)
		w.want("slots after that", "01 01:00, 01 01:30, 01 02:00, 01 02:30")
		w.put("orders", every("30 * * * *"), every("15 * * * *")) // one changed, one not
		pass(20 * time.Second)
		w.want("a changed trigger", "")
		pass(time.Hour)
		w.want("the changed one", "01 03:15, 01 03:30")
	})
}

// Written two seconds before its slot and seen after it.
func TestTheFirstSlotIsNotMissed(t *testing.T) {
	inBubble(t, func(w *world) {
		pass(59*time.Minute + 59*time.Second - time.Millisecond)
		defer w.run("a")()
		pass(time.Millisecond) // looked just now
		w.put("orders", every("0 * * * *"))
		pass(10 * time.Second)
		w.want("", "01 01:00")
	})
}

func TestRemovedTriggersAreForgotten(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("0 * * * *"), every("5 * * * *"))
		defer w.run("a")()
		pass(10 * time.Second)
		if n := strings.Count(w.markNames("orders"), "cron/"); n != 2 {
			t.Errorf("marks: %s", w.markNames("orders"))
		}
		w.put("orders", every("5 * * * *"))
		pass(10 * time.Second)
		if n := strings.Count(w.markNames("orders"), "cron/"); n != 1 {
			t.Errorf("marks: %s", w.markNames("orders"))
		}
		pass(3 * time.Hour)
		w.want("the other one", "01 00:05, 01 01:05, 01 02:05")
		w.put("orders", every("5 * * * *"), every("0 * * * *"))
		pass(10 * time.Second)
		w.want("there again: nothing of the past", "")
		pass(time.Hour)
		w.want("there again", "01 03:05, 01 04:00")
		if err := w.store.Projects.Delete(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Hour)
		w.want("without its project", "")
	})
}

// A trigger that goes just before its slot does not fire, even if nobody has
// looked since.
func TestRemovedAtTheLastMoment(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("0 * * * *"))
		defer w.run("a")()
		pass(time.Hour - time.Millisecond)
		w.put("orders", every("30 * * * *"))
		pass(time.Minute)
		w.want("", "")
	})
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("0 * * * *"))
		defer w.run("a")()
		pass(time.Hour - time.Second)
		w.fail(cyclone.Unavailable("the store is away"))
		pass(5 * time.Minute)
		w.want("while the store is away", "")
		if w.refused < 8 || w.refused > 15 || w.log.count("the store is away") != 1 {
			t.Errorf("%d attempts, %d lines", w.refused, w.log.count("the store is away"))
		}
		w.fail(nil)
		pass(time.Minute)
		w.want("when it is back", "01 01:00")
		pass(time.Hour)
		w.want("afterwards", "01 02:00")
	})
}

func TestADeadStoreIsToldOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("0 * * * *"))
		defer w.run("a")()
		pass(time.Minute)
		w.projects.set(cyclone.Unavailable("the store is away"))
		pass(2 * time.Hour)
		w.want("known triggers fire on", "01 01:00, 01 02:00")
		w.projects.set(nil)
		pass(time.Minute)
		if w.log.count("cannot look for cron triggers") != 1 || w.log.count("looked for again") != 1 || w.log.count("\n") != 2 {
			t.Errorf("log: %s", w.log.text.String())
		}
	})
}

// The event is there, but nobody wrote that down: after a crash, or as here
// while marks cannot be written.
func TestBetweenEventAndMark(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("0 * * * *"))
		stop := w.run("a")
		pass(time.Minute)
		w.marks.set(cyclone.Unavailable("marks cannot be written"))
		pass(2 * time.Hour)
		w.want("each fires once all the same", "01 01:00, 01 02:00")
		stop()
		w.marks.set(nil)
		defer w.run("b")()
		pass(time.Minute)
		w.want("another server, without the mark", "")
		pass(time.Hour)
		w.want("it goes on", "01 03:00")
	})
}

func TestServersTakeTurns(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("*/10 * * * *"))
		stopA := w.run("a")
		pass(time.Second)
		stopB := w.run("b")
		pass(25 * time.Minute)
		w.want("a leads", "01 00:10, 01 00:20")
		stopA()
		pass(10 * time.Minute)
		w.want("b leads", "01 00:30")
		stopA = w.run("a")
		pass(10 * time.Minute)
		w.want("b goes on", "01 00:40")
		stopB()
		pass(10 * time.Minute)
		w.want("a again", "01 00:50")
		stopA()
	})
}

// What a lease cannot promise: that nobody else is at it.
func TestManyWithoutALease(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("* * * * *"), every("*/2 * * * *"))
		for range 5 {
			defer w.run("")()
		}
		pass(10*time.Minute + time.Second)
		if n := len(w.fired); n != 15 {
			t.Errorf("%d fired: %s", n, w.take())
		}
		pass(30 * time.Second)
		w.take()
		w.put("orders", every("1 * * * *"))
		pass(20 * time.Second)
		w.want("marks that all want to remove", "")
	})
}

func TestTheSameTriggerTwiceFiresOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("orders", every("0 * * * *"), every("0 * * * *"), cyclone.CronTrigger{Schedule: "0 * * * *", Branch: "release"})
		defer w.run("a")()
		pass(90 * time.Minute)
		w.want("once for each branch", "01 01:00, 01 01:00")
	})
}

func TestUnreadableSchedulesHoldUpNobody(t *testing.T) {
	inBubble(t, func(w *world) {
		w.put("broken", every("0 25 * * *"), every("0 0 31 2 *"), cyclone.CronTrigger{Schedule: "0 * * * *", Timezone: "Nowhere"}, every("0 * * * *"))
		defer w.run("a")()
		pass(90 * time.Minute)
		w.want("", "01 01:00")
		if n := w.log.count("cron trigger cannot fire"); n != 3 {
			t.Errorf("%d lines: %s", n, w.log.text.String())
		}
	})
}

func TestMarksThatCannotBeTrue(t *testing.T) {
	for value, line := range map[string]int{"rubbish": 1, "2037-01-01T00:00:00Z": 1, "2000-01-01T00:30:00Z": 0} {
		t.Run(value, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.put("orders", every("0 * * * *"))
				w.run("a")()
				pass(time.Second)
				stop := w.run("a")
				pass(time.Second)
				stop()
				for _, name := range strings.Split(w.markNames("orders"), ", ") {
					m, err := w.marks.Find(t.Context(), "orders", name)
					if err != nil {
						t.Fatal(err)
					}
					m.Value = []byte(value)
					if err := w.marks.Put(t.Context(), m); err != nil {
						t.Fatal(err)
					}
				}
				defer w.run("b")()
				pass(65 * time.Minute)
				w.want("", "01 01:00")
				if n := w.log.count("not to be believed"); n != line {
					t.Errorf("%d lines: %s", n, w.log.text.String())
				}
			})
		})
	}
}

// Midnight is everybody's.
func TestManyAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		for i := range 300 { // more than a page
			w.put(fmt.Sprintf("p%03d", i), every("1 0 * * *"))
		}
		pass(50 * time.Second)
		defer w.run("a")()
		pass(10 * time.Second)
		if n := len(w.fired); n != 300 {
			t.Errorf("%d of 300 fired", n)
		}
	})
}
