package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
)

// Marks keeps what the server remembers about projects between its rounds.
type Marks struct{ c *mongo.Collection }

// markDoc is a mark as it is stored.
type markDoc struct {
	ID       string              `bson:"_id"`
	Project  cyclone.ProjectName `bson:"project"`
	Name     string              `bson:"name"`
	Value    []byte              `bson:"value"`
	Revision int64               `bson:"revision"`
	Write    string              `bson:"write"`
}

func (d markDoc) value() *cyclone.Mark {
	return &cyclone.Mark{Project: d.Project, Name: d.Name, Value: notNil(d.Value), Revision: d.Revision}
}

// markID: no name of a project has a slash.
func markID(project cyclone.ProjectName, name string) string { return string(project) + "/" + name }

// Put writes m where the stored revision equals m.Revision (0: where none is
// stored) and then increments m.Revision; ErrConflict when somebody else wrote
// meanwhile, or deleted it.
func (s *Marks) Put(ctx context.Context, m *cyclone.Mark) error {
	id, token := markID(m.Project, m.Name), newToken()
	doc := markDoc{id, m.Project, m.Name, notNil(m.Value), m.Revision + 1, token}
	var err error
	if m.Revision == 0 {
		err = insert(ctx, s.c, id, token, doc)
	} else {
		err = replace(ctx, s.c, "mark", id, m.Revision, token, doc)
	}
	switch {
	case mongo.IsDuplicateKeyError(err), errors.Is(err, cyclone.ErrNotFound), errors.Is(err, cyclone.ErrConflict):
		return cyclone.Conflict("mark %q of project %q was changed by somebody else meanwhile", m.Name, m.Project)
	case err != nil:
		return wrap(err, "put mark %s of project %s", m.Name, m.Project)
	}
	m.Revision++
	return nil
}

// Find returns ErrNotFound when there is none.
func (s *Marks) Find(ctx context.Context, project cyclone.ProjectName, name string) (*cyclone.Mark, error) {
	m, err := one[markDoc](s.c.FindOne(ctx, byID(markID(project, name))))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, noMark(project, name)
	}
	return m, wrap(err, "find mark %s of project %s", name, project)
}

// Delete removes a mark; ErrNotFound when there is none.
func (s *Marks) Delete(ctx context.Context, project cyclone.ProjectName, name string) error {
	result, err := s.c.DeleteOne(ctx, byID(markID(project, name)))
	if err == nil && result.DeletedCount == 0 {
		return noMark(project, name)
	}
	return wrap(err, "delete mark %s of project %s", name, project)
}

// List returns a project's marks whose names begin with prefix, by name.
func (s *Marks) List(ctx context.Context, project cyclone.ProjectName, prefix string) ([]*cyclone.Mark, error) {
	marks, err := all[markDoc](ctx, s.c, bson.D{
		{Key: "project", Value: project},
		{Key: "name", Value: bson.D{{Key: "$gte", Value: prefix}, {Key: "$lt", Value: prefix + lastText}}},
	}, options.Find().SetSort(byOne("name")))
	return marks, wrap(err, "list marks of project %s", project)
}

// lastText sorts behind whatever follows a prefix.
const lastText = "\U0010ffff"

func noMark(project cyclone.ProjectName, name string) error {
	return cyclone.NotFound("project %q has no mark %q", project, name)
}
