package mongo_test

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/mongo"
	"cyclone/pkg/store/storetest"
)

// The documents that a server of each schema wrote, one a line, each with the
// name of its collection.
//
//go:embed testdata
var testdata embed.FS

// database connects beside the store.
func database(t *testing.T, uri, name string) *driver.Database {
	t.Helper()
	client, err := driver.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) }) // nothing depends on it
	return client.Database(name)
}

// load fills a database with the data of a schema.
func load(t *testing.T, db *driver.Database, schema int) {
	t.Helper()
	data, err := testdata.ReadFile(fmt.Sprintf("testdata/schema%d.json", schema))
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var line struct {
			In  string
			Doc bson.D
		}
		if err := bson.UnmarshalExtJSON(lines.Bytes(), true, &line); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Collection(line.In).InsertOne(t.Context(), line.Doc); err != nil {
			t.Fatal(err)
		}
	}
	if schema > 1 {
		return
	}
	// With the index that is of no use any more.
	old := driver.IndexModel{Keys: bson.D{{Key: "handled", Value: 1}, {Key: "receivedAt", Value: 1}}}
	if _, err := db.Collection("deliveries").Indexes().CreateOne(t.Context(), old); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade has four servers start at once on what each version before wrote.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	uri := server(t)
	for _, schema := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("from schema %d", schema), func(t *testing.T) { upgrade(t, uri, schema) })
	}
}

func upgrade(t *testing.T, uri string, schema int) {
	db := database(t, uri, fmt.Sprintf("cyclone-upgrade-%d", schema))
	load(t, db, schema)
	opened := make([]*mongo.Store, 4)
	var all sync.WaitGroup
	for i := range opened {
		all.Go(func() {
			s, err := mongo.Open(t.Context(), inDatabase(t, uri, db.Name()), nil, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Errorf("server %d: %v", i, err)
				return
			}
			opened[i] = s
			t.Cleanup(func() { _ = s.Close() }) // the server ends with the test
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	storetest.Upgraded(t, stores(opened[0]), schema)
	left, err := db.Collection("deliveries").CountDocuments(t.Context(), bson.D{{Key: "handled", Value: bson.D{{Key: "$exists", Value: true}}}})
	if err != nil || left != 0 {
		t.Errorf("%d deliveries are still of the old form, %v", left, err)
	}
	indexes, err := db.Collection("deliveries").Indexes().ListSpecifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ix := range indexes {
		if strings.HasPrefix(ix.Name, "handled") {
			t.Errorf("index %s is still there", ix.Name)
		}
	}
}

// A server refuses data of a newer one, at its start and while it runs.
func TestNewerDataIsRefused(t *testing.T) {
	t.Parallel()
	uri := server(t)
	db := database(t, uri, "cyclone-newer")
	s, err := mongo.Open(t.Context(), inDatabase(t, uri, db.Name()), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the server ends with the test
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	_, err = db.Collection("settings").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "schema"}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: 99}}}})
	if err != nil {
		t.Fatal(err)
	}
	_, opening := mongo.Open(t.Context(), inDatabase(t, uri, db.Name()), nil, slog.New(slog.DiscardHandler))
	for what, err := range map[string]error{"open": opening, "ping": s.Ping(t.Context())} {
		if !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), "newer server (schema 99") || !strings.Contains(err.Error(), db.Name()) {
			t.Errorf("%s: the error is %v; want the kind invalid, the schema and the database", what, err)
		}
	}
}
