package mongo

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/pack"
	"cyclone/pkg/paging"
)

// Deliveries keeps the forges' calls.
type Deliveries struct{ c *mongo.Collection }

// deliveryDoc is a delivery as it is stored.
type deliveryDoc struct {
	ID       string           `bson:"_id"`
	Delivery cyclone.Delivery `bson:",inline"`
	// State is what the queries ask for, Due when the next attempt is to be
	// made of one that is waiting.
	State  state       `bson:"state"`
	Due    *time.Time  `bson:"due,omitempty"`
	Header http.Header `bson:"header"`
	Body   body        `bson:"body"`
	Write  string      `bson:"write"`
}

func (d deliveryDoc) value() *cyclone.Delivery {
	d.Delivery.Header, d.Delivery.Body = d.Header, d.Body
	return &d.Delivery
}

// body is what a webhook sent, stored small: a document takes 16 MiB, a webhook
// may have 25.
type body []byte

const (
	// packedBody is the subtype of a packed body, one of those for users.
	packedBody = 0x80
	// largestBody is the most bytes that one is unpacked to.
	largestBody = 64 << 20
)

// MarshalBSONValue packs the body where that is worth it.
func (b body) MarshalBSONValue() (byte, []byte, error) {
	if b == nil {
		return byte(bson.TypeNull), nil, nil
	}
	packed, ok, err := pack.Pack(b)
	if err != nil {
		return 0, nil, err
	}
	value := bson.Binary{Data: packed}
	if ok {
		value.Subtype = packedBody
	}
	kind, data, err := bson.MarshalValue(value)
	return byte(kind), data, err
}

// UnmarshalBSONValue unpacks it.
func (b *body) UnmarshalBSONValue(kind byte, data []byte) error {
	var value bson.Binary
	if bson.Type(kind) == bson.TypeNull {
		*b = nil
		return nil
	}
	if err := bson.UnmarshalValue(bson.Type(kind), data, &value); err != nil {
		return err
	}
	*b = value.Data
	if value.Subtype != packedBody {
		return nil
	}
	plain, err := pack.Unpack(value.Data, largestBody)
	*b = plain
	return err
}

// state says what is to become of a delivery.
type state string

const (
	waiting state = "waiting"
	parked  state = "parked"
	handled state = "handled"
)

// stateOf is the state of a delivery, and when it is due if it is waiting.
func stateOf(d *cyclone.Delivery) (state, *time.Time) {
	switch {
	case d.HandledAt != nil:
		return handled, nil
	case d.ParkedAt != nil:
		return parked, nil
	case d.NextAt != nil:
		return waiting, d.NextAt
	}
	return waiting, &d.ReceivedAt
}

// deliveryID is unique, as names of projects and kinds of scm have no slash.
func deliveryID(project cyclone.ProjectName, scm string, id cyclone.DeliveryID) string {
	return string(project) + "/" + scm + "/" + string(id)
}

// Create stores a delivery; ErrConflict when the project has one with this scm
// and id.
func (s *Deliveries) Create(ctx context.Context, d *cyclone.Delivery) error {
	doc := deliveryDoc{ID: deliveryID(d.Project, d.SCM, d.ID), Delivery: *d, Header: d.Header, Body: d.Body, Write: newToken()}
	doc.State, doc.Due = stateOf(d)
	err := insert(ctx, s.c, doc.ID, doc.Write, doc)
	if mongo.IsDuplicateKeyError(err) {
		return cyclone.Conflict("project %s has %s delivery %q already", d.Project, d.SCM, d.ID)
	}
	return wrap(err, "create delivery %s", d.ID)
}

// Find returns ErrNotFound when there is none.
func (s *Deliveries) Find(ctx context.Context, project cyclone.ProjectName, scm string, id cyclone.DeliveryID) (*cyclone.Delivery, error) {
	d, err := one[deliveryDoc](s.c.FindOne(ctx, byID(deliveryID(project, scm, id))))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.NotFound("project %s has no %s delivery %q", project, scm, id)
	}
	return d, wrap(err, "find delivery %s", id)
}

// Replace writes the outcome of a stored delivery; its header and body stay.
// ErrNotFound when there is none.
func (s *Deliveries) Replace(ctx context.Context, d *cyclone.Delivery) error {
	st, due := stateOf(d)
	update := bson.D{{Key: "$set", Value: bson.D{
		{Key: "state", Value: st}, {Key: "due", Value: due}, {Key: "handledAt", Value: d.HandledAt},
		{Key: "attempts", Value: d.Attempts}, {Key: "nextAt", Value: d.NextAt}, {Key: "parkedAt", Value: d.ParkedAt},
		{Key: "kind", Value: d.Kind}, {Key: "ref", Value: d.Ref}, {Key: "commit", Value: d.Commit}, {Key: "events", Value: d.Events},
		{Key: "ignored", Value: d.Ignored}, {Key: "error", Value: d.Error},
	}}}
	err := surely(ctx, func(ctx context.Context) error {
		result, err := s.c.UpdateOne(ctx, byID(deliveryID(d.Project, d.SCM, d.ID)), update)
		if err == nil && result.MatchedCount == 0 {
			return cyclone.NotFound("project %s has no %s delivery %q", d.Project, d.SCM, d.ID)
		}
		return err
	})
	return wrap(err, "replace delivery %s", d.ID)
}

// List returns a project's deliveries, newest first, without Header and Body.
func (s *Deliveries) List(ctx context.Context, project cyclone.ProjectName, page cyclone.Page) (cyclone.List[*cyclone.Delivery], error) {
	var none cyclone.List[*cyclone.Delivery]
	more, err := older("receivedAt", page.Cursor)
	if err != nil {
		return none, err
	}
	filter := bson.D{{Key: "project", Value: project}}
	total, err := s.c.CountDocuments(ctx, filter)
	if err != nil {
		return none, wrap(err, "count deliveries of project %s", project)
	}
	n := paging.Limit(page)
	items, err := all[deliveryDoc](ctx, s.c, append(filter, more...), options.Find().SetLimit(int64(n)+1).
		SetSort(bson.D{{Key: "receivedAt", Value: -1}, {Key: "_id", Value: -1}}).
		SetProjection(bson.D{{Key: "header", Value: 0}, {Key: "body", Value: 0}}))
	if err != nil {
		return none, wrap(err, "list deliveries of project %s", project)
	}
	return paging.Cut(items, n, int(total), func(d *cyclone.Delivery) string {
		return timeCursor(d.ReceivedAt, deliveryID(d.Project, d.SCM, d.ID))
	}), nil
}

// Due returns deliveries that are neither handled nor parked and whose NextAt
// (or else ReceivedAt) is not after now, the longest due first, with Header and
// Body, at most limit of them.
func (s *Deliveries) Due(ctx context.Context, now time.Time, limit int) ([]*cyclone.Delivery, error) {
	found, err := all[deliveryDoc](ctx, s.c,
		bson.D{{Key: "state", Value: waiting}, {Key: "due", Value: bson.D{{Key: "$lte", Value: now}}}},
		options.Find().SetSort(byOne("due")).SetLimit(int64(paging.AtMost(limit))))
	return found, wrap(err, "list due deliveries")
}
