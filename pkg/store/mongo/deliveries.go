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
	"cyclone/pkg/paging"
)

// Deliveries keeps the forges' calls.
type Deliveries struct{ c *mongo.Collection }

// deliveryDoc is a delivery as it is stored.
type deliveryDoc struct {
	ID       string           `bson:"_id"`
	Delivery cyclone.Delivery `bson:",inline"`
	// Handled repeats whether HandledAt is set, for the index.
	Handled bool        `bson:"handled"`
	Header  http.Header `bson:"header"`
	Body    []byte      `bson:"body"`
}

func (d deliveryDoc) value() *cyclone.Delivery {
	d.Delivery.Header, d.Delivery.Body = d.Header, d.Body
	return &d.Delivery
}

// deliveryID is unique, as names of projects and kinds of scm have no slash.
func deliveryID(project cyclone.ProjectName, scm string, id cyclone.DeliveryID) string {
	return string(project) + "/" + scm + "/" + string(id)
}

// Create stores a delivery; ErrConflict when the project has one with this scm
// and id.
func (s *Deliveries) Create(ctx context.Context, d *cyclone.Delivery) error {
	_, err := s.c.InsertOne(ctx, deliveryDoc{
		ID: deliveryID(d.Project, d.SCM, d.ID), Delivery: *d,
		Handled: d.HandledAt != nil, Header: d.Header, Body: d.Body,
	})
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
	update := bson.D{{Key: "$set", Value: bson.D{
		{Key: "handled", Value: d.HandledAt != nil}, {Key: "handledAt", Value: d.HandledAt},
		{Key: "kind", Value: d.Kind}, {Key: "events", Value: d.Events},
		{Key: "ignored", Value: d.Ignored}, {Key: "error", Value: d.Error},
	}}}
	result, err := s.c.UpdateOne(ctx, byID(deliveryID(d.Project, d.SCM, d.ID)), update)
	if err == nil && result.MatchedCount == 0 {
		return cyclone.NotFound("project %s has no %s delivery %q", d.Project, d.SCM, d.ID)
	}
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

// Unhandled returns deliveries received before the time whose HandledAt is
// nil, the oldest first, with Header and Body.
func (s *Deliveries) Unhandled(ctx context.Context, before time.Time, limit int) ([]*cyclone.Delivery, error) {
	found, err := all[deliveryDoc](ctx, s.c,
		bson.D{{Key: "handled", Value: false}, {Key: "receivedAt", Value: bson.D{{Key: "$lt", Value: ceil(before)}}}},
		options.Find().SetSort(byOne("receivedAt")).SetLimit(int64(paging.AtMost(limit))))
	return found, wrap(err, "list unhandled deliveries")
}
