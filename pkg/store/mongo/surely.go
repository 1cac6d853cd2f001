package mongo

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	// callTimeout bounds a call whose ctx has no deadline, elections included.
	callTimeout = 10 * time.Second
	// longTimeout bounds a call that may have much to do: deleting many
	// documents, making an index.
	longTimeout  = 5 * time.Minute
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// surely makes a write and repeats it while the connection breaks or the
// primary steps down, for at most callTimeout in all. A write whose answer was
// lost may have been carried out: write must find its own traces and take them
// for success. (Drivers repeat single writes by themselves, but only once, and
// only where the server is a replica set.)
func surely(ctx context.Context, write func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := write(ctx)
		if !broken(err) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// newToken marks the documents that one call writes, so that it knows them
// again.
func newToken() string { return uuid.NewString() }

// wrote reports whether the document is still as the call with this token
// wrote it, or was changed since by calls that replace no documents.
func wrote(ctx context.Context, c *mongo.Collection, id, token string) (bool, error) {
	err := c.FindOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "write", Value: token}},
		options.FindOne().SetProjection(byOne("_id"))).Err()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return false, nil
	}
	return err == nil, err
}

// insert inserts a document that carries the token. The error is a duplicate
// key when somebody else's is there.
func insert(ctx context.Context, c *mongo.Collection, id, token string, doc any) error {
	return surely(ctx, func(ctx context.Context) error {
		_, taken := c.InsertOne(ctx, doc)
		if !mongo.IsDuplicateKeyError(taken) {
			return taken
		}
		own, err := wrote(ctx, c, id, token)
		if own || err != nil {
			return err
		}
		return taken
	})
}

// long is ctx for a call that may have much to do.
func long(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, longTimeout)
}
