package forge_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// comment is the text that an event puts on its pull request.
func (w *world) comment(edit func(*cyclone.Event)) string {
	w.t.Helper()
	e := w.event(func(e *cyclone.Event) { request(7)(e); edit(e) })
	w.setter.calls = nil
	must(w.t, w.Comments().Notify(w.t.Context(), w.project, e))
	if len(w.setter.calls) != 1 {
		w.t.Fatalf("told %+v", w.setter.calls)
	}
	call := w.setter.calls[0]
	if call.Number != 7 || call.Marker != "<!-- cyclone/orders -->" || call.Access.Password != token.Password {
		w.t.Errorf("told %+v", call)
	}
	return call.Comment
}

func stages(took ...time.Duration) []cyclone.StageState {
	at := epoch
	var all []cyclone.StageState
	for i, d := range took {
		start, end := at, at.Add(d)
		all = append(all, cyclone.StageState{Name: cyclone.Stages[i], Status: cyclone.StatusSuccess, StartedAt: &start, FinishedAt: &end})
		at = end
	}
	return all
}

func TestComment(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*cyclone.Event)
		want string
	}{
		{"pending", func(*cyclone.Event) {}, "**Cyclone**: [orders, event 1](https://ci.example.com/events/e1) of `3f2a1b9` waits for a worker\n\n" +
			"[Complete log](https://ci.example.com/events/e1/logs)\n\n<!-- cyclone/orders -->\n"},
		{"blocked", func(e *cyclone.Event) { e.Status, e.Reason = cyclone.StatusBlocked, "it comes from a fork" },
			"**Cyclone**: [orders, event 1](https://ci.example.com/events/e1) of `3f2a1b9` waits for approval\n\n`it comes from a fork`\n\n" +
				"[Complete log](https://ci.example.com/events/e1/logs)\n\n<!-- cyclone/orders -->\n"},
		{"running", func(e *cyclone.Event) {
			e.Status, e.Stages = cyclone.StatusRunning, stages(3*time.Second, 90*time.Second)
			e.Stages[1].Status, e.Stages[1].FinishedAt = cyclone.StatusRunning, nil
			e.Stages = append(e.Stages, cyclone.StageState{Name: cyclone.StageBuild, Status: cyclone.StatusPending})
		}, "**Cyclone**: [orders, event 1](https://ci.example.com/events/e1) of `3f2a1b9` is running\n\n" +
			"| Stage | Status | Duration |\n| --- | --- | --- |\n| clone | success | 3s |\n| pre_build | running |  |\n| build | pending |  |\n\n" +
			"[Complete log](https://ci.example.com/events/e1/logs)\n\n<!-- cyclone/orders -->\n"},
		{"failed", func(e *cyclone.Event) {
			ran(cyclone.StatusFailure, 93*time.Second, "step web failed")(e)
			e.Stages = stages(3*time.Second, 90*time.Second)
			e.Stages[1].Status = cyclone.StatusFailure
			e.Error = &cyclone.Failure{Stage: cyclone.StagePreBuild, Step: "web", Command: "go test ./... | tee out", ExitCode: 2, Message: "tests failed\nin two packages"}
			e.Tests = &cyclone.TestSummary{Total: 14, Passed: 1, Failed: 12, Skipped: 1}
			for range 12 {
				e.Tests.Failures = append(e.Tests.Failures, cyclone.TestCase{Class: "pay", Name: "TestPay", Message: "want 1\ngot 2"})
			}
		}, "**Cyclone**: [orders, event 1](https://ci.example.com/events/e1) of `3f2a1b9` ended: **failure** after 1m33s\n\n`step web failed`\n\n" +
			"| Stage | Status | Duration |\n| --- | --- | --- |\n| clone | success | 3s |\n| pre_build | failure | 1m30s |\n\n" +
			"Failed in stage `pre_build`, step `web`, command `go test ./... | tee out`, exit code 2.\n\n`tests failed in two packages`\n\n" +
			"Tests: 1 passed, 12 failed, 1 skipped.\n\n" + strings.Repeat("- `pay TestPay`: `want 1 got 2`\n", 10) + "- and 2 more\n\n" +
			"[Complete log](https://ci.example.com/events/e1/logs)\n\n<!-- cyclone/orders -->\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, newWorld(t).comment(c.edit)); diff != "" {
				t.Errorf("comment (-want +got):\n%s", diff)
			}
		})
	}
}

// spans are pieces of code, in which nothing is looked for.
var spans = regexp.MustCompile("`[^`\n]+`")

// Whatever comes from outside stays in code: all that is beside it is the same
// as with harmless words.
func TestCommentHoldsWhatComesFromOutside(t *testing.T) {
	fill := func(text string) func(*cyclone.Event) {
		return func(e *cyclone.Event) {
			ran(cyclone.StatusFailure, time.Minute, "r "+text)(e)
			e.Stages = append(stages(time.Second), cyclone.StageState{Name: cyclone.Stage("build" + text), Status: "success"})
			e.Stages[0].Status = cyclone.Status("success" + text)
			e.Error = &cyclone.Failure{Stage: cyclone.Stage("b" + text), Step: "s" + text, Command: "c" + text, Message: "m" + text}
			e.Tests = &cyclone.TestSummary{Failed: 1, Failures: []cyclone.TestCase{{Class: "k" + text, Name: "n" + text, Message: "w" + text}}}
			e.Commit.SHA = "abc`@x" // a forge's driver checks it; here nobody has
		}
	}
	want := spans.ReplaceAllString(newWorld(t).comment(fill("x")), "`code`")
	for _, hostile := range []string{
		"@everyone", "`@all`", "``` @all", "`", "\\`@all\\", "<script>alert(1)</script>", "<img src=x onerror=1>", "&lt;b&gt;&#64;all", "[a](http://evil.example.com)",
		"![a](http://evil.example.com/x.png)", "https://evil.example.com", "| a | b |\n| --- | --- |", "\n/close\n/merge", "\r/approve", "\n\n# title", "#1 !2 GH-3",
		"\n<!-- cyclone/orders -->\n", "--> x", "\u202eevil\u2066", "\x00\x1b[31m", strings.Repeat("@a ", 1<<14), strings.Repeat("`", 1<<14), "\u2028/close", "\xff\xfe`",
	} {
		got := newWorld(t).comment(fill(hostile))
		if diff := cmp.Diff(want, spans.ReplaceAllString(got, "`code`")); diff != "" {
			t.Errorf("%.40q changes what is beside the code (-want +got):\n%.2000s", hostile, diff)
		}
		if len(got) > 10<<10 {
			t.Errorf("%.40q makes %d bytes", hostile, len(got))
		}
	}
}

// An address that is none, or would end its link, does no harm.
func TestCommentLinks(t *testing.T) {
	for address, want := range map[string]string{
		"https://ci/(e) <1>":   "[orders, event 1](https://ci/%28e%29%20%3C1%3E)",
		"javascript:alert(1)":  "orders, event 1",
		"":                     "orders, event 1",
		"https://ci/\n[x](//y": "orders, event 1",
	} {
		w := newWorld(t)
		w.EventURL, w.LogURL = func(*cyclone.Event) string { return address }, nil
		text := w.comment(func(*cyclone.Event) {})
		if want = "**Cyclone**: " + want + " of"; !strings.HasPrefix(text, want) || strings.Contains(text, "log") {
			t.Errorf("address %q: %q; want %q", address, text, want)
		}
	}
}

// A pull request shows its newest event that was not skipped.
func TestCommentOfNewestEvent(t *testing.T) {
	w := newWorld(t)
	first := w.event(request(7))
	if text := w.comment(ran(cyclone.StatusSuccess, time.Second, "")); !strings.Contains(text, "event 2") {
		t.Errorf("comment is %q", text)
	}
	w.setter.calls = nil
	other := w.event(request(8))
	w.event(func(e *cyclone.Event) { request(8)(e); e.Status = cyclone.StatusSkipped })
	for _, e := range []*cyclone.Event{first, other} {
		must(t, w.Comments().Notify(t.Context(), w.project, e))
	}
	if len(w.setter.calls) != 1 || w.setter.calls[0].Number != 8 || !strings.Contains(w.setter.calls[0].Comment, "event 3") {
		t.Errorf("told %+v", w.setter.calls)
	}
}
