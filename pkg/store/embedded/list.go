package embedded

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// List returns events, newest first. A page by project, status, branch of a
// project or kind of a project costs the same however many events there are.
// So does its Total, unless Since or Until is given: then that span is counted.
func (s *Events) List(ctx context.Context, q cyclone.EventQuery) (cyclone.List[*cyclone.Event], error) {
	var none cyclone.List[*cyclone.Event]
	created, seq, more, err := parseNumbers(q.Cursor)
	if err != nil {
		return none, err
	}
	total, err := s.total(ctx, q)
	if err != nil {
		return none, wrap(err, "count events")
	}
	n := paging.Limit(q.Page)
	var sub selection
	for i, w := range wheres(q) {
		if more {
			w.and("(created, seq) < (?, ?)", created, seq)
		}
		if i > 0 {
			sub.text += " UNION ALL "
		}
		sub.add("SELECT * FROM (SELECT seq, created FROM events INDEXED BY "+w.index+w.text()+
			" ORDER BY created DESC, seq DESC LIMIT ?)", append(w.args, n+1)...)
	}
	sub.add(" ORDER BY 2 DESC, 1 DESC LIMIT ?", n+1)
	items, err := all(ctx, s.db, scanListed, "SELECT e.event, e.run, p.created, p.seq FROM ("+sub.text+
		") p CROSS JOIN events e ON e.seq = p.seq ORDER BY p.created DESC, p.seq DESC", sub.args...)
	if err != nil {
		return none, wrap(err, "list events")
	}
	return page(paging.Cut(items, n, total, func(l listed) string { return l.cursor })), nil
}

// listed is an event and its place in the list.
type listed struct {
	event  *cyclone.Event
	cursor string
}

func scanListed(row scanner) (listed, error) {
	var created, seq int64
	e, err := scanEvent(withPlace{row, &created, &seq})
	return listed{e, paging.Cursor(strconv.FormatInt(created, 10), strconv.FormatInt(seq, 10))}, err
}

// withPlace scans two more columns behind those of an event.
type withPlace struct {
	row  scanner
	a, b *int64
}

func (w withPlace) Scan(dest ...any) error { return w.row.Scan(append(dest, w.a, w.b)...) }

func page(l cyclone.List[listed]) cyclone.List[*cyclone.Event] {
	events := make([]*cyclone.Event, len(l.Items))
	for i, item := range l.Items {
		events[i] = item.event
	}
	return cyclone.List[*cyclone.Event]{Items: events, Next: l.Next, Total: l.Total}
}

// selection is SQL under construction. Only constants become text.
type selection struct {
	text string
	args []any
}

func (s *selection) add(text string, args ...any) {
	s.text += text
	s.args = append(s.args, args...)
}

// where is a condition and the index that answers it in the list's order.
type where struct {
	index string
	terms []string
	args  []any
}

func (w *where) and(term string, args ...any) {
	w.terms = append(w.terms, term)
	w.args = append(w.args, args...)
}

func (w *where) text() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

// wheres splits a query into conditions whose rows each stand together in one
// index, ready in order: one per status. SQLite would otherwise sort all that
// matches, which is as slow as there are events.
func wheres(q cyclone.EventQuery) []where {
	index := "events_all"
	byStatus := len(q.Statuses) > 0
	switch {
	case q.Project != "" && q.Branch != "":
		index, byStatus = "events_project_branch", true
	case q.Project != "" && q.Kind != "":
		index, byStatus = "events_project_kind", true
	case q.Project != "" && byStatus:
		index = "events_project_status"
	case q.Project != "":
		index = "events_project"
	case byStatus:
		index = "events_status"
	}
	if !byStatus {
		w := where{index: index}
		w.rest(q)
		return []where{w}
	}
	var all []where
	for _, status := range statuses(q) {
		w := where{index: index}
		w.and("status = ?", status)
		w.rest(q)
		all = append(all, w)
	}
	return all
}

// rest adds all of a query but its statuses.
func (w *where) rest(q cyclone.EventQuery) {
	if q.Project != "" {
		w.and("project = ?", q.Project)
	}
	if q.Branch != "" {
		w.and("branch = ?", q.Branch)
	}
	if q.Kind != "" {
		w.and("kind = ?", q.Kind)
	}
	if !q.Since.IsZero() {
		w.and("created >= ?", milliCeil(q.Since))
	}
	if !q.Until.IsZero() {
		w.and("created < ?", milliCeil(q.Until))
	}
}

// statuses are the query's, each once, or all of them.
func statuses(q cyclone.EventQuery) []cyclone.Status {
	if len(q.Statuses) == 0 {
		return cyclone.Statuses
	}
	s := slices.Clone(q.Statuses)
	slices.Sort(s)
	return slices.Compact(s)
}

// total counts what a query matches: from the kept totals, or where these do
// not know (they have no times) in the index.
func (s *Events) total(ctx context.Context, q cyclone.EventQuery) (int, error) {
	var sel selection
	if q.Since.IsZero() && q.Until.IsZero() {
		sel = keptTotal(q)
	} else {
		for i, w := range wheres(q) {
			if i > 0 {
				sel.add(" + ")
			}
			sel.add("(SELECT count(*) FROM events INDEXED BY "+w.index+w.text()+")", w.args...)
		}
		sel.text = "SELECT " + sel.text
	}
	return s.db.count(ctx, sel.text, sel.args...)
}

func keptTotal(q cyclone.EventQuery) selection {
	table := "event_totals"
	if q.Branch != "" {
		table = "branch_totals"
	}
	w := where{}
	w.rest(q)
	if len(q.Statuses) > 0 {
		var in []any
		for _, status := range statuses(q) {
			in = append(in, status)
		}
		w.and("status IN (?"+strings.Repeat(", ?", len(in)-1)+")", in...)
	}
	return selection{"SELECT coalesce(sum(n), 0) FROM " + table + w.text(), w.args}
}
