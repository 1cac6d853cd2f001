package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

// streaming is a server whose n-th connection sends the n-th list of frames
// and is then cut; the last list is sent to every later one.
func streaming(t *testing.T, connections ...[]string) (*client.Client, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var queries []string
	upgrader := websocket.Upgrader{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		frames := connections[min(len(queries), len(connections)-1)]
		queries = append(queries, r.URL.RawQuery)
		mu.Unlock()
		if len(frames) == 1 && strings.HasPrefix(frames[0], "status ") {
			var status int
			_, _ = fmt.Sscanf(frames[0], "status %d", &status)
			http.Error(w, `{"error":{"message":"told so"}}`, status)
			return
		}
		if r.Header.Get("Authorization") != "Bearer the-token" {
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		for _, f := range frames {
			if conn.WriteMessage(websocket.TextMessage, []byte(f)) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return dial(t, s.URL), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return queries
	}
}

func lines(numbers ...int) string {
	var list []string
	for _, n := range numbers {
		list = append(list, fmt.Sprintf(`{"n":%d,"t":"2026-01-01T00:00:00.123Z","stage":"build","step":"build","stream":"stdout","text":"line %d"}`, n, n))
	}
	return `{"type":"lines","lines":[` + strings.Join(list, ",") + `]}`
}

const (
	end     = `{"type":"end","status":"failure","lines":5}`
	partial = `{"type":"partial","n":2,"t":"2026-01-01T00:00:00Z","stage":"build","step":"build","stream":"stdout","text":"10%"}`
	stage   = `{"type":"stage","stage":{"name":"build","status":"running","steps":[]}}`
)

func TestFollow(t *testing.T) {
	for _, tt := range []struct {
		name        string
		start       client.Start
		connections [][]string
		numbers     []int64
		queries     []string
	}{
		{"in one go", client.Start{}, [][]string{{stage, lines(1), partial, lines(2, 3), `{"type":"new kind"}`, lines(4, 5), end}}, []int64{1, 2, 3, 4, 5}, []string{""}},
		{"goes on after a cut", client.Start{}, [][]string{{lines(1, 2)}, {stage}, {lines(2, 3, 4)}, {lines(5), end}}, []int64{1, 2, 3, 4, 5}, []string{"", "from=3", "from=3", "from=5"}},
		{"from a line", client.Start{From: 4}, [][]string{{lines(4)}, {lines(5), end}}, []int64{4, 5}, []string{"from=4", "from=5"}},
		{"the last lines", client.Start{Tail: 2}, [][]string{{stage}, {lines(4)}, {lines(5), end}}, []int64{4, 5}, []string{"tail=2", "tail=2", "from=5"}},
		{"a gap is read again", client.Start{}, [][]string{{lines(1, 3)}, {lines(2, 3, 4, 5), end}}, []int64{1, 2, 3, 4, 5}, []string{"", "from=2"}},
		{"server restarts", client.Start{}, [][]string{{lines(1)}, {"status 503"}, {"status 502"}, {lines(2, 3, 4, 5), end}}, []int64{1, 2, 3, 4, 5}, []string{"", "from=2", "from=2", "from=2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, queries := streaming(t, tt.connections...)
			var got []int64
			w := client.Watcher{Line: func(l cyclone.Line) error {
				if l.Text != fmt.Sprintf("line %d", l.N) || l.Stage != "build" || l.Time.Nanosecond() != 123e6 {
					t.Errorf("line %+v", l)
				}
				got = append(got, l.N)
				return nil
			}}
			e, err := c.Follow(t.Context(), "01e", tt.start, w)
			if err != nil || e != (client.End{Status: cyclone.StatusFailure, Lines: 5}) {
				t.Errorf("end %+v, %v", e, err)
			}
			if diff := cmp.Diff(tt.numbers, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.queries, queries()); diff != "" {
				t.Errorf("connections (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFollowStagesAndPartials(t *testing.T) {
	c, _ := streaming(t, []string{stage, lines(1), partial, lines(2), end})
	var seen []string
	_, err := c.Follow(t.Context(), "01e", client.Start{}, client.Watcher{
		Line:    func(l cyclone.Line) error { seen = append(seen, l.Text); return nil },
		Partial: func(l cyclone.Line) { seen = append(seen, "partial "+l.Text) },
		Stage:   func(s cyclone.StageState) { seen = append(seen, string(s.Name)+" "+string(s.Status)) },
	})
	if diff := cmp.Diff([]string{"build running", "line 1", "partial 10%", "line 2"}, seen); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestFollowEnds(t *testing.T) {
	none := client.Watcher{Line: func(cyclone.Line) error { return nil }}
	t.Run("not found", func(t *testing.T) {
		c, queries := streaming(t, []string{"status 404"})
		_, err := c.Follow(t.Context(), "01e", client.Start{}, none)
		if !errors.Is(err, cyclone.ErrNotFound) || len(queries()) != 1 {
			t.Errorf("%v after %d tries", err, len(queries()))
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		c, _ := streaming(t, []string{"status 401"})
		if _, err := c.Follow(t.Context(), "01e", client.Start{}, none); !errors.Is(err, client.ErrUnauthenticated) {
			t.Error(err)
		}
	})
	t.Run("patience", func(t *testing.T) {
		c, queries := streaming(t, []string{stage})
		c.Patience = 500 * time.Millisecond
		if _, err := c.Follow(t.Context(), "01e", client.Start{}, none); !errors.Is(err, cyclone.ErrUnavailable) || len(queries()) < 2 {
			t.Errorf("%v after %d tries", err, len(queries()))
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		c, _ := streaming(t, []string{`{"type":"lines","lines":7}`})
		if _, err := c.Follow(t.Context(), "01e", client.Start{}, none); err == nil {
			t.Error("was taken for a log")
		}
	})
	t.Run("the watcher stops", func(t *testing.T) {
		c, queries := streaming(t, []string{lines(1, 2)})
		want := cyclone.Unavailable("pipe is closed")
		_, err := c.Follow(t.Context(), "01e", client.Start{}, client.Watcher{Line: func(cyclone.Line) error { return want }})
		if !errors.Is(err, want) || len(queries()) != 1 {
			t.Errorf("%v after %d tries", err, len(queries()))
		}
	})
	t.Run("canceled", func(t *testing.T) {
		c, _ := streaming(t, []string{lines(1)})
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		_, err := c.Follow(ctx, "01e", client.Start{}, client.Watcher{Line: func(cyclone.Line) error { cancel(why); return nil }})
		if !errors.Is(err, why) {
			t.Error(err)
		}
	})
}
