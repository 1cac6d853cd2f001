package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
)

// Secrets keeps projects' secrets.
type Secrets struct{ c *mongo.Collection }

// secretDoc is a secret as it is stored.
type secretDoc struct {
	ID      string              `bson:"_id"`
	Project cyclone.ProjectName `bson:"project"`
	Secret  cyclone.Secret      `bson:",inline"`
	Value   []byte              `bson:"value"`
}

func (d secretDoc) value() *cyclone.Secret {
	d.Secret.Project, d.Secret.Value = d.Project, d.Value
	return &d.Secret
}

func secretID(project cyclone.ProjectName, name string) string { return string(project) + "/" + name }

// Put stores a secret, over one of the same name.
func (s *Secrets) Put(ctx context.Context, secret *cyclone.Secret) error {
	id := secretID(secret.Project, secret.Name)
	doc := secretDoc{id, secret.Project, *secret, secret.Value}
	err := again(ctx, func(ctx context.Context) error {
		_, err := s.c.ReplaceOne(ctx, byID(id), doc, options.Replace().SetUpsert(true))
		return err
	})
	return wrap(err, "put secret %s", secret.Name)
}

// again repeats an upsert that lost the race to insert: by then there is a
// document to update.
func again(ctx context.Context, upsert func(context.Context) error) error {
	return surely(ctx, func(ctx context.Context) error {
		err := upsert(ctx)
		if mongo.IsDuplicateKeyError(err) {
			err = upsert(ctx)
		}
		return err
	})
}

// Find returns ErrNotFound when there is none.
func (s *Secrets) Find(ctx context.Context, project cyclone.ProjectName, name string) (*cyclone.Secret, error) {
	found, err := one[secretDoc](s.c.FindOne(ctx, byID(secretID(project, name))))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.NotFound("project %s has no secret %q", project, name)
	}
	return found, wrap(err, "find secret %s", name)
}

// Delete removes a secret; ErrNotFound when there is none.
func (s *Secrets) Delete(ctx context.Context, project cyclone.ProjectName, name string) error {
	result, err := s.c.DeleteOne(ctx, byID(secretID(project, name)))
	if err == nil && result.DeletedCount == 0 {
		return cyclone.NotFound("project %s has no secret %q", project, name)
	}
	return wrap(err, "delete secret %s", name)
}

// List returns all of a project's secrets by name.
func (s *Secrets) List(ctx context.Context, project cyclone.ProjectName) ([]*cyclone.Secret, error) {
	found, err := all[secretDoc](ctx, s.c, bson.D{{Key: "project", Value: project}}, options.Find().SetSort(byOne("name")))
	return found, wrap(err, "list secrets of project %s", project)
}

// Settings keeps the installation's own values.
type Settings struct{ c *mongo.Collection }

// settingDoc is a value as it is stored.
type settingDoc struct {
	ID    string `bson:"_id"`
	Value []byte `bson:"value"`
}

func (d settingDoc) value() []byte { return notNil(d.Value) }

// notNil is the value with nil as empty, as a value that was set is not null.
func notNil(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// Setting returns ErrNotFound when the value was never set.
func (s *Settings) Setting(ctx context.Context, name string) ([]byte, error) {
	value, err := one[settingDoc](s.c.FindOne(ctx, byID(name)))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.NotFound("setting %q was never set", name)
	}
	return value, wrap(err, "read setting %s", name)
}

// SetOnce stores a value unless there is one, and returns the one that holds.
func (s *Settings) SetOnce(ctx context.Context, name string, value []byte) ([]byte, error) {
	var holds []byte
	err := again(ctx, func(ctx context.Context) (err error) {
		holds, err = one[settingDoc](s.c.FindOneAndUpdate(ctx, byID(name),
			bson.D{{Key: "$setOnInsert", Value: bson.D{{Key: "value", Value: notNil(value)}}}},
			options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)))
		return err
	})
	return holds, wrap(err, "set %s once", name)
}

// Set stores a value.
func (s *Settings) Set(ctx context.Context, name string, value []byte) error {
	err := again(ctx, func(ctx context.Context) error {
		_, err := s.c.UpdateOne(ctx, byID(name),
			bson.D{{Key: "$set", Value: bson.D{{Key: "value", Value: notNil(value)}}}}, options.UpdateOne().SetUpsert(true))
		return err
	})
	return wrap(err, "set %s", name)
}
