package client_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"cyclone/pkg/cyclone"
)

func TestDownload(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	s := &fileServer{first: func(call int32, w http.ResponseWriter, _ *http.Request) bool {
		if call == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
		return call == 1
	}}
	w := startFiles(t, s)
	s.files["/api/v1/workers/w1/files/output/compile"] = data
	r, err := w.Download(t.Context(), cyclone.FileOutput, "compile")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := w.Download(t.Context(), cyclone.FileOutput, "none"); !errors.Is(err, cyclone.ErrNotFound) {
		t.Error(err)
	}
}

// TestDownloadThatBreaksOff says so, and never looks whole.
func TestDownloadThatBreaksOff(t *testing.T) {
	t.Parallel()
	s := &fileServer{first: func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush() // the test fails without
		panic(http.ErrAbortHandler)
	}}
	w := startFiles(t, s)
	r, err := w.Download(t.Context(), cyclone.FileOutput, "compile")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err == nil {
		t.Errorf("%q without an error", got)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
