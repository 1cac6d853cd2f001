package mongo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/mongo"
)

func TestOpenRefusesBadURIs(t *testing.T) {
	for _, uri := range []string{"", "localhost:27017", "mongodb://", "mongodb://host:port", "mongodb://host/?readPreference=x"} {
		_, err := mongo.Open(t.Context(), uri, nil, slog.New(slog.DiscardHandler))
		if !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("%q: the error is %v; want the kind invalid", uri, err)
		}
	}
}

// logged is a log that tells when something was written to it.
type logged struct {
	mu    sync.Mutex
	text  bytes.Buffer
	first chan struct{}
	once  sync.Once
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.once.Do(func() { close(l.first) })
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// forward makes the listener's connections reach the server.
func forward(l net.Listener, server string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", server)
		if err != nil {
			_ = c.Close() // the client sees it
			return
		}
		// Each copy ends with its connection, which the closing store ends.
		go func() { _, _ = io.Copy(s, c); _ = s.Close() }()
		go func() { _, _ = io.Copy(c, s); _ = c.Close() }()
	}
}

func TestOpenWaitsForTheServer(t *testing.T) {
	uri := server(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil { // nobody listens there now
		t.Fatal(err)
	}
	log := &logged{first: make(chan struct{})}
	opened := make(chan error)
	go func() {
		s, err := mongo.Open(t.Context(), "mongodb://"+address+"/cyclone-wait?serverSelectionTimeoutMS=200", nil, slog.New(slog.NewTextHandler(log, nil)))
		if err == nil {
			err = errors.Join(s.Ping(t.Context()), s.Close())
		}
		opened <- err
	}()
	<-log.first
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go forward(l, strings.Trim(strings.TrimPrefix(uri, "mongodb://"), "/"))
	if err := <-opened; err != nil {
		t.Errorf("open once the server was there: %v", err)
	}
	if !strings.Contains(log.String(), "waiting for MongoDB") || !strings.Contains(log.String(), address) {
		t.Errorf("the log does not say what is waited for:\n%s", log)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	// Port 1 of this machine: nothing listens there.
	_, err := mongo.Open(ctx, "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=20", nil, slog.New(slog.DiscardHandler))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("the error is %v; want the deadline and the address", err)
	}
}

func TestClosedStoreIsUnavailable(t *testing.T) {
	s, err := mongo.Open(t.Context(), inDatabase(t, server(t), "cyclone-closed"), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, find := s.Events.Find(t.Context(), "a")
	for name, err := range map[string]error{"ping": s.Ping(t.Context()), "find": find, "write": s.Settings.Set(t.Context(), "a", nil)} {
		if !errors.Is(err, cyclone.ErrUnavailable) {
			t.Errorf("%s: the error is %v; want the kind unavailable", name, err)
		}
	}
}

// TestDocumentsAreReadable looks at the documents as an operator would.
func TestDocumentsAreReadable(t *testing.T) {
	uri := inDatabase(t, server(t), "cyclone-readable")
	s, err := mongo.Open(t.Context(), uri, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	e := &cyclone.Event{ID: "e1", Project: "orders", Status: cyclone.StatusPending, Trigger: cyclone.Trigger{Kind: cyclone.KindPush}}
	e.Run.Variables = map[string]string{"a.b": "c"}
	e.Images = []cyclone.BuildImage{{Build: "web", Image: cyclone.Image{Name: "orders/web", Tag: "v1"}}}
	p := &cyclone.Project{Name: "orders", Limits: cyclone.Limits{Timeout: cyclone.Duration(time.Hour), Memory: 2 << 30}}
	if err := errors.Join(s.Events.Create(t.Context(), e), s.Projects.Create(t.Context(), p)); err != nil {
		t.Fatal(err)
	}
	client, err := driver.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(context.Background()) }()
	for _, c := range []struct {
		collection, id string
		want           map[string]string // path -> extended JSON
	}{
		{"events", "e1", map[string]string{
			"project": `"orders"`, "number": `{"$numberLong":"1"}`, "status": `"pending"`, "trigger.kind": `"push"`,
			"images.0.build": `"web"`, "images.0.name": `"orders/web"`, "images.0.tag": `"v1"`,
			"run.variables.0.name": `"a.b"`, "run.variables.0.value": `"c"`,
		}},
		{"projects", "orders", map[string]string{"limits.timeout": `"1h"`, "limits.memory": `"2g"`}},
	} {
		doc, err := client.Database("cyclone-readable").Collection(c.collection).FindOne(t.Context(), bson.D{{Key: "_id", Value: c.id}}).Raw()
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range c.want {
			if got := doc.Lookup(strings.Split(path, ".")...).String(); got != want {
				t.Errorf("%s: %s is %s; want %s", c.collection, path, got, want)
			}
		}
	}
}
