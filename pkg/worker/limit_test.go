package worker_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/worker"
)

// printed is a log that was written: lines and where stages began.
type printed struct {
	stage cyclone.Stage
	text  string
}

// words are random, so that they compress badly and reach the disk.
func words(random *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('!' + random.IntN(90))
	}
	return string(b)
}

const kib = 1 << 10

func textOf(lines []cyclone.Line) (size int) {
	for _, l := range lines {
		size += len(l.Text) + 1
	}
	return size
}

// TestLimitKeepsHeadAndTail holds a limited log to: head, mark, mark and tail;
// numbers without a gap; the tail is the longest end that may be kept.
func TestLimitKeepsHeadAndTail(t *testing.T) {
	stages := []cyclone.Stage{cyclone.StageClone, cyclone.StagePreBuild, cyclone.StageBuild, cyclone.StageDeploy}
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			limit := []int{64 * kib, 256 * kib, 1024 * kib}[random.IntN(3)]
			s := &server{}
			j := worker.NewBoundJournal(s, cyclone.Size(limit), t.TempDir(), []string{"hush-hush-9"})
			stop := running(t, j)
			var all []printed
			first, last := map[cyclone.Stage]int64{}, map[cyclone.Stage]int64{}
			for _, stage := range stages {
				first[stage] = j.Last() + 1
				out, end := j.Output(stage, "step of "+string(stage))
				for range random.IntN(1 + limit/512) {
					text := words(random, random.IntN(400))
					if random.IntN(50) == 0 {
						text = words(random, random.IntN(worker.MaxLine))
					}
					all = append(all, printed{stage, text})
					out.Write(cyclone.Stdout, []byte(text+"\n"))
				}
				end()
				if err := j.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				last[stage] = j.Last()
			}
			if err := j.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			stop()
			checkLimited(t, s.lines, all, limit)
			if int64(len(s.lines)) != j.Last() {
				t.Errorf("%d lines; the last one is said to be %d", len(s.lines), j.Last())
			}
			for _, stage := range stages {
				if last[stage] >= first[stage] {
					from, to := j.Place(first[stage], last[stage])
					checkPlace(t, s.lines, stage, from, to)
				}
			}
		})
	}
}

func checkLimited(t *testing.T, got []cyclone.Line, all []printed, limit int) {
	t.Helper()
	var marks []int
	for i, l := range got {
		if l.N != int64(i)+1 {
			t.Fatalf("line %d has number %d", i+1, l.N)
		}
		if l.Stream == cyclone.System {
			marks = append(marks, i)
		}
	}
	total := 0
	for _, p := range all {
		total += len(p.text) + 1
	}
	if total <= limit/2 {
		if len(marks) != 0 || len(got) != len(all) {
			t.Fatalf("%d bytes fit, but there are %d marks and %d lines of %d", total, len(marks), len(got), len(all))
		}
		return
	}
	if len(marks) == 0 || len(marks) > 2 || !strings.Contains(got[marks[0]].Text, "larger than the limit of") {
		t.Fatalf("marks at %v", marks)
	}
	head := got[:marks[0]]
	if size := textOf(head); size > limit/2 || size+len(all[len(head)].text)+1 <= limit/2 {
		t.Errorf("the head has %d bytes of a limit of %d", size, limit)
	}
	end := got[marks[len(marks)-1]+1:]
	size := textOf(end)
	left := len(all) - len(head) - len(end)
	switch {
	case len(marks) == 1 && left != 0:
		t.Errorf("%d lines are missing and nothing says so", left)
	case len(marks) == 2:
		if marks[1] != marks[0]+1 {
			t.Errorf("marks at %v", marks)
		}
		before := len(all[len(all)-len(end)-1].text) + 1
		if (size > limit/2 && len(end) > 1) || size+before <= limit/2 {
			t.Errorf("the tail has %d bytes of a limit of %d; one more line has %d", size, limit, before)
		}
		said := fmt.Sprintf("%d lines with %d bytes are left out here", left, total-textOf(head)-size)
		if !strings.HasPrefix(got[marks[1]].Text, said) {
			t.Errorf("the mark says %q, want %q", got[marks[1]].Text, said)
		}
	}
	for i, l := range head {
		if l.Text != all[i].text || l.Stage != all[i].stage {
			t.Fatalf("line %d of the head is another one", i)
		}
	}
	for i, l := range end {
		if want := all[len(all)-len(end)+i]; l.Text != want.text || l.Stage != want.stage {
			t.Fatalf("line %d of the tail is another one", i)
		}
	}
}

// checkPlace holds a stage's place against the lines that are there.
func checkPlace(t *testing.T, lines []cyclone.Line, stage cyclone.Stage, from, to int64) {
	t.Helper()
	for _, l := range lines {
		if inside := l.N >= from && l.N <= to; inside != (l.Stage == stage) {
			t.Fatalf("line %d of stage %s; %s is said to have lines %d to %d", l.N, l.Stage, stage, from, to)
		}
	}
}

func TestLimitSaysSoAtOnce(t *testing.T) {
	marks := make(chan cyclone.Line, 10)
	s := &server{seen: func(l cyclone.Line) {
		if l.Stream == cyclone.System {
			marks <- l
		}
	}}
	j := worker.NewBoundJournal(s, 64*kib, t.TempDir(), []string{"hush-hush-9"})
	stop := running(t, j)
	out, end := j.Output(cyclone.StageBuild, "build")
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range 33 {
		out.Write(cyclone.Stdout, line)
	}
	mark := <-marks // while the step goes on
	want := "the log is larger than the limit of 64k: from here on only its last 32k are kept; they follow at the end"
	if mark.Text != want || mark.N != 33 || mark.Step != "build" {
		t.Errorf("%+v", mark)
	}
	if from, to := j.Place(40, 0); from != 34 || to != 0 {
		t.Errorf("a stage under way is at %d, %d", from, to)
	}
	out.Write(cyclone.Stdout, []byte("half a line"))
	for range 2000 {
		out.Write(cyclone.Stdout, line)
	}
	out.Write(cyclone.Stdout, []byte("the token is hush-hush-9\n"))
	out.Write(cyclone.System, []byte("build failed: command 1 \"make\" exited with 2\n"))
	end()
	if err := j.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	n := len(s.lines)
	if s.lines[n-1].Text != `build failed: command 1 "make" exited with 2` || s.lines[n-2].Text != "the token is ******" {
		t.Errorf("the log ends with %q, %q", s.lines[n-2].Text, s.lines[n-1].Text)
	}
	for _, p := range s.partial {
		if p.N > mark.N {
			t.Errorf("an unfinished line of what does not follow soon: %+v", p)
		}
	}
}

func TestLimitWithoutADisk(t *testing.T) {
	s := &server{}
	j := worker.NewBoundJournal(s, 256*kib, filepath.Join(t.TempDir(), "missing"), nil)
	stop := running(t, j)
	random := rand.New(rand.NewPCG(1, 1))
	out, end := j.Output(cyclone.StageBuild, "build")
	for range 2000 {
		out.Write(cyclone.Stdout, []byte(words(random, 1000)+"\n"))
	}
	out.Write(cyclone.Stdout, []byte("the reason\n"))
	end()
	if err := j.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	if n := len(s.lines); s.lines[n-1].Text != "the reason" || s.lines[n-1].N != int64(n) {
		t.Errorf("line %d of %d is %q", s.lines[n-1].N, n, s.lines[n-1].Text)
	}
}

func TestLimitedEvent(t *testing.T) {
	r := newRig(t, `
pre_build:
  image: alpine
  commands: ['i=0; while [ $i -lt 3000 ]; do echo "$i 0123456789012345678901234567890123456789"; i=$((i+1)); done', 'echo the token is $TOKEN; echo broken; exit 3']
  secrets: {TOKEN: token}
`, nil)
	r.server.job.LogLimit = 64 << 10
	r.server.job.LastLine = 5
	result := r.run(t)
	if result.Status != cyclone.StatusFailure {
		t.Fatalf("%s: %s", result.Status, result.Reason)
	}
	log := r.server.log()
	for _, want := range []string{"larger than the limit of 64k", "are left out here", "the token is ******", "broken\n",
		`pre_build failed: command 2 "echo the token is $TOKEN; echo broken; exit 3" exited with 3`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(log, "hush") {
		t.Error("a secret is in the log")
	}
	checkLines(t, r)
}

func TestLimitedEventThatIsCanceled(t *testing.T) {
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['i=0; while [ $i -lt 3000 ]; do echo \"$i 0123456789012345678901234567890123456789\"; i=$((i+1)); done; echo up > \"$FIFO\"; sleep 20']\n", nil)
	r.server.job.LogLimit = 64 << 10
	fifo := r.fifo(t)
	go func() {
		fifo()
		r.server.canceled <- cyclone.Cancellation{Reason: "canceled by alice"}
	}()
	result := r.run(t)
	if result.Status != cyclone.StatusCanceled || result.Reason != "canceled by alice" {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
	if log := r.server.log(); !strings.Contains(log, "2999 0123") || !strings.HasSuffix(log, "canceled by alice\n") {
		t.Errorf("the log ends with %q", log[max(0, len(log)-300):])
	}
	checkLines(t, r)
}
