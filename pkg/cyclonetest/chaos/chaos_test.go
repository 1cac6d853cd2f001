package chaos_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/chaos"
)

// A seed fixes the faults, and the first of them are one of each kind.
func TestScheduleIsReplayed(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64) (all []chaos.Fault) {
		s := chaos.NewSchedule(seed)
		for range 200 {
			all = append(all, s.Next())
		}
		return all
	}
	first := draw(7)
	if diff := cmp.Diff(first, draw(7)); diff != "" {
		t.Errorf("the same seed gives another schedule:\n%s", diff)
	}
	if cmp.Equal(first, draw(8)) {
		t.Error("another seed gives the same schedule")
	}
	var kinds []string
	for _, f := range first[:len(chaos.Kinds())] {
		kinds = append(kinds, f.Kind)
	}
	slices.Sort(kinds)
	want := chaos.Kinds()
	slices.Sort(want)
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("the first faults are not one of each kind:\n%s", diff)
	}
}

func TestPlanIsReplayed(t *testing.T) {
	t.Parallel()
	first, shapes := chaos.Planned(7, 30)
	again, _ := chaos.Planned(7, 30)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same seed gives another plan:\n%s", diff)
	}
	if len(first) < 30 || shapes != 10 {
		t.Errorf("%d deliveries of %d shapes", len(first), shapes)
	}
}

// What the steps' program prints is what is expected of them.
func TestProgramPrintsWhatIsExpected(t *testing.T) {
	t.Parallel()
	for separator, args := range map[string][]string{"\n": nil, "|": {"-v", "one=1"}} {
		cmd := exec.Command("awk", append(append([]string{"-v", "step=red", "-v", "n=300"}, args...), chaos.EmitProgram)...)
		cmd.Env = []string{"CYCLONE_EVENT_ID=01a2-x"}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimRight(string(out), "|\n"), separator)
		if diff := cmp.Diff(chaos.Expected("01a2-x", "red", 300), got); diff != "" {
			t.Error(diff)
		}
	}
}

// lines makes a log of texts.
func lines(texts ...string) []cyclone.Line {
	var all []cyclone.Line
	for i, text := range texts {
		all = append(all, cyclone.Line{N: int64(i) + 1, Time: time.UnixMilli(int64(i)), Stage: cyclone.StagePreBuild, Step: "pre_build", Stream: cyclone.Stdout, Text: text})
	}
	return all
}

func TestOutputIsRead(t *testing.T) {
	t.Parallel()
	red := chaos.Expected("e", "red", 6)
	long := strings.Join(red, "|") + "|"
	for _, c := range []struct {
		name                 string
		log                  []string
		runs                 []int
		lost, doubled, wrong int
	}{
		{"complete", append([]string{"$ awk", "other:1:00000"}, red...), []int{6}, 0, 0, 0},
		{"built", []string{"#7 " + red[0], "#7 0.312 " + red[1]}, []int{2}, 0, 0, 0},
		{"run again", slices.Concat(red[:4], red), []int{4, 6}, 0, 0, 0},
		{"lost", slices.Concat(red[:2], red[3:]), []int{5}, 1, 0, 0},
		{"doubled", slices.Concat(red[:3], red[2:]), []int{6}, 0, 1, 0},
		{"another event's", append(slices.Clone(red[:2]), "red:3:fffff"), []int{3}, 0, 0, 1},
		{"split", []string{long[:20] + " [line continues]", long[20:]}, []int{6}, 0, 0, 0},
		{"nothing", []string{"hello"}, nil, 0, 0, 0},
	} {
		runs, lost, doubled, wrong := chaos.OutputOf("e", "red", lines(c.log...))
		if !slices.Equal(runs, c.runs) || lost != c.lost || doubled != c.doubled || wrong != c.wrong {
			t.Errorf("%s: runs %v, %d lost, %d doubled, %d wrong", c.name, runs, lost, doubled, wrong)
		}
	}
	runs, lost, _, _ := chaos.OutputOf("e", "red", lines(long[:20]+" [line continues]", long[35:]))
	if lost == 0 && runs[0] == 6 {
		t.Error("a lost part of a split line is not noticed")
	}
}

// Every kind of broken promise is noticed, and what is promised is not.
func TestBrokenPromisesAreNoticed(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1)
	event := func(status cyclone.Status, attempt, n int) cyclone.Event {
		return cyclone.Event{ID: "e", Status: status, Reason: "because", FinishedAt: &now, LogLines: int64(n), Worker: cyclone.WorkerRef{Attempt: attempt}}
	}
	red := lines(chaos.Expected("e", "red", 50)...)
	twice := lines(slices.Concat(chaos.Expected("e", "red", 10), chaos.Expected("e", "red", 50))...)
	gap := slices.Clone(red)
	gap[20].N++
	open := event("failure", 1, 50)
	open.Stages = []cyclone.StageState{{Name: cyclone.StagePreBuild, Status: cyclone.StatusRunning}}
	for _, c := range []struct {
		name  string
		event cyclone.Event
		lines []cyclone.Line
		hits  []string
		want  string // part of the problem; empty for none
	}{
		{"as it should be", event("failure", 1, 50), red, nil, ""},
		{"second attempt", event("failure", 2, 60), twice, []string{"kill worker"}, ""},
		{"two lost workers", event("error", 2, 10), twice[:10], []string{"kill worker", "kill engine"}, ""},
		{"never over", event("running", 1, 50), red, nil, "the event is running"},
		{"stage never over", open, red, nil, "stage pre_build is running"},
		{"lost without a fault", event("error", 1, 50), red, nil, "the event is error"},
		{"lost by one fault", event("error", 1, 50), red, []string{"kill worker"}, "the event is error"},
		{"other result", event("success", 1, 50), red, nil, "the event is success"},
		{"line missing", event("failure", 1, 49), red[:49], nil, "49 of 50 lines"},
		{"number missing", event("failure", 1, 50), gap, nil, "has number 22"},
		{"count wrong", event("failure", 1, 51), red, nil, "says it has 51 lines"},
		{"run twice by one worker", event("failure", 1, 60), twice, nil, "2 times in 1 attempts"},
	} {
		problems := strings.Join(chaos.Judged("failing", c.event, c.lines, c.hits...), "\n")
		if c.want == "" && problems != "" || !strings.Contains(problems, c.want) {
			t.Errorf("%s: %q, want %q", c.name, problems, c.want)
		}
	}
}

func TestDifference(t *testing.T) {
	t.Parallel()
	stored := lines("a", "b", "c")
	other := slices.Clone(stored)
	other[1].Text = "B"
	for _, c := range []struct {
		seen []cyclone.Line
		want string
	}{{stored, ""}, {other, "line 2"}, {stored[:2], "2 lines"}} {
		if got := chaos.Difference(c.seen, stored); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
