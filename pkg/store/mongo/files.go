package mongo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
)

// Files keeps files with events: each is a document, which points to its
// content. That is written before and never changed, so that whoever sees the
// document sees all of the content.
type Files struct {
	c        *mongo.Collection
	contents *contents
}

// fileDoc is a file as it is stored. Its id is made of event, kind and path.
type fileDoc struct {
	ID      string          `bson:"_id"`
	Event   cyclone.EventID `bson:"event"`
	File    cyclone.File    `bson:",inline"`
	Content string          `bson:"content"`
}

func (d fileDoc) value() cyclone.File {
	d.File.Event = d.Event
	return d.File
}

func fileID(event cyclone.EventID, kind cyclone.FileKind, path string) string {
	return string(event) + "/" + string(kind) + "/" + path
}

// Put stores the content, over a file of the same event, kind and path, and
// returns the file with size and sum, and CreatedAt where that was zero. Nobody
// sees it before it is complete; when content fails, nothing has changed.
// ErrInvalid when f.Check fails. What was there before stays readable for an
// hour to those who have it open.
func (s *Files) Put(ctx context.Context, f cyclone.File, content io.Reader) (cyclone.File, error) {
	var none cyclone.File
	if err := f.Check(); err != nil {
		return none, err
	}
	if f.CreatedAt.IsZero() {
		f.CreatedAt = time.Now()
	}
	f.CreatedAt = cyclone.Stamp(f.CreatedAt)
	s.contents.sweepNow(ctx)
	id, err := s.contents.save(ctx, &f, content)
	var broken *sourceError
	if errors.As(err, &broken) {
		return none, fmt.Errorf("keep %s %s of event %s: read its content: %w", f.Kind, f.Path, f.Event, broken.error)
	}
	if err == nil {
		err = s.enter(ctx, fileDoc{fileID(f.Event, f.Kind, f.Path), f.Event, f, id})
	}
	if err != nil {
		return none, wrap(err, "keep %s %s of event %s", f.Kind, f.Path, f.Event)
	}
	s.contents.settle(ctx, id)
	return f, nil
}

// enter makes the content the file's. What it had before is left to a sweep,
// and so is the new one where it is not known whether the file has it.
func (s *Files) enter(ctx context.Context, doc fileDoc) error {
	return surely(ctx, func(ctx context.Context) error {
		for {
			old, err := s.find(ctx, doc.ID)
			switch {
			case errors.Is(err, mongo.ErrNoDocuments):
				_, err = s.c.InsertOne(ctx, doc)
			case err != nil:
			case old.Content == doc.Content:
				return nil // an attempt before did it
			default:
				err = s.replace(ctx, old, doc)
			}
			if !mongo.IsDuplicateKeyError(err) && !errors.Is(err, errMoved) {
				return err
			}
		}
	})
}

// errMoved says that somebody else wrote the file meanwhile.
var errMoved = errors.New("the file was replaced meanwhile")

// replace writes doc where the file is still the old one. Its content is
// remembered as one to be removed before, since nobody points to it after.
func (s *Files) replace(ctx context.Context, old, doc fileDoc) error {
	if err := s.contents.release(ctx, old.Content); err != nil {
		return err
	}
	result, err := s.c.ReplaceOne(ctx, bson.D{{Key: "_id", Value: doc.ID}, {Key: "content", Value: old.Content}}, doc)
	if err == nil && result.MatchedCount == 0 {
		return errMoved
	}
	return err
}

func (s *Files) find(ctx context.Context, id string) (fileDoc, error) {
	var doc fileDoc
	err := s.c.FindOne(ctx, byID(id)).Decode(&doc)
	return doc, err
}

// Open returns a file and its content, which is read within ctx; ErrNotFound
// when there is none.
func (s *Files) Open(ctx context.Context, event cyclone.EventID, kind cyclone.FileKind, path string) (cyclone.File, io.ReadSeekCloser, error) {
	doc, err := s.find(ctx, fileID(event, kind, path))
	if errors.Is(err, mongo.ErrNoDocuments) || err == nil && doc.Event != event {
		return cyclone.File{}, nil, cyclone.NotFound("event %s has no %s %q", event, kind, path)
	}
	if err != nil {
		return cyclone.File{}, nil, wrap(err, "find %s %s of event %s", kind, path, event)
	}
	what := fmt.Sprintf("%s %s of event %s", kind, path, event)
	return doc.value(), &reader{ctx: ctx, from: s.contents, id: doc.Content, size: int64(doc.File.Size), what: what}, nil
}

// List returns the event's files of a kind by path; of all kinds, by kind and
// then by path, when it is empty.
func (s *Files) List(ctx context.Context, event cyclone.EventID, kind cyclone.FileKind) ([]cyclone.File, error) {
	filter := bson.D{{Key: "event", Value: event}}
	if kind != "" {
		filter = append(filter, bson.E{Key: "kind", Value: kind})
	}
	files, err := all[fileDoc](ctx, s.c, filter, options.Find().SetSort(byOne("_id")))
	return files, wrap(err, "list files of event %s", event)
}

// Delete removes all files of an event; none is no error.
func (s *Files) Delete(ctx context.Context, event cyclone.EventID) error {
	s.contents.sweepNow(ctx)
	ctx, stop := long(ctx)
	defer stop()
	return wrap(s.deleteOf(ctx, bson.D{{Key: "event", Value: event}}), "delete files of event %s", event)
}

// deleteOf deletes the files that match, each batch after its contents, which
// could not be found any more without them.
func (s *Files) deleteOf(ctx context.Context, filter bson.D) error {
	for {
		found, err := s.c.Find(ctx, filter, options.Find().SetLimit(deleteBatch).SetProjection(byOne("content")))
		if err != nil {
			return err
		}
		var docs []struct {
			ID      string `bson:"_id"`
			Content string `bson:"content"`
		}
		if err := found.All(ctx, &docs); err != nil || len(docs) == 0 {
			return err
		}
		ids := bson.A{}
		for _, d := range docs {
			if err := s.contents.remove(ctx, d.Content); err != nil {
				return err
			}
			ids = append(ids, bson.D{{Key: "_id", Value: d.ID}, {Key: "content", Value: d.Content}})
		}
		// One that was replaced meanwhile is another's, and stays for the next batch.
		if _, err := s.c.DeleteMany(ctx, bson.D{{Key: "$or", Value: ids}}); err != nil {
			return err
		}
	}
}
