package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/pack"
	"cyclone/pkg/paging"
)

// Deliveries keeps the forges' calls.
type Deliveries struct{ db *db }

// Create stores a delivery; ErrConflict when the project has one with this scm
// and id.
func (s *Deliveries) Create(ctx context.Context, d *cyclone.Delivery) error {
	body, err := encodeDelivery(d)
	if err != nil {
		return wrap(err, "create delivery %s", d.ID)
	}
	header, err := text(d.Header)
	if err != nil {
		return wrap(err, "create delivery %s", d.ID)
	}
	payload, packed, err := pack.Pack(d.Body)
	if err != nil {
		return wrap(err, "create delivery %s", d.ID)
	}
	err = s.db.write(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO deliveries (project, scm, id, received, handled, due, parked, body, header)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			d.Project, d.SCM, d.ID, d.ReceivedAt.UnixMilli(), milli(d.HandledAt), due(d), parked(d), body, header)
		if err == nil && n == 0 {
			return cyclone.Conflict("project %s has %s delivery %q already", d.Project, d.SCM, d.ID)
		}
		if err == nil {
			_, err = t.exec("INSERT INTO payloads VALUES (last_insert_rowid(), ?, ?)", packed, payload)
		}
		return err
	})
	return wrap(err, "create delivery %s", d.ID)
}

// Find returns ErrNotFound when there is none.
func (s *Deliveries) Find(ctx context.Context, project cyclone.ProjectName, scm string, id cyclone.DeliveryID) (*cyclone.Delivery, error) {
	d, err := scanDelivery(s.db.row(ctx,
		"SELECT body, header, packed, payload FROM deliveries LEFT JOIN payloads ON delivery = seq WHERE project = ? AND scm = ? AND id = ?", project, scm, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cyclone.NotFound("project %s has no %s delivery %q", project, scm, id)
	}
	return d, wrap(err, "find delivery %s", id)
}

// Replace writes the outcome of a stored delivery; its header and body stay.
// ErrNotFound when there is none.
func (s *Deliveries) Replace(ctx context.Context, d *cyclone.Delivery) error {
	body, err := encodeDelivery(d)
	if err != nil {
		return wrap(err, "replace delivery %s", d.ID)
	}
	err = s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE deliveries SET handled = ?, due = ?, parked = ?, body = ? WHERE project = ? AND scm = ? AND id = ?",
			milli(d.HandledAt), due(d), parked(d), body, d.Project, d.SCM, d.ID)
		if err == nil && n == 0 {
			return cyclone.NotFound("project %s has no %s delivery %q", d.Project, d.SCM, d.ID)
		}
		return err
	})
	return wrap(err, "replace delivery %s", d.ID)
}

// List returns a project's deliveries, newest first, without Header and Body.
func (s *Deliveries) List(ctx context.Context, project cyclone.ProjectName, page cyclone.Page) (cyclone.List[*cyclone.Delivery], error) {
	var none cyclone.List[*cyclone.Delivery]
	received, seq, more, err := parseNumbers(page.Cursor)
	if err != nil {
		return none, err
	}
	w := where{}
	w.and("project = ?", project)
	if more {
		w.and("(received, seq) < (?, ?)", received, seq)
	}
	total, err := s.db.count(ctx, "SELECT coalesce(sum(n), 0) FROM delivery_totals WHERE project = ?", project)
	if err != nil {
		return none, wrap(err, "count deliveries of project %s", project)
	}
	n := paging.Limit(page)
	items, err := all(ctx, s.db, scanBrief, "SELECT body, received, seq FROM deliveries"+w.text()+
		" ORDER BY received DESC, seq DESC LIMIT ?", append(w.args, n+1)...)
	if err != nil {
		return none, wrap(err, "list deliveries of project %s", project)
	}
	list := paging.Cut(items, n, total, func(b brief) string { return b.cursor })
	found := cyclone.List[*cyclone.Delivery]{Items: make([]*cyclone.Delivery, len(list.Items)), Next: list.Next, Total: total}
	for i, b := range list.Items {
		found.Items[i] = b.delivery
	}
	return found, nil
}

// brief is a delivery without header and body, and its place in the list.
type brief struct {
	delivery *cyclone.Delivery
	cursor   string
}

func scanBrief(row scanner) (brief, error) {
	var body []byte
	var received, seq int64
	if err := row.Scan(&body, &received, &seq); err != nil {
		return brief{}, err
	}
	var d cyclone.Delivery
	err := json.Unmarshal(body, &d)
	return brief{&d, paging.Cursor(strconv.FormatInt(received, 10), strconv.FormatInt(seq, 10))}, err
}

// Due returns deliveries that are neither handled nor parked and whose NextAt
// (or else ReceivedAt) is not after now, the longest due first, with Header and
// Body, at most limit of them.
func (s *Deliveries) Due(ctx context.Context, now time.Time, limit int) ([]*cyclone.Delivery, error) {
	found, err := all(ctx, s.db, scanDelivery, `SELECT body, header, packed, payload FROM deliveries INDEXED BY deliveries_due
		LEFT JOIN payloads ON delivery = seq WHERE due IS NOT NULL AND due <= ? ORDER BY due, seq LIMIT ?`, now.UnixMilli(), paging.AtMost(limit))
	return found, wrap(err, "list due deliveries")
}

// largestBody is the most bytes that a packed body is unpacked to.
const largestBody = 64 << 20

// scanDelivery reads the columns body, header, packed and payload.
func scanDelivery(row scanner) (*cyclone.Delivery, error) {
	var body, header []byte
	var d cyclone.Delivery
	var packed sql.NullBool
	if err := row.Scan(&body, &header, &packed, &d.Body); err != nil {
		return nil, err
	}
	if packed.Bool {
		var err error
		if d.Body, err = pack.Unpack(d.Body, largestBody); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, err
	}
	return &d, json.Unmarshal(header, &d.Header)
}

func encodeDelivery(d *cyclone.Delivery) (string, error) {
	return text(stamped(d))
}

// due is when the next attempt is to be made, or NULL.
func due(d *cyclone.Delivery) sql.NullInt64 {
	switch {
	case d.HandledAt != nil || d.ParkedAt != nil:
		return sql.NullInt64{}
	case d.NextAt != nil:
		return milli(d.NextAt)
	}
	return milli(&d.ReceivedAt)
}

// parked is when the delivery was given up, or NULL when it was not, or was
// handled after all.
func parked(d *cyclone.Delivery) sql.NullInt64 {
	if d.HandledAt != nil {
		return sql.NullInt64{}
	}
	return milli(d.ParkedAt)
}

func milli(t *time.Time) sql.NullInt64 {
	if t == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: true}
}
