package chaos

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// Report is what a run found.
type Report struct {
	Seed     uint64
	Faults   []Incident
	Outcomes []*Outcome
	// Strays are events without a delivery, Left what was not cleaned up.
	Strays, Left []string
	// Claims are the times from the kill -9 of a server to the next claim of
	// an event that was waiting, by site; Retries those from the death of a
	// worker to the second attempt of its event.
	Claims  map[string][]time.Duration
	Retries []time.Duration
}

// Problems are all broken promises.
func (r *Report) Problems() []string {
	var all []string
	for _, o := range r.Outcomes {
		for _, p := range o.Problems {
			all = append(all, fmt.Sprintf("%s (%s on %s, event %s): %s", o.Delivery, o.Shape, o.Site, o.Event.ID, p))
		}
	}
	for _, s := range r.Strays {
		all = append(all, "stray: "+s)
	}
	for _, l := range r.Left {
		all = append(all, "left behind: "+l)
	}
	return all
}

// measure finds the figures in what happened.
func (r *Report) measure(n *notes) {
	r.Claims = map[string][]time.Duration{}
	for _, i := range n.faults {
		if i.Kind == "kill server" {
			if took, ok := r.nextClaim(i); ok {
				r.Claims[i.site] = append(r.Claims[i.site], took)
			}
		}
	}
	for _, o := range r.Outcomes {
		if len(o.hits) == 1 && o.hits[0].kind == "kill worker" && o.Event.Worker.Attempt == 2 && o.Event.StartedAt != nil {
			r.Retries = append(r.Retries, o.Event.StartedAt.Sub(o.hits[0].at))
		}
	}
}

// nextClaim is the time from a server's death to the first claim of an event
// that was waiting at the site then.
func (r *Report) nextClaim(i Incident) (time.Duration, bool) {
	least := time.Duration(-1)
	for _, o := range r.Outcomes {
		e := &o.Event
		if o.Site != i.site || e.StartedAt == nil || e.Worker.Attempt != 1 || e.CreatedAt.After(i.At) || !e.StartedAt.After(i.At) {
			continue
		}
		if took := e.StartedAt.Sub(i.At); least < 0 || took < least {
			least = took
		}
	}
	return least, least >= 0
}

// judgeSuperseded: of pushes to one branch the last event is never the one
// that is canceled.
func (r *Report) judgeSuperseded(deliveries []*delivery) {
	last := map[string]*Outcome{}
	for i, o := range r.Outcomes {
		d := deliveries[i]
		if key := d.site.name + "/" + d.branch; d.project.shape.superseding && (last[key] == nil || last[key].Event.Number < o.Event.Number) {
			last[key] = o
		}
	}
	for _, o := range last {
		if o.Event.Status == cyclone.StatusCanceled {
			o.wrong("the event was canceled although no push came after it: %s", o.Event.Reason)
		}
	}
}

// judgeAttempts: an event has a second attempt only when a fault took its
// worker, or when the engine was down around the time that one was started.
func (r *Report) judgeAttempts() {
	for _, o := range r.Outcomes {
		if o.Event.Worker.Attempt < 2 || len(o.hits) > 0 || o.Event.FinishedAt == nil {
			continue
		}
		down := slices.ContainsFunc(r.Faults, func(i Incident) bool {
			return i.Kind == "kill engine" && i.At.Before(*o.Event.FinishedAt) && i.Until.After(o.Event.CreatedAt)
		})
		if !down {
			o.wrong("the event had %d attempts although no fault took its worker", o.Event.Worker.Attempt)
		}
	}
}

// Write prints the report: tables of what was done and found, and for each
// event with a problem what is wrong and the end of its log.
func (r *Report) Write(out io.Writer) {
	r.writeFaults(out)
	r.writeEvents(out)
	r.writeTotals(out)
	r.writeErrors(out)
	for _, o := range r.Outcomes {
		if len(o.Problems) == 0 {
			continue
		}
		fmt.Fprintf(out, "\nWRONG delivery %s, %s on %s: event %s #%d of %s, worker %s, %s\n", o.Delivery, o.Shape, o.Site, o.Event.ID, o.Event.Number, o.Event.Project, o.Event.Worker.ID, o.hitText())
		for _, p := range o.Problems {
			fmt.Fprintln(out, "  -", p)
		}
		for _, l := range o.Tail {
			fmt.Fprintln(out, "    |", l)
		}
	}
	for _, p := range slices.Concat(r.Strays, r.Left) {
		fmt.Fprintln(out, "WRONG", p)
	}
	fmt.Fprintf(out, "\nseed %d: %d problems\n", r.Seed, len(r.Problems()))
}

func (r *Report) writeFaults(out io.Writer) {
	count, missed := map[string]int{}, map[string]int{}
	for _, i := range r.Faults {
		if i.Missed {
			missed[i.Kind]++
		} else {
			count[i.Kind]++
		}
	}
	fmt.Fprintf(out, "\n%-20s %6s %8s\n", "fault", "times", "missed")
	for _, k := range kinds() {
		fmt.Fprintf(out, "%-20s %6d %8d\n", k.name, count[k.name], missed[k.name])
	}
}

func (r *Report) writeEvents(out io.Writer) {
	statuses := []cyclone.Status{cyclone.StatusSuccess, cyclone.StatusFailure, cyclone.StatusCanceled, cyclone.StatusError}
	type row struct {
		by                    map[cyclone.Status]int
		events, second, other int
		hits                  int
	}
	rows := map[string]*row{}
	for _, o := range r.Outcomes {
		for _, name := range []string{o.Shape, "~all"} {
			if rows[name] == nil {
				rows[name] = &row{by: map[cyclone.Status]int{}}
			}
			w := rows[name]
			w.events++
			w.hits += o.Hits
			w.by[o.Event.Status]++
			if !slices.Contains(statuses, o.Event.Status) {
				w.other++
			}
			if o.Event.Worker.Attempt > 1 {
				w.second++
			}
		}
	}
	fmt.Fprintf(out, "\n%-12s %6s %8s %8s %8s %6s %6s %10s %8s\n", "shape", "events", "success", "failure", "canceled", "error", "other", "2+ attempts", "killed")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		w := rows[name]
		fmt.Fprintf(out, "%-12s %6d %8d %8d %8d %6d %6d %10d %8d\n", strings.Trim(name, "~"), w.events, w.by[statuses[0]], w.by[statuses[1]], w.by[statuses[2]], w.by[statuses[3]], w.other, w.second, w.hits)
	}
}

// writeErrors lists why events ended with an error although all is in order.
func (r *Report) writeErrors(out io.Writer) {
	for _, o := range r.Outcomes {
		if o.Event.Status == cyclone.StatusError && len(o.Problems) == 0 {
			reason, _, _ := strings.Cut(o.Event.Reason, "\n")
			fmt.Fprintf(out, "error in attempt %d of %s #%d after %s: %.200s\n", o.Event.Worker.Attempt, o.Event.Project, o.Event.Number, o.hitText(), reason)
		}
	}
}

func (r *Report) writeTotals(out io.Writer) {
	var l Lines
	var sent, answered, viewed, returns, mails, same int
	for _, o := range r.Outcomes {
		l.Expected += o.Lines.Expected
		l.Stored += o.Lines.Stored
		l.Lost += o.Lines.Lost
		l.Doubled += o.Lines.Doubled
		l.Wrong += o.Lines.Wrong
		sent, answered, mails, same = sent+o.Sent, answered+o.Answered, mails+o.Mails, same+o.SameMails
		returns += o.Returns
		if o.Viewed {
			viewed++
		}
	}
	fmt.Fprintf(out, "\nlines of steps   expected %d, stored %d, lost %d, doubled %d, wrong %d\n", l.Expected, l.Stored, l.Lost, l.Doubled, l.Wrong)
	fmt.Fprintf(out, "deliveries       %d, sent %d times, answered %d times; events without one: %d\n", len(r.Outcomes), sent, answered, len(r.Strays))
	fmt.Fprintf(out, "viewers          %d, came back %d times\n", viewed, returns)
	fmt.Fprintf(out, "mails            %d about %d events, sent again under the same id: %d\n", mails, len(r.Outcomes), same)
	fmt.Fprintf(out, "left behind      %d\n", len(r.Left))
	for _, site := range slices.Sorted(maps.Keys(r.Claims)) {
		fmt.Fprintf(out, "kill -9 of a server to the next claim of a waiting event, site %s: %s (the server's time until it was started again included)\n", site, spread(r.Claims[site]))
	}
	fmt.Fprintf(out, "a worker's death to its event's second attempt: %s\n", spread(r.Retries))
}

// spread is the middle and the most of some times.
func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "not seen"
	}
	slices.SortFunc(times, cmp.Compare)
	return fmt.Sprintf("%.1f s in the middle, %.1f s at most, %d times", times[len(times)/2].Seconds(), times[len(times)-1].Seconds(), len(times))
}
