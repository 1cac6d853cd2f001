package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
)

const typeNDJSON = "application/x-ndjson"

// logView is the part of a log that was asked for, and in which form. What it
// covers is fixed when the request begins, also while the log grows.
type logView struct {
	server     *Server
	event      *cyclone.Event
	from, upTo int64
	tail       int64
	stage      cyclone.Stage
	step       string
	timestamps bool
	ndjson     bool
	skip       int64 // of the lines that match
}

func (s *Server) showLog(w http.ResponseWriter, r *http.Request) error {
	e, err := s.eventWithLog(r)
	if err != nil {
		return err
	}
	v, err := s.logViewOf(r, e)
	if err != nil {
		return err
	}
	tag := v.tagOf(r)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	name := fmt.Sprintf("%s-%d.log", e.Project, e.Number)
	if v.ndjson {
		h.Set("Content-Type", typeNDJSON)
		name = fmt.Sprintf("%s-%d.ndjson", e.Project, e.Number)
	}
	h.Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": name}))
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", tag)
	h.Add("Vary", "Accept")
	if namesTag(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	ranges := r.Header.Get("Range")
	if condition := r.Header.Get("If-Range"); condition != "" && condition != tag {
		ranges = ""
	}
	if strings.HasPrefix(ranges, "bytes=") && !strings.Contains(ranges, ",") {
		return v.serveRange(r.Context(), w, strings.TrimPrefix(ranges, "bytes="))
	}
	if r.Method == http.MethodHead {
		return nil
	}
	return v.stream(r.Context(), w)
}

// namesTag reports whether a list of tags (If-None-Match) has one.
func namesTag(list, tag string) bool {
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.TrimPrefix(part, "W/") == tag {
			return true
		}
	}
	return false
}

func (s *Server) logViewOf(r *http.Request, e *cyclone.Event) (*logView, error) {
	q := queryOf(r)
	v := &logView{
		server: s, event: e, from: q.number("from", 1, 1), tail: q.number("tail", 1, 0),
		stage: cyclone.Stage(q.values.Get("stage")), step: q.values.Get("step"),
		timestamps: q.flag("timestamps"), ndjson: wantsNDJSON(r),
	}
	if v.stage != "" {
		checkOneOf("stage", string(v.stage), &q.bad, texts(cyclone.Stages)...)
	}
	if err := q.bad.OrNil(); err != nil {
		return nil, err
	}
	last, err := s.Logs.Last(r.Context(), e.ID)
	if err != nil {
		return nil, fmt.Errorf("find end of log: %w", err)
	}
	v.upTo = last
	v.narrow()
	takeTime(r) // the log may be large, and its reader slow
	return v, v.applyTail(r.Context())
}

func wantsNDJSON(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if kind, _, err := mime.ParseMediaType(part); err == nil && kind == typeNDJSON {
			return true
		}
	}
	return false
}

// narrow leaves out what cannot be of the stage that was asked for. Only of an
// event that is over after its first attempt: until then the places may still
// change, and a second attempt's say nothing of the first one's lines, which
// are in the log too.
func (v *logView) narrow() {
	if !v.event.Status.Final() || v.event.Worker.Attempt > 1 {
		return
	}
	for _, st := range v.event.Stages {
		if st.Name == v.stage && st.FirstLine > 0 && st.LastLine >= st.FirstLine {
			v.from, v.upTo = max(v.from, st.FirstLine), min(v.upTo, st.LastLine)
		}
	}
}

// applyTail finds where the last lines begin. Of one stage or step that takes
// a first reading to count them.
func (v *logView) applyTail(ctx context.Context) error {
	switch {
	case v.tail == 0:
		return nil
	case v.stage == "" && v.step == "":
		v.from = max(v.from, v.upTo-v.tail+1)
		return nil
	}
	var count int64
	err := v.each(ctx, func(*cyclone.Line) error { count++; return nil })
	v.skip = max(0, count-v.tail)
	return err
}

// each calls fn with every line of the view.
func (v *logView) each(ctx context.Context, fn func(*cyclone.Line) error) error {
	skip := v.skip
	return v.server.eachLines(ctx, v.event.ID, v.from, v.upTo, func(lines []cyclone.Line) error {
		for i := range lines {
			l := &lines[i]
			if (v.stage != "" && l.Stage != v.stage) || (v.step != "" && l.Step != v.step) {
				continue
			}
			if skip > 0 {
				skip--
				continue
			}
			if err := fn(l); err != nil {
				return err
			}
		}
		return nil
	})
}

func (v *logView) write(ctx context.Context, w io.Writer) error {
	var b []byte
	return v.each(ctx, func(l *cyclone.Line) error {
		b = v.appendForm(b[:0], l)
		_, err := w.Write(b)
		return err
	})
}

func (v *logView) appendForm(b []byte, l *cyclone.Line) []byte {
	if v.ndjson {
		return append(appendLine(append(b, '{'), l), '}', '\n')
	}
	if v.timestamps {
		b = stampOf(b, l.Time)
	}
	return append(append(b, l.Text...), '\n')
}

// tagOf names exactly these bytes: lines never change once they are stored.
func (v *logView) tagOf(r *http.Request) string {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d %t %s", v.event.ID, v.upTo, v.ndjson, r.URL.Query().Encode()) // never fails
	return `"` + strconv.FormatUint(h.Sum64(), 16) + `"`
}

// stream writes the whole view as it is read.
func (v *logView) stream(ctx context.Context, w http.ResponseWriter) error {
	out := bufio.NewWriterSize(w, 64<<10)
	err := v.write(ctx, out)
	if err == nil {
		err = out.Flush()
	}
	v.breakOff(ctx, err)
	return nil
}

// breakOff ends an answer that cannot be completed in a way that the caller
// notices: what it has is not the whole log.
func (v *logView) breakOff(ctx context.Context, err error) {
	if err == nil {
		return
	}
	if ctx.Err() == nil {
		v.server.Log.ErrorContext(ctx, "log could not be sent", "event", v.event.ID, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// serveRange answers with a part of the bytes. Their number is not known
// before they were written once, which is done without keeping them.
func (v *logView) serveRange(ctx context.Context, w http.ResponseWriter, spec string) error {
	var size counter
	if err := v.write(ctx, &size); err != nil {
		return err
	}
	total := int64(size)
	first, last, ok := parseRange(spec, total)
	if !ok {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(total, 10))
		return &statusError{http.StatusRequestedRangeNotSatisfiable, "invalid", "the log has no such bytes"}
	}
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, total))
	w.Header().Set("Content-Length", strconv.FormatInt(last-first+1, 10))
	w.WriteHeader(http.StatusPartialContent)
	out := bufio.NewWriterSize(w, 64<<10)
	err := v.write(ctx, &window{out: out, skip: first, take: last - first + 1})
	if err == nil || errors.Is(err, errEnough) {
		err = out.Flush()
	}
	v.breakOff(ctx, err)
	return nil
}

// parseRange reads "a-b", "a-" or "-n" of total bytes.
func parseRange(spec string, total int64) (first, last int64, ok bool) {
	from, to, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !dash || total == 0 {
		return 0, 0, false
	}
	if from == "" {
		n, err := strconv.ParseInt(to, 10, 64)
		return max(0, total-n), total - 1, err == nil && n > 0
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first < 0 || first >= total {
		return 0, 0, false
	}
	if to == "" {
		return first, total - 1, true
	}
	last, err = strconv.ParseInt(to, 10, 64)
	return first, min(last, total-1), err == nil && last >= first
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// errEnough ends a reading whose rest nobody asked for.
var errEnough = errors.New("enough was written")

// window passes on take bytes after the first skip.
type window struct {
	out        io.Writer
	skip, take int64
}

func (w *window) Write(p []byte) (int, error) {
	size := len(p)
	drop := min(w.skip, int64(len(p)))
	w.skip -= drop
	p = p[drop:min(int64(len(p)), drop+w.take)]
	w.take -= int64(len(p))
	if _, err := w.out.Write(p); err != nil {
		return 0, err
	}
	if w.take == 0 {
		return size, errEnough
	}
	return size, nil
}
