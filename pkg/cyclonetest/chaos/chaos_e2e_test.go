//go:build e2e

package chaos_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"cyclone/pkg/cyclonetest/chaos"
)

// The short form: what fits beside everything else that make test does. Its
// schedule is always the same; make chaos has a new one each time.
const (
	shortEvents = 24
	shortSeed   = 2
	workers     = 5
	longest     = 90 * time.Minute
)

// TestChaos runs the short form; CYCLONE_CHAOS_SEED takes another schedule,
// CYCLONE_CHAOS_EVENTS makes it longer.
func TestChaos(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	dir := os.Getenv("CYCLONE_CHAOS_LOGS")
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "cyclone-chaos-"); err != nil {
			t.Fatal(err)
		}
	}
	image := os.Getenv("CYCLONE_WORKER_IMAGE")
	if image == "" {
		image = "cyclone-worker:dev"
	}
	o := chaos.Options{
		Bin: os.Getenv("CYCLONE_E2E_BIN"), Cache: os.Getenv("CYCLONE_E2E_CACHE"), Mongo: os.Getenv("CYCLONE_TEST_MONGO_STANDIN"), Dir: dir, Image: image,
		Seed: number(t, "CYCLONE_CHAOS_SEED", shortSeed), Events: int(number(t, "CYCLONE_CHAOS_EVENTS", shortEvents)), Workers: workers, Out: os.Stdout,
	}
	report, err := chaos.Run(ctx, o)
	if err != nil {
		t.Fatalf("seed %d: %v; the logs are in %s", o.Seed, err, dir)
	}
	report.Write(os.Stdout)
	if file, err := os.Create(filepath.Join(dir, "report.txt")); err == nil {
		report.Write(file)
		_ = file.Close()
	}
	for _, p := range report.Problems() {
		t.Error(p)
	}
	if t.Failed() {
		t.Logf("the logs are in %s; SEED=%d EVENTS=%d replays the schedule", dir, o.Seed, o.Events)
	} else if os.Getenv("CYCLONE_CHAOS_LOGS") == "" {
		_ = os.RemoveAll(dir)
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
