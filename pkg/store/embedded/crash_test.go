package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
)

// writerVariable makes the test binary write to the store in the folder it
// names, until it is killed.
const writerVariable = "CYCLONE_TEST_WRITE_TO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerVariable); dir != "" {
		fmt.Fprintln(os.Stderr, writeForever(context.Background(), dir))
		os.Exit(1)
	}
	if dir := os.Getenv(fullVariable); dir != "" {
		if err := fillUp(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// writeForever creates events and appends to their logs, from eight goroutines
// at once, and prints each id and each line number once it was acknowledged.
func writeForever(ctx context.Context, dir string) error {
	s, err := embedded.Open(ctx, dir)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for range 8 {
		go func() {
			for {
				e := &cyclone.Event{Project: "orders", Status: cyclone.StatusPending}
				if err := s.Events.Create(ctx, e); err != nil {
					failed <- err
				}
				fmt.Printf("event %s 0\n", e.ID)
				if err := putTwice(ctx, s, e.ID); err != nil {
					failed <- err
				}
				fmt.Printf("files %s 0\n", e.ID)
				for line := int64(1); line <= 3; line++ {
					err := s.Logs.Append(ctx, e.ID, cyclone.Chunk{First: line, Count: 1, Data: make([]byte, 3000)})
					if err != nil {
						failed <- err
					}
					fmt.Printf("log %s %d\n", e.ID, line)
				}
			}
		}()
	}
	return <-failed
}

// crashContent is what the event's file holds when it was put for the second time.
func crashContent(id cyclone.EventID) string { return strings.Repeat(string(id), 3000) }

// putTwice puts a file and puts another over it.
func putTwice(ctx context.Context, s *embedded.Store, id cyclone.EventID) error {
	f := cyclone.File{Event: id, Kind: cyclone.FileOutput, Path: "out"}
	_, first := s.Files.Put(ctx, f, strings.NewReader("first"))
	_, second := s.Files.Put(ctx, f, strings.NewReader(crashContent(id)))
	return errors.Join(first, second)
}

// TestKill kills a writing process again and again: what it was told to be
// stored must be there, and the store must be whole.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]int64{} // event -> last line
	for round := range 3 {
		killWriter(t, dir, 150+100*round, acknowledged)
		s, err := embedded.Open(t.Context(), dir)
		if err != nil {
			t.Fatalf("round %d: open after the kill: %v", round, err)
		}
		for id, line := range acknowledged {
			if _, err := s.Events.Find(t.Context(), cyclone.EventID(id)); err != nil {
				t.Errorf("round %d: event %s was acknowledged: %v", round, id, err)
			}
			last, err := s.Logs.Last(t.Context(), cyclone.EventID(id))
			if err != nil || last < line {
				t.Errorf("round %d: log of %s was acknowledged to line %d; it ends at %d, %v", round, id, line, last, err)
			}
		}
		filesWhole(t, s, dir, acknowledged)
		list, err := s.Events.List(t.Context(), cyclone.EventQuery{Project: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		whole(t, dir, list.Total)
	}
	if len(acknowledged) < 50 {
		t.Errorf("only %d events were written", len(acknowledged))
	}
}

// filesWhole checks that each event's file is whole, of one version or the
// other, the later one where that was acknowledged, and that the disk holds
// nothing else.
func filesWhole(t *testing.T, s *embedded.Store, dir string, acknowledged map[string]int64) {
	t.Helper()
	there := 0
	for q := (cyclone.EventQuery{Page: cyclone.Page{Limit: 200}}); ; {
		l, err := s.Events.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range l.Items {
			_, content, err := s.Files.Open(t.Context(), e.ID, cyclone.FileOutput, "out")
			if errors.Is(err, cyclone.ErrNotFound) && acknowledged[string(e.ID)] == 0 {
				continue
			}
			if err != nil {
				t.Errorf("file of event %s: %v", e.ID, err)
				continue
			}
			there++
			data, err := io.ReadAll(content)
			if err := errors.Join(err, content.Close()); err != nil {
				t.Error(err)
			}
			if got := string(data); got != crashContent(e.ID) && (got != "first" || acknowledged[string(e.ID)] > 0) {
				t.Errorf("file of event %s has %d bytes", e.ID, len(data))
			}
		}
		if q.Cursor = l.Next; l.Next == "" {
			break
		}
	}
	if n := len(contents(t, dir)); n != there || there == 0 {
		t.Errorf("there are %d files and %d contents", there, n)
	}
}

// killWriter starts a writer and kills it after some acknowledged writes.
func killWriter(t *testing.T, dir string, after int, acknowledged map[string]int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line without its end was not acknowledged
		}
		var what, id string
		var last int64
		if _, err := fmt.Sscan(line, &what, &id, &last); err != nil {
			t.Fatalf("the writer printed %q", line)
		}
		acknowledged[id] = max(acknowledged[id], last)
		if n == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || !strings.Contains(exit.String(), "killed") {
		t.Fatalf("the writer ended by itself: %v", err)
	}
}

// whole checks the file, and that numbers, totals and events agree.
func whole(t *testing.T, dir string, total int) {
	t.Helper()
	file := raw(t, dir)
	var check string
	if err := file.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity check: %s, %v", check, err)
	}
	var count, highest, branches int
	err := file.QueryRow("SELECT count(*), max(number), (SELECT sum(n) FROM branch_totals) FROM events").Scan(&count, &highest, &branches)
	if err != nil || count != total || highest != total || branches != total {
		t.Errorf("%d events, numbers up to %d, totals %d and %d, %v; all must be the same", count, highest, total, branches, err)
	}
}
