package embedded_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"cyclone/pkg/store/embedded"
	"cyclone/pkg/store/storetest"
)

// unpack puts a file that the server of a schema wrote into a folder.
func unpack(t *testing.T, schema int) (dir string) {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", fmt.Sprintf("schema%d.db.gz", schema)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packed.Close() }() // only read
	data, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	file, err := os.Create(filepath.Join(dir, "cyclone.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(file, data) //#nosec G110 -- a file of this repository
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	// The contents of files stand beside it.
	contents := filepath.Join("testdata", fmt.Sprintf("schema%d.files", schema))
	if err := os.CopyFS(filepath.Join(dir, "files"), os.DirFS(contents)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return dir
}

func version(t *testing.T, dir string) (n int) {
	t.Helper()
	if err := raw(t, dir).QueryRow("PRAGMA user_version").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUpgrade opens what each version before wrote.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for schema := 1; schema < embedded.Schema; schema++ {
		t.Run(fmt.Sprintf("from schema %d", schema), func(t *testing.T) { upgrade(t, schema) })
	}
}

func upgrade(t *testing.T, schema int) {
	t.Parallel()
	dir := unpack(t, schema)
	if n := version(t, dir); n != schema {
		t.Fatalf("the file has schema %d; want %d", n, schema)
	}
	for range 2 { // opened again, there is nothing left to be done
		s, err := embedded.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := version(t, dir); n != embedded.Schema {
		t.Errorf("the file has schema %d; want %d", n, embedded.Schema)
	}
	storetest.Upgraded(t, parts(open(t, dir)), schema)
}
