package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/logchunk"
	"cyclone/pkg/worker"
)

func TestExitCodes(t *testing.T) {
	tests := map[string]struct {
		status int
		want   int
	}{"over": {http.StatusConflict, exitOver}, "refused": {http.StatusUnauthorized, exitOver}}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) < 3 { // a load balancer without a server, at first
					http.Error(w, "no server", http.StatusBadGateway)
					return
				}
				http.Error(w, "no", tt.status)
			}))
			defer h.Close()
			temp := t.TempDir()
			for k, v := range map[string]string{
				"CYCLONE_SERVER_URL": h.URL, "CYCLONE_WORKER_ID": "w1", "CYCLONE_WORKER_TOKEN": "once",
				"CYCLONE_ENGINE_HOST": "unix://" + temp + "/none.sock", "TMPDIR": temp,
			} {
				t.Setenv(k, v)
			}
			if code := run(nil); code != tt.want || calls.Load() != 3 {
				t.Errorf("exit code %d after %d calls, want %d", code, calls.Load(), tt.want)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	t.Run("settings", func(t *testing.T) {
		t.Setenv("CYCLONE_SERVER_URL", "")
		if code := run(nil); code != exitSettings {
			t.Errorf("exit code %d", code)
		}
	})
}

// tally is a server that counts an event's lines, and waits a little for each
// chunk as one does whose store is slow.
type tally struct {
	job   cyclone.Job
	slow  time.Duration
	lines int64
	done  chan struct{} // closed with the result
}

func (s *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.WriteJSON(cyclone.ServerFrame{Engine: &cyclone.EngineConfig{}}) // reading shows an error too
	var ack cyclone.Ack
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		var f cyclone.WorkerFrame
		if kind == websocket.BinaryMessage {
			c, err := logchunk.Parse(data)
			if err != nil || c.First != ack.Line+1 {
				return
			}
			ack.Line = c.Last()
			time.Sleep(s.slow)
		} else if err := json.Unmarshal(data, &f); err != nil {
			return
		}
		ack.Seq = max(ack.Seq, f.Seq)
		if f.Ready {
			_ = conn.WriteJSON(cyclone.ServerFrame{Job: &s.job})
		}
		if f.Result != nil {
			s.lines = ack.Line
			close(s.done)
		}
		_ = conn.WriteJSON(cyclone.ServerFrame{Ack: &ack})
	}
}

// printThousands runs an event whose one step prints lines, through a whole
// worker and a real websocket, and returns how many the server has.
func printThousands(tb testing.TB, thousands int, slow time.Duration, limit cyclone.Size) int64 {
	tb.Helper()
	s := &tally{slow: slow, done: make(chan struct{}), job: cyclone.Job{
		Fence: cyclone.Fence{Event: "ev1", Worker: "w1", Attempt: 1},
		Event: cyclone.Event{ID: "ev1", Project: "orders", Branch: "main"}, Stages: cyclone.Stages, LogLimit: limit,
		Project: cyclone.Project{Name: "orders", Repository: cyclone.Repository{Type: "git"}},
	}}
	h := httptest.NewServer(s)
	defer h.Close()
	server, err := client.NewWorker(h.URL, "w1", "once")
	if err != nil {
		tb.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	server.Log, server.SpillDir = quiet, tb.TempDir()
	engine := &cyclonetest.Engine{
		Remote: map[string]cyclone.ImageInfo{"alpine": {}},
		Programs: map[string]func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error){
			"alpine": func(_ context.Context, _ cyclone.ContainerSpec, out cyclone.Output) (cyclone.Exit, error) {
				var block []byte
				for i := range thousands {
					block = block[:0]
					for k := range 1000 {
						block = fmt.Appendf(block, "line %d of what a test prints\n", i*1000+k)
					}
					out.Write(cyclone.Stdout, block)
				}
				return cyclone.Exit{}, nil
			},
		},
	}
	w := &worker.Worker{
		Server: server, Engine: worker.SharedEngine(func(context.Context) error { return nil }, quiet),
		Containers: engine, Images: engine.Images(), Networks: engine, Deployer: &cyclonetest.Cluster{}, Dir: tb.TempDir(), Log: quiet,
		Cloner: func(string) (cyclone.Cloner, error) {
			return &cyclonetest.Source{Files: map[string]string{"caicloud.yml": "pre_build: {image: alpine}\n"}}, nil
		},
	}
	var connected sync.WaitGroup
	connected.Go(func() { _ = server.Run(tb.Context()) }) // Worker.Run says why it ended
	if err := w.Run(tb.Context()); err != nil {
		tb.Error(err)
	}
	server.Close()
	connected.Wait()
	<-s.done
	return s.lines
}

func TestLinesReachTheServer(t *testing.T) {
	if n := printThousands(t, 200, 0, 0); n < 200_000 {
		t.Errorf("%d lines", n)
	}
}

// peak is the most memory that this process had, in MB.
func peak(tb testing.TB) float64 {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Skip("memory is known on Linux alone")
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		tb.Fatal(err)
	}
	return kib / 1024
}

// BenchmarkTenMillionLines says how fast lines get from a step to a server on
// this machine, and how much memory the worker (with the server's end) needs.
func BenchmarkTenMillionLines(b *testing.B) {
	for _, tt := range []struct {
		name  string
		slow  time.Duration
		limit cyclone.Size
	}{{"fast", 0, 0}, {"slow store", 20 * time.Millisecond, 0}, {"limit", 0, 64 << 20}} {
		b.Run(tt.name, func(b *testing.B) {
			for b.Loop() {
				printThousands(b, 10_000, tt.slow, tt.limit)
			}
			b.ReportMetric(float64(b.N)*1e7/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(peak(b), "MB-peak")
		})
	}
}
