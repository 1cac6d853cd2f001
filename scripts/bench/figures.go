package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// series are figures of the same thing, measured again and again.
type series []float64

func (s *series) add(v float64) { *s = append(*s, v) }

// quantile is the figure below which the given part lies; q is from 0 to 1.
func (s series) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	switch n := len(sorted); {
	case n == 0:
		return 0
	case n%2 == 0:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	default:
		return sorted[n/2]
	}
}

// seconds shows the median and the spread of durations.
func (s series) seconds() string { return s.show("%.2f s") }

func (s series) show(form string) string {
	return fmt.Sprintf(form+" ("+form+" to "+form+")", s.median(), slices.Min(s), slices.Max(s))
}

// over divides figure by figure: what was measured in turns is compared in turns.
func (s series) over(plain series) series {
	var out series
	for i := range s {
		out.add(s[i] / plain[i])
	}
	return out
}

// row is a line of the final table.
type row struct{ what, goal, figure, verdict string }

// goal adds a row with a verdict.
func (b *bench) goal(what, goal string, met bool, figure string, args ...any) {
	verdict := "\033[32mmet\033[0m"
	if !met {
		verdict = "\033[31mMISSED\033[0m"
	}
	b.table = append(b.table, row{what, goal, fmt.Sprintf(figure, args...), verdict})
}

// note adds a row that only informs.
func (b *bench) note(what, figure string, args ...any) {
	b.table = append(b.table, row{what, "", fmt.Sprintf(figure, args...), ""})
}

func (b *bench) print() {
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nMEASURED\tGOAL\tFIGURE\tVERDICT")
	for _, r := range b.table {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.what, r.goal, r.figure, r.verdict)
	}
	_ = t.Flush() // standard output
	fmt.Println()
}

// describeMachine says what the figures were measured on.
func describeMachine(ctx context.Context) {
	kernel := "unknown kernel"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	memory := ""
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		memory = fmt.Sprintf("%.0f GiB, ", float64(info.Totalram)*float64(info.Unit)/(1<<30))
	}
	engine, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").Output()
	if err != nil {
		engine = []byte("unknown")
	}
	say("%s: %d processors, %s%s, Docker engine %s, %s", time.Now().UTC().Format("2006-01-02 15:04 MST"),
		runtime.NumCPU(), memory, kernel, strings.TrimSpace(string(engine)), runtime.Version())
}
