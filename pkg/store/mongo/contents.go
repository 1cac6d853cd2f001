package mongo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
)

const (
	// pieceSize is how much of a content stands in one document.
	pieceSize = 1 << 20
	// grace is how long a content stays that no file has: long enough for who
	// reads what was just replaced, and for servers whose clocks differ.
	grace = time.Hour
	// sweepEvery is how often a server looks for such contents.
	sweepEvery = 15 * time.Minute
	// sweepBatch bounds what is removed each time.
	sweepBatch = 100
	// aliveEvery is how often a content that is being written says so.
	aliveEvery = time.Minute
)

// contents keeps what is in files, in pieces. Each content is written once,
// under an id of its own. While no file has it for sure, a document among the
// uploads says so: from before its first piece until after its file was
// written, and again from before its file gets another. Whatever breaks off in
// between, a sweep finds the content by it.
type contents struct {
	pieces, uploads, files *mongo.Collection
	log                    *slog.Logger

	mu    sync.Mutex
	swept time.Time // guarded by mu
}

// pieceDoc is a part of a content. Its id is made of the content's and the
// number of the piece, from 0; all pieces but the last are full.
type pieceDoc struct {
	ID   string `bson:"_id"`
	Data []byte `bson:"data"`
}

func pieceID(content string, n int64) string { return content + "/" + strconv.FormatInt(n, 10) }

// uploadDoc says of a content that no file may have it.
type uploadDoc struct {
	ID string `bson:"_id"`
	// AliveAt is when somebody last worked on it.
	AliveAt time.Time `bson:"aliveAt"`
	// Swept is set once it is being removed: from then on no file may get it.
	Swept bool `bson:"swept"`
}

// sourceError is what went wrong with a content on its way here: its sender's
// matter, not the database's.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// save writes a content under a new id and sets the file's size and sum. No
// file has it yet.
func (s *contents) save(ctx context.Context, f *cyclone.File, from io.Reader) (string, error) {
	id := uuid.NewString()
	if err := s.release(ctx, id); err != nil {
		return "", err
	}
	if err := s.write(ctx, id, f, from); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		s.abandon(ctx, id)
		return "", err
	}
	return id, nil
}

func (s *contents) write(ctx context.Context, id string, f *cyclone.File, from io.Reader) error {
	sum, piece, alive := sha256.New(), make([]byte, pieceSize), time.Now()
	f.Size = 0
	for n, end := int64(0), false; !end; n++ {
		k, err := io.ReadFull(from, piece)
		end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return &sourceError{err}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if k > 0 {
			if err := s.add(ctx, pieceDoc{pieceID(id, n), piece[:k]}); err != nil {
				return err
			}
		}
		sum.Write(piece[:k])
		f.Size += cyclone.Size(k)
		// What was alive a minute ago is not swept within the hour.
		if time.Since(alive) > aliveEvery {
			if err := s.keepAlive(ctx, id); err != nil {
				return err
			}
			alive = time.Now()
		}
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// add writes a piece. One that is there already was written by an attempt
// whose answer was lost, as nobody else knows the content's id.
func (s *contents) add(ctx context.Context, piece pieceDoc) error {
	return surely(ctx, func(ctx context.Context) error {
		_, err := s.pieces.InsertOne(ctx, piece)
		if mongo.IsDuplicateKeyError(err) {
			return nil
		}
		return err
	})
}

// keepAlive says that the content is still being written, and makes sure that
// no sweep took it for abandoned.
func (s *contents) keepAlive(ctx context.Context, id string) error {
	return surely(ctx, func(ctx context.Context) error {
		result, err := s.uploads.UpdateOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "swept", Value: false}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "aliveAt", Value: time.Now()}}}})
		if err == nil && result.MatchedCount == 0 {
			return cyclone.Unavailable("the content did not come on for %v and was given up; send it again", grace)
		}
		return err
	})
}

// release says that no file may have the content, or soon none will.
func (s *contents) release(ctx context.Context, id string) error {
	return again(ctx, func(ctx context.Context) error {
		_, err := s.uploads.ReplaceOne(ctx, byID(id), uploadDoc{ID: id, AliveAt: time.Now()}, options.Replace().SetUpsert(true))
		return err
	})
}

// settle says that a file has the content. Where it fails, a sweep finds out.
func (s *contents) settle(ctx context.Context, id string) {
	_, _ = s.uploads.DeleteOne(ctx, byID(id))
}

// abandon removes a content that no file ever had. Where it fails, a sweep does.
func (s *contents) abandon(ctx context.Context, id string) {
	ctx, stop := long(context.WithoutCancel(ctx))
	defer stop()
	if s.remove(ctx, id) == nil {
		s.settle(ctx, id)
	}
}

// remove removes the pieces of a content. Their ids are all that lie between
// the content's own with a "/" and with the character after it.
func (s *contents) remove(ctx context.Context, id string) error {
	_, err := s.pieces.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: id + "/"}, {Key: "$lt", Value: id + "0"}}}})
	return err
}

// sweepNow removes what no file has, unless this server did so a short time ago.
func (s *contents) sweepNow(ctx context.Context) {
	s.mu.Lock()
	due := time.Since(s.swept) >= sweepEvery
	if due {
		s.swept = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	if err := s.sweep(ctx, time.Now().Add(-grace)); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "cannot remove contents that no file has; the next sweep goes on", "error", err)
	}
}

// sweep removes contents that no file has and that nobody worked on since.
func (s *contents) sweep(ctx context.Context, since time.Time) error {
	stale := bson.D{{Key: "aliveAt", Value: bson.D{{Key: "$lt", Value: since}}}}
	ids, err := idsOf(ctx, s.uploads, stale, sweepBatch)
	if err != nil {
		return err
	}
	for _, id := range ids {
		one := append(bson.D{{Key: "_id", Value: id}}, stale...)
		claimed, err := s.uploads.UpdateOne(ctx, one, bson.D{{Key: "$set", Value: bson.D{{Key: "swept", Value: true}}}})
		if err != nil {
			return err
		}
		if claimed.MatchedCount == 0 {
			continue // somebody works on it after all
		}
		if err := s.removeUnlessKept(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// removeUnlessKept removes a content that was claimed for removal, but for one
// that a file has: its server ended before it could say so.
func (s *contents) removeUnlessKept(ctx context.Context, id any) error {
	content, ok := id.(string)
	if !ok {
		return nil
	}
	kept, err := s.files.CountDocuments(ctx, bson.D{{Key: "content", Value: content}}, options.Count().SetLimit(1))
	if err != nil {
		return err
	}
	if kept == 0 {
		if err := s.remove(ctx, content); err != nil {
			return err
		}
	}
	// Who is about to replace its file has set swept back.
	_, err = s.uploads.DeleteOne(ctx, bson.D{{Key: "_id", Value: content}, {Key: "swept", Value: true}})
	return err
}
