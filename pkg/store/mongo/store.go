// Package mongo is the store on MongoDB, for several servers at once: a replica
// set of version 4.4 or later. Documents are plain BSON with the names of the
// API, so that an operator can read them with mongosh; forges' bodies, log
// chunks, contents of files and sealed values stand in them as bytes. Every write waits for the
// majority of the replica set.
//
// It uses no transactions, no change streams and no scripts: each promise of
// the store rests on one document or on a unique index. It is not for one
// machine alone; that is package embedded.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"cyclone/pkg/cyclone"
)

const (
	defaultDatabase = "cyclone"
	// selectTimeout bounds the wait for a server that takes writes.
	selectTimeout = 8 * time.Second
	// connectTimeout bounds the wait for a server that does not even answer.
	connectTimeout = 5 * time.Second
	// pingTimeout bounds one attempt of Open and Ping.
	pingTimeout  = 5 * time.Second
	firstBackoff = 250 * time.Millisecond
	longestWait  = 10 * time.Second
)

// Store is a connected database. All its parts are safe for concurrent use.
type Store struct {
	Projects   *Projects
	Events     *Events // also the queue
	Logs       *Logs
	Files      *Files
	Deliveries *Deliveries
	Clusters   *Clusters
	Secrets    *Secrets
	Settings   *Settings
	Leases     *Leases
	Nodes      *Nodes
	Marks      *Marks

	client *mongo.Client
}

// Open connects to the database that a mongodb:// URI names ("cyclone" when it
// names none), makes the indexes and brings older data up to date. It waits for
// the server until ctx ends and logs what it waits for. ErrInvalid when the URI
// cannot be used or a newer server wrote the data, ErrForbidden when the server
// refuses the user.
//
// The observer may be nil; it is called from any goroutine and must not block.
func Open(ctx context.Context, uri string, observe Observer, log *slog.Logger) (*Store, error) {
	o := options.Client().ApplyURI(uri).SetAppName("cyclone")
	if err := o.Validate(); err != nil {
		return nil, cyclone.Invalid("store", "the MongoDB URI cannot be used: %v", err)
	}
	o.SetWriteConcern(writeconcern.Majority()).SetReadPreference(readpref.Primary()).
		SetRegistry(registry()).SetBSONOptions(&options.BSONOptions{UseJSONStructTags: true})
	if o.Timeout == nil {
		o.SetTimeout(callTimeout)
	}
	if o.ServerSelectionTimeout == nil {
		o.SetServerSelectionTimeout(selectTimeout)
	}
	if o.ConnectTimeout == nil {
		o.SetConnectTimeout(connectTimeout)
	}
	watch(o, observe)
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, cyclone.Invalid("store", "the MongoDB URI cannot be used: %v", err)
	}
	s := parts(client, client.Database(database(uri)), log)
	if err := s.wait(ctx, strings.Join(o.Hosts, ","), log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Files.contents.sweepNow(ctx)
	return s, nil
}

func parts(client *mongo.Client, db *mongo.Database, log *slog.Logger) *Store {
	events, logs := db.Collection("events"), db.Collection("logs")
	files := &Files{c: db.Collection("files")}
	files.contents = &contents{pieces: db.Collection("pieces"), uploads: db.Collection("uploads"), files: files.c, log: log}
	deliveries, secrets, marks := db.Collection("deliveries"), db.Collection("secrets"), db.Collection("marks")
	return &Store{
		Projects: &Projects{db.Collection("projects"), []owned{{deliveries}, {secrets}, {marks}}, events, logs, files},
		Events:   &Events{c: events, logs: logs, files: files}, Logs: &Logs{logs}, Files: files, Deliveries: &Deliveries{deliveries},
		Clusters: &Clusters{db.Collection("clusters")}, Secrets: &Secrets{secrets},
		Settings: &Settings{db.Collection("settings")},
		Leases:   &Leases{db.Collection("leases")}, Nodes: &Nodes{db.Collection("nodes")}, Marks: &Marks{marks},
		client: client,
	}
}

// database is the path of the URI, which may name several hosts.
func database(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	if _, name, _ := strings.Cut(rest, "/"); name != "" {
		return name
	}
	return defaultDatabase
}

// prepare brings data and indexes of a server that answers up to date.
func (s *Store) prepare(ctx context.Context, log *slog.Logger) error {
	if err := s.Ping(ctx); err != nil {
		return err
	}
	if err := s.makeIndexes(ctx); err != nil {
		return err
	}
	return s.upgrade(ctx, log)
}

// wait tries until the server answers and the data is ready.
func (s *Store) wait(ctx context.Context, hosts string, log *slog.Logger) error {
	for backoff := firstBackoff; ; backoff = min(2*backoff, longestWait) {
		err := s.prepare(ctx, log)
		var refused mongo.ServerError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused) && (refused.HasErrorCode(authFailed) || refused.HasErrorCode(notAuthorized)):
			return fmt.Errorf("open store at %s: %w: %w", hosts, cyclone.ErrForbidden, err)
		case !errors.Is(err, cyclone.ErrUnavailable):
			return err
		}
		log.WarnContext(ctx, "waiting for MongoDB", "hosts", hosts, "error", err, "again_in", backoff)
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return fmt.Errorf("wait for MongoDB at %s: %w", hosts, errors.Join(context.Cause(ctx), err))
		}
	}
}

// Close ends the connections; calls under way fail.
func (s *Store) Close() error {
	ctx, stop := context.WithTimeout(context.Background(), pingTimeout)
	defer stop()
	return s.client.Disconnect(ctx)
}

// Ping returns ErrUnavailable with the reason when no server takes writes, and
// ErrInvalid when a newer server has taken the data over.
func (s *Store) Ping(ctx context.Context) error {
	reach, stop := context.WithTimeout(ctx, pingTimeout)
	defer stop()
	if err := s.client.Ping(reach, readpref.Primary()); err != nil {
		return wrap(err, "reach MongoDB")
	}
	return s.refuseNewer(ctx)
}
