package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// fileClient is how files travel: beside the websocket, to the same server, by
// the same way.
func (w *Worker) fileClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: w.reach, TLSHandshakeTimeout: w.times.handshake, DisableCompression: true,
			// A server that takes no such file says so before all of it has
			// been sent.
			ExpectContinueTimeout: w.times.expect,
			ResponseHeaderTimeout: w.times.write,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Upload keeps a file with the worker's event, over one of the same kind and
// path; f.Size must be the size of what open returns. It tries again, with a
// new open each time, for as long as the server is away, until ctx ends or the
// connection does.
//
// Errors: ErrConflict and ErrForbidden when the attempt is over, ErrInvalid
// for a path that may not be used and for a file that is larger than what may
// be kept with the event, context.Cause(ctx), and whatever open returns.
func (w *Worker) Upload(ctx context.Context, f cyclone.File, open func() (io.ReadCloser, error)) error {
	err := w.persist(ctx, func() error { return w.put(ctx, f, open) })
	if err != nil {
		return fmt.Errorf("upload %s %s: %w", f.Kind, f.Path, err)
	}
	return nil
}

// Download returns the content of a file of the event that the worker's rerun
// takes over from. It tries again for as long as the server is away; a content
// that breaks off is an error of its reader.
//
// Errors: ErrNotFound when there is no such file, and those of Upload.
func (w *Worker) Download(ctx context.Context, kind cyclone.FileKind, path string) (io.ReadCloser, error) {
	var content io.ReadCloser
	err := w.persist(ctx, func() (err error) {
		content, err = w.open(ctx, kind, path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("download %s %s: %w", kind, path, err)
	}
	return content, nil
}

// persist repeats what fails because the server is away, until ctx or the
// connection ends.
func (w *Worker) persist(ctx context.Context, once func() error) error {
	for pause := w.times.backoff; ; pause = min(2*pause, w.times.pause) {
		err := once()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !errors.Is(err, cyclone.ErrUnavailable) {
			return err
		}
		wait := jitter(pause)
		var refused *Error
		if errors.As(err, &refused) {
			wait = max(wait, min(refused.RetryAfter, w.times.silence))
		}
		w.Log.Debug("a file cannot be moved; trying again", "in", wait, "error", err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.done:
			return w.ended()
		case <-time.After(wait):
		}
	}
}

// ended is why nothing can be asked of the server any more.
func (w *Worker) ended() error {
	if err := w.Err(); err != nil {
		return err
	}
	return errWorkerClosed
}

// put sends a file once.
func (w *Worker) put(ctx context.Context, f cyclone.File, open func() (io.ReadCloser, error)) error {
	from, err := open()
	if err != nil {
		return err
	}
	moving := w.moving(ctx, from, int64(f.Size))
	defer moving.end()
	address := w.fileURL(f.Kind, f.Path) + "?" + url.Values{"stage": {string(f.Stage)}, "step": {f.Step}}.Encode()
	request, err := http.NewRequestWithContext(moving.ctx, http.MethodPut, address, moving)
	if err != nil {
		return err
	}
	request.Header = w.header.Clone()
	request.Header.Set("Content-Type", "application/octet-stream")
	request.Header.Set("Expect", "100-continue")
	// Without it a server could refuse what is too large only in the middle.
	request.ContentLength = int64(f.Size)
	if f.Size == 0 {
		request.Body = http.NoBody
	}
	answer, err := w.files.Do(request)
	if err != nil {
		return moving.blame(err)
	}
	defer func() { _ = answer.Body.Close() }() // all that is wanted of it was read
	if answer.StatusCode/100 == 2 {
		return nil
	}
	return fileRefusal(answer)
}

// open asks for a file once.
func (w *Worker) open(ctx context.Context, kind cyclone.FileKind, path string) (io.ReadCloser, error) {
	moving := w.moving(ctx, http.NoBody, -1)
	request, err := http.NewRequestWithContext(moving.ctx, http.MethodGet, w.fileURL(kind, path), nil)
	if err != nil {
		moving.end()
		return nil, err
	}
	request.Header = w.header.Clone()
	answer, err := w.files.Do(request)
	if err != nil {
		defer moving.end()
		return nil, moving.blame(err)
	}
	moving.from = answer.Body
	if answer.StatusCode != http.StatusOK {
		defer moving.end()
		return nil, fileRefusal(answer)
	}
	return download{moving}, nil
}

// fileURL is the address of a file.
func (w *Worker) fileURL(kind cyclone.FileKind, path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return w.endpoint.files + "/" + url.PathEscape(string(kind)) + "/" + strings.Join(parts, "/")
}

// fileRefusal is the answer of a server that does not do what was asked.
func fileRefusal(answer *http.Response) error {
	e := readError(answer)
	switch answer.StatusCode {
	case http.StatusConflict:
		return cyclone.Conflict("this attempt is over: %s", e.Message)
	case http.StatusUnauthorized, http.StatusForbidden:
		return cyclone.Forbidden("the server refuses this worker's token: %s", e.Message)
	case http.StatusRequestEntityTooLarge:
		return cyclone.Invalid("size", "%s", e.Message)
	case http.StatusInternalServerError:
		return cyclone.Unavailable("%s", e.Error()) // its store may be away
	}
	return e
}
