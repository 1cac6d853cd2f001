package mongo

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
)

// schemaID is the document among the settings that says how the others are
// stored. Data without it is of schema 1, or there is none yet.
const schemaID = "schema"

type schemaDoc struct {
	ID      string `bson:"_id"`
	Version int    `bson:"version"`
}

// migration brings the data from one schema to the next. Several servers may
// start at the same time, and any of them may be interrupted: each step must
// leave alone what is done already.
type migration func(context.Context, *Store) error

// migrations bring data from schema i+1 to i+2. One that was released is never
// changed: a change is a new one at the end.
var migrations = []migration{statesOfDeliveries, epochsOfProjects, marksOfProjects}

// current is the schema that this program writes.
func current() int { return len(migrations) + 1 }

// schema is the version of the data.
func (s *Store) schema(ctx context.Context) (int, error) {
	doc := schemaDoc{Version: 1}
	err := s.Settings.c.FindOne(ctx, byID(schemaID)).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return doc.Version, wrap(err, "read the schema of the data")
}

// refuseNewer returns ErrInvalid when a newer server wrote the data.
func (s *Store) refuseNewer(ctx context.Context) error {
	version, err := s.schema(ctx)
	if err == nil && version > current() {
		return cyclone.Invalid("store", "database %s was written by a newer server (schema %d; this one knows up to %d): "+
			"start that version again, or restore the copy made before the upgrade",
			s.Settings.c.Database().Name(), version, current())
	}
	return err
}

// upgrade brings the data up to date step by step.
func (s *Store) upgrade(ctx context.Context, log *slog.Logger) error {
	ctx, stop := long(ctx)
	defer stop()
	for {
		version, err := s.schema(ctx)
		if err != nil || version >= current() {
			return err
		}
		log.InfoContext(ctx, "bringing the data up to date", "from_schema", version, "to_schema", version+1)
		if err := migrations[version-1](ctx, s); err != nil {
			return wrap(err, "migrate data to schema %d", version+1)
		}
		if err := s.setSchema(ctx, version+1); err != nil {
			return wrap(err, "write the schema of the data")
		}
	}
}

// setSchema raises the version; it never lowers it.
func (s *Store) setSchema(ctx context.Context, version int) error {
	result, err := s.Settings.c.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: schemaID}, {Key: "version", Value: bson.D{{Key: "$lt", Value: version}}}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: version}}}})
	if err != nil || result.MatchedCount > 0 {
		return err
	}
	_, err = s.Settings.c.InsertOne(ctx, schemaDoc{schemaID, version})
	if mongo.IsDuplicateKeyError(err) {
		return nil // another server was faster
	}
	return err
}

// statesOfDeliveries leads to schema 2: "state" and "due" of a delivery stand
// where "handled" alone stood.
func statesOfDeliveries(ctx context.Context, s *Store) error {
	c := s.Deliveries.c
	none := bson.E{Key: "state", Value: bson.D{{Key: "$exists", Value: false}}}
	for {
		done, err := nextStates(ctx, c, none)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	err := c.Indexes().DropOne(ctx, "handled_1_receivedAt_1")
	var refused mongo.ServerError
	if errors.As(err, &refused) && refused.HasErrorCode(indexNotFound) {
		return nil
	}
	return err
}

// epochsOfProjects leads to schema 3: projects count how often their caches
// were cleared, and events have files, of which there are none yet.
func epochsOfProjects(ctx context.Context, s *Store) error {
	_, err := s.Projects.c.UpdateMany(ctx, bson.D{{Key: "cacheEpoch", Value: bson.D{{Key: "$exists", Value: false}}}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "cacheEpoch", Value: int64(0)}}}})
	return err
}

// marksOfProjects leads to schema 4: projects have marks, of which there are
// none yet. A server of before must not go on beside this one: it would leave
// them behind when it deletes a project.
func marksOfProjects(context.Context, *Store) error { return nil }

// nextStates gives a batch of deliveries their state; none selects those that
// have none. It reports true when there are no more.
func nextStates(ctx context.Context, c *mongo.Collection, none bson.E) (bool, error) {
	found, err := c.Find(ctx, bson.D{none}, options.Find().SetLimit(deleteBatch).
		SetProjection(bson.D{{Key: "handled", Value: 1}, {Key: "receivedAt", Value: 1}}))
	if err != nil {
		return false, err
	}
	var old []struct {
		ID       string    `bson:"_id"`
		Handled  bool      `bson:"handled"`
		Received time.Time `bson:"receivedAt"`
	}
	if err := found.All(ctx, &old); err != nil || len(old) == 0 {
		return err == nil, err
	}
	ids := bson.A{}
	for _, d := range old {
		if d.Handled {
			ids = append(ids, d.ID)
			continue
		}
		_, err := c.UpdateOne(ctx, bson.D{{Key: "_id", Value: d.ID}, none}, becomes(waiting, &d.Received))
		if err != nil {
			return false, err
		}
	}
	_, err = c.UpdateMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}, none}, becomes(handled, nil))
	return false, err
}

func becomes(st state, due *time.Time) bson.D {
	return bson.D{
		{Key: "$set", Value: bson.D{{Key: "state", Value: st}, {Key: "due", Value: due}}},
		{Key: "$unset", Value: bson.D{{Key: "handled", Value: ""}}},
	}
}
