package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
)

// Projects keeps projects.
type Projects struct {
	c            *mongo.Collection
	owned        []owned
	events, logs *mongo.Collection
	files        *Files
}

// owned is a collection whose documents belong to the project they name.
type owned struct{ c *mongo.Collection }

// projectDoc is a project as it is stored.
type projectDoc struct {
	ID            string          `bson:"_id"`
	Project       cyclone.Project `bson:",inline"`
	WebhookSecret []byte          `bson:"webhookSecret"`
	CacheEpoch    int64           `bson:"cacheEpoch"`
	Revision      int64           `bson:"revision"`
	Write         string          `bson:"write"`
}

func (d projectDoc) value() *cyclone.Project {
	d.Project.WebhookSecret, d.Project.CacheEpoch, d.Project.Revision = d.WebhookSecret, d.CacheEpoch, d.Revision
	return &d.Project
}

func newProjectDoc(p *cyclone.Project, revision int64, token string) projectDoc {
	return projectDoc{string(p.Name), *p, p.WebhookSecret, p.CacheEpoch, revision, token}
}

// Create stores a new project and sets its Revision, or returns ErrConflict
// when the name is taken.
func (s *Projects) Create(ctx context.Context, p *cyclone.Project) error {
	token := newToken()
	err := insert(ctx, s.c, string(p.Name), token, newProjectDoc(p, 1, token))
	if mongo.IsDuplicateKeyError(err) {
		return cyclone.Conflict("project %q exists already", p.Name)
	}
	if err != nil {
		return wrap(err, "create project %s", p.Name)
	}
	p.Revision = 1
	return nil
}

// Find returns ErrNotFound when there is none.
func (s *Projects) Find(ctx context.Context, name cyclone.ProjectName) (*cyclone.Project, error) {
	p, err := one[projectDoc](s.c.FindOne(ctx, byID(string(name))))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.NotFound("project %q does not exist", name)
	}
	return p, wrap(err, "find project %s", name)
}

// Replace writes p where the stored Revision equals p.Revision and then
// increments p.Revision; ErrConflict when somebody else wrote meanwhile,
// ErrNotFound when there is none.
func (s *Projects) Replace(ctx context.Context, p *cyclone.Project) error {
	token := newToken()
	err := replace(ctx, s.c, "project", string(p.Name), p.Revision, token,
		newProjectDoc(p, p.Revision+1, token))
	if err != nil {
		return wrap(err, "replace project %s", p.Name)
	}
	p.Revision++
	return nil
}

// replace writes a document, which carries the token, where the stored
// revision is the one given.
func replace(ctx context.Context, c *mongo.Collection, noun, id string, revision int64, token string, doc any) error {
	return surely(ctx, func(ctx context.Context) error {
		result, err := c.ReplaceOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "revision", Value: revision}}, doc)
		if err != nil || result.MatchedCount > 0 {
			return err
		}
		if own, err := wrote(ctx, c, id, token); own || err != nil {
			return err
		}
		return whyNot(ctx, c, noun, id)
	})
}

// whyNot says why replace matched nothing.
func whyNot(ctx context.Context, c *mongo.Collection, noun, id string) error {
	n, err := c.CountDocuments(ctx, byID(id))
	if err != nil {
		return err
	}
	if n == 0 {
		return cyclone.NotFound("%s %q does not exist", noun, id)
	}
	return cyclone.Conflict("%s %q was changed by somebody else meanwhile", noun, id)
}

// deleteBatch bounds how many events go at a time.
const deleteBatch = 500

// Delete removes the project with its events, logs, files, deliveries, secrets
// and marks; ErrNotFound when there is none. The project itself goes last: one
// that was interrupted is called again.
func (s *Projects) Delete(ctx context.Context, name cyclone.ProjectName) error {
	if _, err := s.Find(ctx, name); err != nil {
		return err
	}
	ctx, stop := long(ctx)
	defer stop()
	if err := s.deleteEvents(ctx, name); err != nil {
		return wrap(err, "delete events of project %s", name)
	}
	for _, o := range s.owned {
		if _, err := o.c.DeleteMany(ctx, bson.D{{Key: "project", Value: name}}); err != nil {
			return wrap(err, "delete %s of project %s", o.c.Name(), name)
		}
	}
	_, err := s.c.DeleteOne(ctx, byID(string(name)))
	return wrap(err, "delete project %s", name)
}

// deleteEvents deletes each batch of events after its logs and files, which
// could not be found any more without them.
func (s *Projects) deleteEvents(ctx context.Context, name cyclone.ProjectName) error {
	for {
		found, err := s.events.Find(ctx, bson.D{{Key: "project", Value: name}},
			options.Find().SetProjection(byOne("_id")).SetLimit(deleteBatch))
		if err != nil {
			return err
		}
		var events []struct {
			ID string `bson:"_id"`
		}
		if err := found.All(ctx, &events); err != nil || len(events) == 0 {
			return err
		}
		ids := bson.A{}
		for _, e := range events {
			ids = append(ids, e.ID)
		}
		in := bson.D{{Key: "$in", Value: ids}}
		if _, err := s.logs.DeleteMany(ctx, bson.D{{Key: "event", Value: in}}); err != nil {
			return err
		}
		if err := s.files.deleteOf(ctx, bson.D{{Key: "event", Value: in}}); err != nil {
			return err
		}
		if _, err := s.events.DeleteMany(ctx, bson.D{{Key: "_id", Value: in}}); err != nil {
			return err
		}
	}
}

// List returns projects by name.
func (s *Projects) List(ctx context.Context, page cyclone.Page) (cyclone.List[*cyclone.Project], error) {
	return listByName[projectDoc](ctx, s.c, page, func(p *cyclone.Project) string { return string(p.Name) })
}
