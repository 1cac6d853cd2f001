package mongo_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/store/mongo"
	"cyclone/pkg/store/storetest"
)

// server starts the stand-in and returns its URI.
func server(t testing.TB) string {
	t.Helper()
	uri, _ := startServer(t)
	return uri
}

// startServer starts the stand-in with flags, and returns its URI and what
// kills it at once, as kill -9 does.
func startServer(t testing.TB, flags ...string) (uri string, kill func()) {
	t.Helper()
	cmd := exec.Command(standin(t), flags...)
	cmd.Stderr = os.Stderr
	hold, err := cmd.StdinPipe() // it ends when this closes, even by our own death
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = sync.OnceFunc(func() {
		killed = true
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	})
	t.Cleanup(func() {
		_ = hold.Close() // what counts is how it ends
		if killed {
			return
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("MongoDB stand-in: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the MongoDB stand-in printed no URI: %v", err)
	}
	return strings.TrimSpace(line), kill
}

// standin is the path of the stand-in's binary, which is built when it is not
// in the cache.
func standin(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("CYCLONE_TEST_MONGO_STANDIN"); path != "" {
		return path
	}
	script, err := filepath.Abs("../../../scripts/mongo-standin.sh")
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command(script)
	build.Stderr = os.Stderr
	out, err := build.Output()
	if err != nil {
		t.Fatalf("build the MongoDB stand-in: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// inDatabase is the URI with another database.
func inDatabase(t testing.TB, uri, name string) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// open opens an empty database, which is dropped at the end of the test.
func open(t testing.TB, uri, name string) *mongo.Store {
	t.Helper()
	s, err := mongo.Open(t.Context(), inDatabase(t, uri, name), nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		drop(t, uri, name)
	})
	return s
}

func drop(t testing.TB, uri, name string) {
	ctx := context.Background() // t's is over at clean-up
	client, err := driver.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Database(name).Drop(ctx); err != nil {
		t.Errorf("drop database %s: %v", name, err)
	}
	_ = client.Disconnect(ctx) // nothing depends on it
}

func stores(s *mongo.Store) storetest.Stores {
	return storetest.Stores{
		Projects: s.Projects, Events: s.Events, Queue: s.Events, Logs: s.Logs, Files: s.Files,
		Deliveries: s.Deliveries, Clusters: s.Clusters, Secrets: s.Secrets, Settings: s.Settings,
		Leases: s.Leases, Nodes: s.Nodes, Marks: s.Marks, Census: s,
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	contract(t, server(t))
}

// contract runs the suite. A clause gets a database that another has left, once
// all documents in it are deleted: making the indexes takes much longer.
func contract(t *testing.T, uri string) {
	left := &emptied{}
	storetest.Run(t, func(clause testing.TB) storetest.Stores {
		d := left.take()
		if d == nil {
			d = &reused{name: "cyclone-test-" + uuid.NewString()}
			d.store = open(t, uri, d.name)
			d.db = database(t, uri, d.name)
		}
		clause.Cleanup(func() { left.empty(clause, d) })
		return stores(d.store)
	})
}

// emptied are databases that no clause uses.
type emptied struct {
	mu   sync.Mutex
	free []*reused
}

type reused struct {
	name  string
	store *mongo.Store
	db    *driver.Database
}

func (l *emptied) take() *reused {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		return nil
	}
	d := l.free[0]
	l.free = l.free[1:]
	return d
}

func (l *emptied) empty(t testing.TB, d *reused) {
	ctx := context.Background() // t's is over at clean-up
	names, err := d.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		t.Errorf("list collections: %v", err)
	}
	for _, name := range names {
		all := bson.D{{Key: "_id", Value: bson.D{{Key: "$ne", Value: "schema"}}}}
		if _, err := d.db.Collection(name).DeleteMany(ctx, all); err != nil {
			t.Errorf("empty collection %s: %v", name, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, d)
}

// TestContractOnServer runs the same suite on the MongoDB that
// CYCLONE_TEST_MONGODB_URI names, beside the stand-in.
func TestContractOnServer(t *testing.T) {
	uri := os.Getenv("CYCLONE_TEST_MONGODB_URI")
	if uri == "" {
		t.Skip("CYCLONE_TEST_MONGODB_URI is not set: the stand-in alone was tested")
	}
	contract(t, uri)
}

func BenchmarkStore(b *testing.B) {
	uri := os.Getenv("CYCLONE_TEST_MONGODB_URI")
	if uri == "" {
		uri = server(b)
	}
	storetest.Bench(b, func(b testing.TB) storetest.Stores { return stores(open(b, uri, "cyclone-test-"+uuid.NewString())) })
}
