package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// filesRemoved is the answer to who asks for what retention has removed.
func filesRemoved(e *cyclone.Event) error {
	return cyclone.NotFound("the files of event #%d were removed by retention on %s", e.Number, e.FilesRemovedAt.UTC().Format(time.DateOnly))
}

// openFile opens a file that is kept with an event.
func (s *Server) openFile(ctx context.Context, e *cyclone.Event, kind cyclone.FileKind, path string) (cyclone.File, io.ReadSeekCloser, error) {
	if e.FilesRemovedAt != nil {
		return cyclone.File{}, nil, filesRemoved(e)
	}
	if s.Files == nil || !cyclone.ValidFilePath(path) {
		return cyclone.File{}, nil, s.noSuchFile(ctx, e, kind, path)
	}
	f, content, err := s.Files.Open(ctx, e.ID, kind, path)
	if errors.Is(err, cyclone.ErrNotFound) {
		return f, nil, s.noSuchFile(ctx, e, kind, path)
	}
	if err != nil {
		return f, nil, fmt.Errorf("open %s of event %s: %w", kind, e.ID, err)
	}
	return f, content, nil
}

// sendFile answers with a file, or the part of it that is asked for; headers
// adds what its reader is to know of it.
func (s *Server) sendFile(w http.ResponseWriter, r *http.Request, e *cyclone.Event, kind cyclone.FileKind, path string,
	headers func(http.Header, cyclone.File)) error {
	f, content, err := s.openFile(r.Context(), e, kind, path)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // it was only read
	h, tag := w.Header(), `"`+f.SHA256+`"`
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", tag)
	headers(h, f)
	if namesTag(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	size, first, last, status := int64(f.Size), int64(0), int64(f.Size)-1, http.StatusOK
	condition := r.Header.Get("If-Range")
	if ranges, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && !strings.Contains(ranges, ",") && (condition == "" || condition == tag) {
		if first, last, ok = parseRange(ranges, size); !ok {
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
			h.Del("Content-Disposition")
			return &statusError{http.StatusRequestedRangeNotSatisfiable, "invalid", "the file has no such bytes"}
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
		status = http.StatusPartialContent
	}
	if _, err := content.Seek(first, io.SeekStart); err != nil {
		return fmt.Errorf("find place in %s of event %s: %w", kind, e.ID, err)
	}
	h.Set("Content-Length", strconv.FormatInt(last-first+1, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	takeTime(r) // the file may be large, and its reader slow
	out := &patient{w, http.NewResponseController(w)}
	defer out.end()
	if _, err := io.CopyN(out, content, last-first+1); err != nil {
		s.breakOffFile(r.Context(), f, e, err)
	}
	return nil
}

// breakOffFile ends an answer that cannot be completed in a way that the
// caller notices.
func (s *Server) breakOffFile(ctx context.Context, f cyclone.File, e *cyclone.Event, err error) {
	var gone *lostError
	if ctx.Err() == nil && !errors.As(err, &gone) {
		s.Log.ErrorContext(ctx, "file could not be sent", "event", e.ID, "kind", f.Kind, "path", f.Path, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// patient is a writer to a caller that may be slow, but not silent: one that
// takes nothing for stallTime is taken for gone.
type patient struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// end lets the connection serve other requests, however long they take.
func (p *patient) end() { _ = p.control.SetWriteDeadline(time.Time{}) } // where it was not possible none was set

// lostError is a failure of the way to the caller.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

func (p *patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(stallTime)) // not possible in tests without a connection
	n, err := p.w.Write(b)
	if err != nil {
		return n, &lostError{err}
	}
	return n, nil
}
