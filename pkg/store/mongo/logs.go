package mongo

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// Logs keeps the chunks of events' logs.
type Logs struct{ c *mongo.Collection }

// chunkDoc is a chunk as it is stored. Its id is made of the event and the
// first line, so that two chunks cannot begin at one line; and as each begins
// after the last one's end, no two overlap.
type chunkDoc struct {
	ID    string `bson:"_id"`
	Event string `bson:"event"`
	First int64  `bson:"first"`
	Last  int64  `bson:"last"`
	Data  []byte `bson:"data"`
}

func (d chunkDoc) value() cyclone.Chunk {
	return cyclone.Chunk{First: d.First, Count: d.Last - d.First + 1, Data: d.Data}
}

func chunkID(event cyclone.EventID, first int64) string {
	return string(event) + "/" + strconv.FormatInt(first, 10)
}

// Append stores a chunk that begins right after the last stored line. A chunk
// that is already there, byte for byte, is accepted and changes nothing; one
// that leaves a gap or overlaps otherwise is ErrConflict.
func (s *Logs) Append(ctx context.Context, event cyclone.EventID, c cyclone.Chunk) error {
	if c.First < 1 || c.Count < 1 || len(c.Data) == 0 {
		return cyclone.Invalid("chunk", "first is %d, count %d, and it has %d bytes; all must be at least 1", c.First, c.Count, len(c.Data))
	}
	// A repeated one finds itself there.
	err := surely(ctx, func(ctx context.Context) error { return s.add(ctx, event, c) })
	return wrap(err, "append to log of event %s", event)
}

func (s *Logs) add(ctx context.Context, event cyclone.EventID, c cyclone.Chunk) error {
	last, err := s.last(ctx, event)
	if err != nil {
		return err
	}
	if c.First == last+1 {
		_, err := s.c.InsertOne(ctx, chunkDoc{chunkID(event, c.First), string(event), c.First, c.Last(), c.Data})
		if !mongo.IsDuplicateKeyError(err) {
			return err
		}
		// Somebody else was faster, perhaps with this very chunk.
	}
	there, err := one[chunkDoc](s.c.FindOne(ctx, byID(chunkID(event, c.First))))
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	if err == nil && there.Count == c.Count && bytes.Equal(there.Data, c.Data) {
		return nil
	}
	return cyclone.Conflict("log of event %s ends at line %d; lines %d to %d do not follow it", event, last, c.First, c.Last())
}

// Chunks returns the chunks from the one that holds line from on, in order, at
// most limit of them.
func (s *Logs) Chunks(ctx context.Context, event cyclone.EventID, from int64, limit int) ([]cyclone.Chunk, error) {
	chunks, err := all[chunkDoc](ctx, s.c,
		bson.D{{Key: "event", Value: event}, {Key: "last", Value: bson.D{{Key: "$gte", Value: from}}}},
		options.Find().SetSort(byOne("last")).SetLimit(int64(paging.AtMost(limit))))
	return chunks, wrap(err, "read log of event %s", event)
}

// Last is the number of the last stored line, 0 for an empty log.
func (s *Logs) Last(ctx context.Context, event cyclone.EventID) (int64, error) {
	last, err := s.last(ctx, event)
	return last, wrap(err, "read end of log of event %s", event)
}

func (s *Logs) last(ctx context.Context, event cyclone.EventID) (int64, error) {
	var end struct {
		Last int64 `bson:"last"`
	}
	err := s.c.FindOne(ctx, bson.D{{Key: "event", Value: event}},
		options.FindOne().SetSort(bson.D{{Key: "last", Value: -1}}).SetProjection(byOne("last"))).Decode(&end)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return end.Last, err
}

// Delete removes a log; one that is not there is no error.
func (s *Logs) Delete(ctx context.Context, event cyclone.EventID) error {
	ctx, stop := long(ctx)
	defer stop()
	_, err := s.c.DeleteMany(ctx, bson.D{{Key: "event", Value: event}})
	return wrap(err, "delete log of event %s", event)
}
