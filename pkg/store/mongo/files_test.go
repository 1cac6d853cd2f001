package mongo_test

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/mongo"
	"cyclone/pkg/store/storetest"
)

// Not parallel: it looks at the memory of the whole process.
func TestFilesStream(t *testing.T) {
	storetest.Streams(t, stores(open(t, server(t), "cyclone-stream")), 24<<20)
}

// artifact is a file of event "e".
func artifact(path string) cyclone.File {
	return cyclone.File{Event: "e", Kind: cyclone.FileArtifact, Path: path}
}

func put(t *testing.T, s *mongo.Store, path, content string) {
	t.Helper()
	_, err := s.Files.Put(t.Context(), artifact(path), strings.NewReader(content))
	ok(t, err)
}

// fileHolds reports whether event "e" has the file with this content.
func fileHolds(t *testing.T, s *mongo.Store, path, want string) bool {
	t.Helper()
	f, content, err := s.Files.Open(t.Context(), "e", cyclone.FileArtifact, path)
	ok(t, err)
	data, err := io.ReadAll(content)
	ok(t, errors.Join(err, content.Close()))
	return string(data) == want && int(f.Size) == len(want)
}

// stands checks how many pieces and uploads there are.
func stands(t *testing.T, db *driver.Database, what string, pieces, uploads int64) {
	t.Helper()
	p, err := db.Collection("pieces").CountDocuments(t.Context(), bson.D{})
	ok(t, err)
	u, err := db.Collection("uploads").CountDocuments(t.Context(), bson.D{})
	ok(t, err)
	if p != pieces || u != uploads {
		t.Errorf("after %s there are %d pieces and %d uploads; want %d and %d", what, p, u, pieces, uploads)
	}
}

// TestContents follows what is in the database from the first piece to the
// last sweep.
func TestContents(t *testing.T) {
	t.Parallel()
	uri := server(t)
	db := database(t, uri, "cyclone-contents")
	s, err := mongo.Open(t.Context(), inDatabase(t, uri, db.Name()), nil, slog.New(slog.DiscardHandler))
	ok(t, err)
	t.Cleanup(func() { _ = s.Close() }) // the server ends with the test
	ctx := t.Context()

	large := strings.Repeat("x", 1<<20+1)
	put(t, s, "a", large)
	put(t, s, "empty", "")
	stands(t, db, "put", 2, 0)
	broken := errors.New("broken")
	_, err = s.Files.Put(ctx, artifact("a"), io.MultiReader(strings.NewReader(large), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("the error is %v", err)
	}
	stands(t, db, "a broken put", 2, 0)

	_, old, err := s.Files.Open(ctx, "e", cyclone.FileArtifact, "a")
	ok(t, err)
	put(t, s, "a", "new")
	stands(t, db, "a replacement", 3, 1)
	ok(t, s.Sweep(ctx, time.Now().Add(-time.Minute)))
	stands(t, db, "a sweep too early", 3, 1)
	ok(t, s.Sweep(ctx, time.Now().Add(time.Minute)))
	stands(t, db, "a sweep", 1, 0)
	if _, err := io.ReadAll(old); !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), "artifact a of event e") {
		t.Errorf("reading what was swept: %v", err)
	}
	if !fileHolds(t, s, "a", "new") {
		t.Error("the replacement is not whole")
	}

	// A server that ended before it could say that its content became a file's.
	var doc struct{ Content string }
	ok(t, db.Collection("files").FindOne(ctx, bson.D{{Key: "_id", Value: "e/artifact/a"}}).Decode(&doc))
	upload(t, db, doc.Content)
	ok(t, s.Sweep(ctx, time.Now().Add(time.Minute)))
	stands(t, db, "a sweep of what a file has", 1, 0)
	if !fileHolds(t, s, "a", "new") {
		t.Error("a sweep took what a file has")
	}

	// And one that ended in the middle of a content, which nobody can finish
	// any more once it is swept.
	upload(t, db, "lost")
	_, err = db.Collection("pieces").InsertOne(ctx, bson.D{{Key: "_id", Value: "lost/0"}, {Key: "data", Value: []byte("x")}})
	ok(t, err)
	ok(t, s.KeepAlive(ctx, "lost"))
	ok(t, s.Sweep(ctx, time.Now().Add(time.Minute)))
	stands(t, db, "a sweep of what was broken off", 1, 0)
	if err := s.KeepAlive(ctx, "lost"); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("going on with what was swept: %v", err)
	}
	ok(t, s.Files.Delete(ctx, "e"))
	stands(t, db, "delete", 0, 0)
}

// upload says of a content that no file may have it, long ago.
func upload(t *testing.T, db *driver.Database, content string) {
	t.Helper()
	_, err := db.Collection("uploads").InsertOne(t.Context(),
		bson.D{{Key: "_id", Value: content}, {Key: "aliveAt", Value: time.Now().Add(-time.Hour)}, {Key: "swept", Value: false}})
	ok(t, err)
}
