package chaos

import (
	"maps"
	"slices"
	"strconv"

	"cyclone/pkg/cyclone"
)

// EmitProgram is emitProgram.
const EmitProgram = emitProgram

// Expected are the lines that a step of an event prints.
func Expected(event, step string, n int) []string {
	s, lines := newSums(event, step), make([]string, 0, n)
	for i := 1; i <= n; i++ {
		lines = append(lines, step+":"+strconv.Itoa(i)+":"+s.next(i))
	}
	return lines
}

// OutputOf is what of a step's lines is in a log.
func OutputOf(event, step string, lines []cyclone.Line) (runs []int, lost, doubled, wrong int) {
	o := outputOf(event, step, lines)
	return o.runs, o.lost, o.doubled, o.wrong
}

// Difference is difference.
func Difference(seen, stored []cyclone.Line) string { return difference(seen, stored) }

// Planned says in words what a seed delivers.
func Planned(seed uint64, events int) (all []string, shapesUsed int) {
	var sites []*site
	for _, name := range []string{"pair", "solo"} {
		s := &site{name: name, projects: map[string]*project{}}
		for _, sh := range shapes() {
			s.projects[sh.name] = &project{name: sh.name + "-" + name, shape: sh}
		}
		sites = append(sites, s)
	}
	used := map[string]bool{}
	for _, d := range plan(seed, events, sites) {
		used[d.project.shape.name] = true
		all = append(all, d.id+" "+d.project.name+" "+d.branch+" "+d.after.String()+" "+strconv.Itoa(d.copies)+" "+d.cancel.String())
	}
	return all, len(slices.Collect(maps.Keys(used)))
}

// Kinds are the names of all kinds of faults but the late ones.
func Kinds() []string {
	var names []string
	for _, k := range kinds() {
		if !k.late {
			names = append(names, k.name)
		}
	}
	return names
}

// Judged are the problems of an event of a shape that was hit by faults.
func Judged(name string, e cyclone.Event, lines []cyclone.Line, hits ...string) []string {
	at := slices.IndexFunc(shapes(), func(s *shape) bool { return s.name == name })
	o := &Outcome{Event: e}
	for _, kind := range hits {
		o.hits = append(o.hits, hit{kind: kind})
	}
	sh := shapes()[at]
	o.judgeStatus(sh)
	o.judgeLog(&delivery{project: &project{shape: sh}}, lines)
	return o.Problems
}
