package mongo

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// Events keeps events and is the queue.
type Events struct {
	c, logs *mongo.Collection
	files   *Files
	turns   turns
}

// eventDoc is an event as it is stored.
type eventDoc struct {
	ID    string        `bson:"_id"`
	Event cyclone.Event `bson:",inline"`
	Run   cyclone.Run   `bson:"run"`
	// Key is unique: "key:" and Run.Key, or "id:" and the id for an event
	// without a key, as not every server can leave those out of an index.
	Key string `bson:"key"`
	// NoticeDue is when the next notice is to be told.
	NoticeDue *time.Time `bson:"noticeDue,omitempty"`
	// Write is the token of the Replace that wrote the document last.
	Write string `bson:"write,omitempty"`
}

func (d eventDoc) value() *cyclone.Event {
	d.Event.Run = d.Run
	return &d.Event
}

func newEventDoc(e *cyclone.Event) eventDoc {
	key := "id:" + string(e.ID)
	if e.Run.Key != "" {
		key = "key:" + e.Run.Key
	}
	return eventDoc{ID: string(e.ID), Event: *e, Run: e.Run, Key: key, NoticeDue: noticeDue(e)}
}

// noticeDue is when an event's next notice is to be told. Unlike
// Event.NoticeDue it tells a zero time, which is due at once and stands here as
// 1970, from no notice.
func noticeDue(e *cyclone.Event) *time.Time {
	var due *time.Time
	for _, n := range e.Run.Notices {
		if at := n.NextAt; !n.Done && (due == nil || at.Before(*due)) {
			if first := time.UnixMilli(0); at.Before(first) {
				at = first
			}
			due = &at
		}
	}
	return due
}

// Create stores a new event and sets its Number and Run.Revision, its ID
// unless it has one, and CreatedAt where that is zero. ErrConflict when
// Run.Key or the ID is taken, but not by this very event: a call whose outcome
// is not known may be repeated.
func (s *Events) Create(ctx context.Context, e *cyclone.Event) error {
	stored := *e
	if stored.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return wrap(err, "make event id")
		}
		stored.ID = cyclone.EventID(id.String())
	}
	if stored.CreatedAt.IsZero() {
		stored.CreatedAt = cyclone.Stamp(time.Now())
	}
	stored.Run.Revision = 1
	// By these a repeated call, or the caller who repeats it after an error,
	// knows the event for its own.
	e.ID, e.CreatedAt = stored.ID, stored.CreatedAt
	err := surely(ctx, func(ctx context.Context) error {
		end, err := s.turns.wait(ctx, e.Project)
		if err != nil {
			return err
		}
		defer end()
		return s.insert(ctx, &stored)
	})
	if err != nil {
		return wrap(err, "create event of project %s", e.Project)
	}
	e.Number, e.Run.Revision = stored.Number, 1
	return nil
}

// insert gives the event the project's next number. A number is taken by the
// insert itself, through the unique index, so that one whose creation failed
// leaves no gap; whoever loses the race for it tries the next.
func (s *Events) insert(ctx context.Context, e *cyclone.Event) error {
	for {
		last, err := s.lastNumber(ctx, e.Project)
		if err != nil {
			return err
		}
		e.Number = last + 1
		_, err = s.c.InsertOne(ctx, newEventDoc(e))
		if !mongo.IsDuplicateKeyError(err) {
			return err
		}
		// Which of the unique values was taken is said in words only.
		if own, err := s.taken(ctx, e); own || err != nil {
			return err
		}
	}
}

// taken returns ErrConflict when there is another event with the id or the
// key. It reports true when that event is e itself, and sets its Number.
func (s *Events) taken(ctx context.Context, e *cyclone.Event) (bool, error) {
	var other struct {
		ID        string              `bson:"_id"`
		Project   cyclone.ProjectName `bson:"project"`
		Number    int64               `bson:"number"`
		Key       string              `bson:"key"`
		CreatedAt time.Time           `bson:"createdAt"`
	}
	key := newEventDoc(e).Key
	err := s.c.FindOne(ctx, bson.D{{Key: "$or", Value: bson.A{
		byID(string(e.ID)), bson.D{{Key: "key", Value: key}},
	}}}, options.FindOne().SetProjection(bson.D{
		{Key: "project", Value: 1}, {Key: "number", Value: 1}, {Key: "key", Value: 1}, {Key: "createdAt", Value: 1},
	})).Decode(&other)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return false, nil
	case err != nil:
		return false, err
	case other.ID != string(e.ID):
		return false, cyclone.Conflict("event %s exists already for %q", other.ID, e.Run.Key)
	case other.Project != e.Project || other.Key != key || !other.CreatedAt.Equal(cyclone.Stamp(e.CreatedAt)):
		return false, cyclone.Conflict("event %s exists already", other.ID)
	}
	e.Number = other.Number
	return true, nil
}

func (s *Events) lastNumber(ctx context.Context, project cyclone.ProjectName) (int64, error) {
	var last struct {
		Number int64 `bson:"number"`
	}
	err := s.c.FindOne(ctx, bson.D{{Key: "project", Value: project}},
		options.FindOne().SetSort(bson.D{{Key: "number", Value: -1}}).SetProjection(byOne("number"))).Decode(&last)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return last.Number, err
}

// byOne projects a document to a field.
func byOne(field string) bson.D { return bson.D{{Key: field, Value: 1}} }

// Find returns ErrNotFound when there is none.
func (s *Events) Find(ctx context.Context, id cyclone.EventID) (*cyclone.Event, error) {
	e, err := one[eventDoc](s.c.FindOne(ctx, byID(string(id))))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.NotFound("event %q does not exist", id)
	}
	return e, wrap(err, "find event %s", id)
}

// FindByKey returns the event that was created with the key, or ErrNotFound.
func (s *Events) FindByKey(ctx context.Context, key string) (*cyclone.Event, error) {
	e, err := one[eventDoc](s.c.FindOne(ctx, bson.D{{Key: "key", Value: "key:" + key}}))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.NotFound("there is no event for %q", key)
	}
	return e, wrap(err, "find event for %q", key)
}

// Replace writes e where the stored revision equals e.Run.Revision and then
// increments e.Run.Revision; ErrConflict when somebody else wrote meanwhile or
// when it would change a final status, ErrNotFound when there is none.
func (s *Events) Replace(ctx context.Context, e *cyclone.Event) error {
	stored := *e
	stored.Run.Revision++
	// A final status may only stay as it is.
	from := bson.A{e.Status}
	for _, status := range cyclone.Statuses {
		if !status.Final() && status != e.Status {
			from = append(from, status)
		}
	}
	doc := newEventDoc(&stored)
	doc.Write = newToken()
	err := surely(ctx, func(ctx context.Context) error {
		result, err := s.c.ReplaceOne(ctx, bson.D{
			{Key: "_id", Value: string(e.ID)}, {Key: "run.revision", Value: e.Run.Revision},
			{Key: "status", Value: bson.D{{Key: "$in", Value: from}}},
		}, doc)
		if err != nil || result.MatchedCount > 0 {
			return err
		}
		if own, err := wrote(ctx, s.c, doc.ID, doc.Write); own || err != nil {
			return err
		}
		return s.whyNot(ctx, e)
	})
	if err != nil {
		return wrap(err, "replace event %s", e.ID)
	}
	e.Run.Revision = stored.Run.Revision
	return nil
}

// whyNot says why Replace matched nothing.
func (s *Events) whyNot(ctx context.Context, e *cyclone.Event) error {
	found, err := s.Find(ctx, e.ID)
	if err != nil {
		return err
	}
	if found.Run.Revision == e.Run.Revision && found.Status.Final() {
		return cyclone.Conflict("event %s is over: it stays %s and cannot become %s", e.ID, found.Status, e.Status)
	}
	return cyclone.Conflict("event %s was changed by somebody else meanwhile", e.ID)
}

// Delete removes a final event, its log and its files. ErrNotFound when there is none,
// ErrConflict when it is not final or has notices still to be told. The event
// itself goes last: one that was interrupted is called again.
func (s *Events) Delete(ctx context.Context, id cyclone.EventID) error {
	var d eventDoc
	err := s.c.FindOne(ctx, byID(string(id))).Decode(&d)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return cyclone.NotFound("event %q does not exist", id)
	case err != nil:
		return wrap(err, "delete event %s", id)
	case !d.Event.Status.Final():
		return cyclone.Conflict("event %s is %s: only one that is over can be deleted", id, d.Event.Status)
	case d.NoticeDue != nil:
		return cyclone.Conflict("event %s has notices that are still to be told", id)
	}
	// A final status never changes and gets no more lines, files or notices, so what
	// was true above still is.
	ctx, stop := long(ctx)
	defer stop()
	if _, err := s.logs.DeleteMany(ctx, bson.D{{Key: "event", Value: id}}); err != nil {
		return wrap(err, "delete log of event %s", id)
	}
	if err := s.files.Delete(ctx, id); err != nil {
		return err
	}
	_, err = s.c.DeleteOne(ctx, byID(string(id)))
	return wrap(err, "delete event %s", id)
}

// List returns events, newest first.
func (s *Events) List(ctx context.Context, q cyclone.EventQuery) (cyclone.List[*cyclone.Event], error) {
	var none cyclone.List[*cyclone.Event]
	more, err := older("createdAt", q.Cursor)
	if err != nil {
		return none, err
	}
	filter := selection(q)
	total, err := s.count(ctx, filter)
	if err != nil {
		return none, wrap(err, "count events")
	}
	n := paging.Limit(q.Page)
	items, err := all[eventDoc](ctx, s.c, append(slices.Clone(filter), more...), options.Find().SetLimit(int64(n)+1).
		SetSort(bson.D{{Key: "createdAt", Value: -1}, {Key: "_id", Value: -1}}))
	if err != nil {
		return none, wrap(err, "list events")
	}
	return paging.Cut(items, n, int(total), func(e *cyclone.Event) string { return timeCursor(e.CreatedAt, string(e.ID)) }), nil
}

// count counts in an index, but for the whole collection, whose size the
// server knows.
func (s *Events) count(ctx context.Context, filter bson.D) (int64, error) {
	if len(filter) == 0 {
		return s.c.EstimatedDocumentCount(ctx)
	}
	return s.c.CountDocuments(ctx, filter)
}

// selection is a query as a filter.
func selection(q cyclone.EventQuery) bson.D {
	filter := bson.D{}
	if q.Project != "" {
		filter = append(filter, bson.E{Key: "project", Value: q.Project})
	}
	if len(q.Statuses) > 0 {
		filter = append(filter, bson.E{Key: "status", Value: bson.D{{Key: "$in", Value: q.Statuses}}})
	}
	if q.Branch != "" {
		filter = append(filter, bson.E{Key: "branch", Value: q.Branch})
	}
	if q.Kind != "" {
		filter = append(filter, bson.E{Key: "trigger.kind", Value: q.Kind})
	}
	span := bson.D{}
	if !q.Since.IsZero() {
		span = append(span, bson.E{Key: "$gte", Value: ceil(q.Since)})
	}
	if !q.Until.IsZero() {
		span = append(span, bson.E{Key: "$lt", Value: ceil(q.Until)})
	}
	if len(span) > 0 {
		filter = append(filter, bson.E{Key: "createdAt", Value: span})
	}
	return filter
}
