package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// frame is one message of the log stream.
type frame struct {
	Type   string
	Lines  json.RawMessage
	Stage  json.RawMessage
	Status cyclone.Status
	N      int64
	Text   string
}

func (f frame) lines(t testing.TB) []cyclone.Line {
	t.Helper()
	var all []cyclone.Line
	if err := json.Unmarshal(f.Lines, &all); err != nil {
		t.Fatalf("lines: %v", err)
	}
	return all
}

// viewer is a client of the log stream.
type viewer struct {
	t    testing.TB
	conn *websocket.Conn
	next int64 // the line that must come next
}

func (f *fixture) dial(path string, h http.Header) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	if protocols := h["Sec-Websocket-Protocol"]; protocols != nil {
		d.Subprotocols = protocols
		delete(h, "Sec-Websocket-Protocol")
	}
	return d.DialContext(f.t.Context(), "ws"+strings.TrimPrefix(f.url, "http")+path, h)
}

func (f *fixture) watch(e *cyclone.Event, query string, from int64) *viewer {
	f.t.Helper()
	conn, _, err := f.dial("/api/v1/events/"+string(e.ID)+"/logs/stream"+query, http.Header{"Authorization": {"Bearer " + adminToken}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	return &viewer{f.t, conn, from}
}

func (v *viewer) raw() []byte {
	v.t.Helper()
	if err := v.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		v.t.Fatal(err)
	}
	_, data, err := v.conn.ReadMessage()
	if err != nil {
		v.t.Fatalf("read: %v (next line is %d)", err, v.next)
	}
	return data
}

func (v *viewer) read() frame {
	v.t.Helper()
	data := v.raw()
	var fr frame
	if err := json.Unmarshal(data, &fr); err != nil {
		v.t.Fatalf("%q: %v", data, err)
	}
	return fr
}

// upTo reads until the line has come, checking that none is missing or comes
// twice. It looks for the numbers only: decoding a million lines takes longer
// than sending them.
func (v *viewer) upTo(last int64) {
	v.t.Helper()
	for v.next <= last {
		data := v.raw()
		if !bytes.HasPrefix(data, []byte(`{"type":"lines"`)) {
			continue
		}
		for part := range bytes.SplitSeq(data, []byte(`{"n":`)) {
			digits, _, ok := bytes.Cut(part, []byte(`,"t":`))
			if !ok {
				continue // what stands before the first line
			}
			n, err := strconv.ParseInt(string(digits), 10, 64)
			if err != nil || n != v.next {
				v.t.Fatalf("line %s came, want %d", digits, v.next)
			}
			v.next++
		}
	}
}

// end reads what is left, and returns the end frame and how the server closed.
func (v *viewer) end() (frame, int) {
	v.t.Helper()
	fr := v.read()
	for fr.Type != "end" {
		for _, l := range v.linesOf(fr) {
			if l.N != v.next {
				v.t.Fatalf("line %d came, want %d", l.N, v.next)
			}
			v.next++
		}
		fr = v.read()
	}
	_, _, err := v.conn.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		v.t.Fatalf("after the end: %v", err)
	}
	return fr, closed.Code
}

func (v *viewer) linesOf(fr frame) []cyclone.Line {
	if fr.Type != "lines" {
		return nil
	}
	return fr.lines(v.t)
}
