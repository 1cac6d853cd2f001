package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

// text is the plain form of lines.
func text(from, to int64) string {
	var b strings.Builder
	for _, l := range lines(from, to) {
		b.WriteString(l.Text + "\n")
	}
	return b.String()
}

func TestLogText(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	path := "/api/v1/events/" + string(e.ID) + "/logs"
	if a := f.want(200, "GET", path, ""); a.body != "" {
		t.Errorf("empty log: %q", a.body)
	}
	f.append(e, 1, 10)
	f.append(e, 11, 11)
	f.append(e, 12, 40)
	for query, want := range map[string]string{
		"":                                   text(1, 40),
		"?from=5":                            text(5, 40),
		"?from=41":                           "",
		"?tail=3":                            text(38, 40),
		"?tail=100":                          text(1, 40),
		"?from=39&tail=3":                    text(39, 40),
		"?stage=pre_build&tail=2":            "line 37\nline 39\n",
		"?step=integration/postgres&from=35": "line 36\nline 38\nline 40\n",
		"?stage=deploy":                      "",
		"?tail=1&timestamps=true":            "2026-01-01T00:00:00.040Z line 40\n",
		"?tail=1&timestamps":                 "2026-01-01T00:00:00.040Z line 40\n",
	} {
		if a := f.want(200, "GET", path+query, ""); a.body != want {
			t.Errorf("%s: got %q, want %q", query, a.body, want)
		}
	}
	a := f.want(200, "GET", path, "")
	if got := a.header.Get("Content-Disposition"); got != `inline; filename=orders-1.log` {
		t.Errorf("Content-Disposition = %q", got)
	}
	if got := a.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("Content-Type = %q", got)
	}
	f.want(304, "GET", path, "", header{"If-None-Match", a.header.Get("ETag")})
	f.append(e, 41, 41)
	f.want(200, "GET", path, "", header{"If-None-Match", a.header.Get("ETag")})
	if a := f.want(200, "HEAD", path, ""); a.body != "" {
		t.Errorf("HEAD has a body: %q", a.body)
	}
}

func TestLogAsNDJSON(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	odd := lines(1, 2)
	odd[0].Text = "a \"quoted\" \\ <b> \t \x1b[31m ü \xff"
	if err := f.store.Logs.Append(t.Context(), e.ID, chunk(t, odd)); err != nil {
		t.Fatal(err)
	}
	a := f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/logs", "", header{"Accept", "text/html;q=0.1, application/x-ndjson"})
	var got []cyclone.Line
	for line := range strings.Lines(a.body) {
		var l cyclone.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, l)
	}
	odd[0].Text = strings.ToValidUTF8(odd[0].Text, "\uFFFD")
	if len(got) != 2 || got[0] != odd[0] || got[1] != odd[1] {
		t.Errorf("got %+v, want %+v", got, odd)
	}
	if !strings.Contains(a.body, `"t":"2026-01-01T00:00:00.001Z"`) {
		t.Errorf("time is not in milliseconds: %s", a.body)
	}
}

func TestLogRanges(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusSuccess)
	for n := int64(0); n < 10; n++ {
		f.append(e, n*1000+1, n*1000+1000)
	}
	whole := text(1, 10000)
	path := "/api/v1/events/" + string(e.ID) + "/logs"
	size := len(whole)
	for _, tt := range []struct {
		spec        string
		first, last int
	}{
		{"bytes=0-0", 0, 0}, {"bytes=0-99", 0, 99}, {"bytes=50000-60000", 50000, 60000},
		{fmt.Sprintf("bytes=%d-", size-5), size - 5, size - 1}, {"bytes=-7", size - 7, size - 1},
		{"bytes=10-99999999", 10, size - 1},
	} {
		a := f.want(206, "GET", path, "", header{"Range", tt.spec})
		if a.body != whole[tt.first:tt.last+1] {
			t.Errorf("%s: got %d bytes, want %d", tt.spec, len(a.body), tt.last+1-tt.first)
		}
		if got, want := a.header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", tt.first, tt.last, size); got != want {
			t.Errorf("%s: Content-Range = %q, want %q", tt.spec, got, want)
		}
	}
	for _, spec := range []string{"bytes=99999999-", "bytes=5-2", "bytes=x", "bytes=-0"} {
		f.want(416, "GET", path, "", header{"Range", spec})
	}
	f.want(200, "GET", path, "", header{"Range", "bytes=0-9"}, header{"If-Range", `"another"`})
	f.want(200, "GET", path, "", header{"Range", "bytes=0-1,5-6"})
}

// A log that breaks off in the middle must not look complete.
func TestBrokenLogIsNotSilentlyShort(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusSuccess)
	f.append(e, 1, 8000)
	bad := chunk(t, lines(8001, 8010))
	bad.Data = append(bad.Data[:len(bad.Data)-4], 0, 0, 0, 0)
	if err := f.store.Logs.Append(t.Context(), e.ID, bad); err != nil {
		t.Fatal(err)
	}
	body, err := f.readAll("/api/v1/events/" + string(e.ID) + "/logs")
	if err == nil {
		t.Errorf("%d bytes came as if they were all", len(body))
	}
	if !strings.Contains(f.log.String(), "log could not be sent") {
		t.Error("the log does not say so")
	}
}
