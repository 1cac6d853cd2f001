package disk_test

import (
	"path/filepath"
	"strings"
	"testing"

	"cyclone/pkg/disk"
)

func TestSpace(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.Space(dir)
	if err != nil || d.Total <= 0 || d.Free < 0 || d.Free > d.Total {
		t.Errorf("%+v, %v", d, err)
	}
	missing := filepath.Join(dir, "missing")
	if _, err := disk.Space(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("of a path that is not there: %v", err)
	}
}
