package httpapi_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

// chunkLines is how many lines a worker packs into a chunk when a step prints
// as fast as it can.
const chunkLines = 16_000

// fill stores an event's log of so many lines, in chunks as workers make them.
func (f *fixture) fill(e *cyclone.Event, total int64) {
	f.t.Helper()
	for from := int64(1); from <= total; from += chunkLines {
		// Every chunk has the same text: encoding ten million lines is not
		// what is measured.
		c, err := logchunk.Renumber(f.sample(min(chunkLines, total-from+1)), from)
		if err != nil {
			f.t.Fatal(err)
		}
		if err := f.records.Logs.Append(f.t.Context(), e.ID, c); err != nil {
			f.t.Fatal(err)
		}
	}
}

// sample is a chunk of so many lines; the last size asked for is kept.
func (f *fixture) sample(count int64) cyclone.Chunk {
	f.t.Helper()
	if f.kept.Count != count {
		var err error
		if f.kept, err = logchunk.Encode(lines(1, count)); err != nil {
			f.t.Fatal(err)
		}
	}
	return f.kept
}

// large is an event that is over, with a log of so many lines.
func (f *fixture) large(total int64) *cyclone.Event {
	f.t.Helper()
	e := f.event("orders", cyclone.StatusRunning)
	f.fill(e, total)
	f.finish(e, total)
	return e
}

// tailTimes are the best times of the last 200 lines of a log, by GET and by
// the stream.
func (f *fixture) tailTimes(e *cyclone.Event, total int64) (get, stream time.Duration) {
	f.t.Helper()
	get, stream = time.Hour, time.Hour
	for range 15 {
		start := time.Now()
		a := f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/logs?tail=200", "")
		get = min(get, time.Since(start))
		if strings.Count(a.body, "\n") != 200 {
			f.t.Fatalf("%d lines came", strings.Count(a.body, "\n"))
		}
		start = time.Now()
		v := f.watch(e, "?tail=200", total-199)
		v.upTo(total)
		stream = min(stream, time.Since(start))
		_ = v.conn.Close()
	}
	return get, stream
}

// The end of a log costs the same whatever stands before it: as much as the
// end of a log of one such chunk.
func TestTailCostsNothingOfTheRest(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	small, large := f.large(chunkLines), f.large(manyLines)
	smallGet, smallStream := f.tailTimes(small, chunkLines)
	largeGet, largeStream := f.tailTimes(large, manyLines)
	t.Logf("GET %v and %v, stream %v and %v", smallGet, largeGet, smallStream, largeStream)
	const slack = 3
	if largeGet > slack*smallGet || largeStream > slack*smallStream {
		t.Errorf("of %d lines it takes GET %v and the stream %v, of %d lines %v and %v",
			int64(manyLines), largeGet, largeStream, chunkLines, smallGet, smallStream)
	}
}

// heap is how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A download is sent as it is read, however slowly that is.
func TestDownloadInBoundedMemory(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.large(manyLines)
	before := heap()
	req, err := http.NewRequestWithContext(t.Context(), "GET", f.url+"/api/v1/events/"+string(e.ID)+"/logs?timestamps", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	most, count := int64(-1<<40), int64(0)
	reader := bufio.NewScanner(res.Body)
	for reader.Scan() {
		count++
		if want := fmt.Sprintf("line %d", (count-1)%chunkLines+1); !strings.HasSuffix(reader.Text(), want) {
			t.Fatalf("line %d is %q, want %s", count, reader.Text(), want)
		}
		if count%(manyLines/10) == 0 {
			most = max(most, heap()-before)
		}
	}
	if reader.Err() != nil || count != manyLines {
		t.Errorf("%d lines came, %v", count, reader.Err())
	}
	t.Logf("after %d lines the heap had grown by %d KiB at most", count, most>>10)
	if most > 24<<20 {
		t.Errorf("the download took %d MiB of memory", most>>20)
	}
}

// stall opens a log's stream and never reads it.
func (f *fixture) stall(e *cyclone.Event) {
	f.t.Helper()
	d := net.Dialer{}
	conn, err := d.DialContext(f.t.Context(), "tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /api/v1/events/%s/logs/stream HTTP/1.1\r\nHost: cyclone\r\nAuthorization: Bearer %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", e.ID, adminToken)
	if err != nil {
		f.t.Fatal(err)
	}
}

// Viewers that never read hold little each, and neither the worker nor other
// viewers wait for them.
func TestStalledViewersCostLittle(t *testing.T) {
	f, e := workerFixture(t)
	const stalled, per, total = 200, 8000, manyLines * 2 / 5
	before := heap()
	for range stalled {
		f.stall(e)
	}
	f.eventually("cyclone_log_viewers", fmt.Sprint(stalled))
	w, good := f.attach(e, 0), f.watch(e, "", 1)
	var all sync.WaitGroup
	all.Go(func() {
		for from := int64(1); from <= total; from += per {
			w.chunk(from, from+per-1)
		}
	})
	all.Go(func() {
		for s := w.read(); s.Ack == nil || s.Ack.Line < total; s = w.read() {
			continue
		}
	})
	start := time.Now()
	good.upTo(total)
	all.Wait()
	took := time.Since(start)
	each := (heap() - before) / stalled
	t.Logf("%d lines past %d stalled viewers in %v; each holds %d KiB", total, stalled, took, each>>10)
	if each > 600<<10 {
		t.Errorf("each stalled viewer holds %d KiB", each>>10)
	}
	if took > 30*time.Second {
		t.Errorf("others took %v", took)
	}
}

// One viewer of five hundred logs gets each of them whole and in order: what
// was there, and what comes.
func TestFiveHundredLogs(t *testing.T) {
	f := newFixture(t)
	f.inMemory()
	f.project("orders")
	const count = 500
	var all sync.WaitGroup
	events := make([]*cyclone.Event, count)
	viewers := make([]*viewer, count)
	for i := range events {
		events[i] = f.event("orders", cyclone.StatusRunning)
		f.append(events[i], 1, 100)
		viewers[i] = f.watch(events[i], "", 1)
	}
	for _, v := range viewers {
		all.Go(func() {
			v.upTo(130)
			v.end()
		})
	}
	for n := int64(101); n <= 130; n += 15 {
		for _, e := range events {
			f.append(e, n, n+14)
		}
	}
	for _, e := range events {
		f.finish(e, 130)
	}
	all.Wait()
}
