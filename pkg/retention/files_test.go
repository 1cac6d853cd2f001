package retention_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/retention"
)

// fileKinds are those that an event has, by its age.
var fileKinds = []cyclone.FileKind{cyclone.FileArtifact, cyclone.FileReport, cyclone.FileOutput}

// eventWithFile stores an event of so many days ago with a file of a kind.
func (s stores) eventWithFile(t *testing.T, project cyclone.ProjectName, days int, kind cyclone.FileKind) *cyclone.Event {
	t.Helper()
	e := s.event(t, project, days, func(e *cyclone.Event) {
		e.StartedAt, e.LogLines = e.FinishedAt, 0
		switch kind {
		case cyclone.FileArtifact:
			e.Files = 1
		case cyclone.FileReport:
			e.Tests = &cyclone.TestSummary{Total: 1}
		}
	})
	s.file(t, e, kind)
	return e
}

func (s stores) file(t *testing.T, e *cyclone.Event, kind cyclone.FileKind) {
	t.Helper()
	f := cyclone.File{Event: e.ID, Kind: kind, Path: "a"}
	if _, err := s.files.Put(t.Context(), f, strings.NewReader("text")); err != nil {
		t.Fatal(err)
	}
}

// leftFiles describes a project's events as left does, by their files.
func (s stores) leftFiles(t *testing.T, project cyclone.ProjectName) string {
	t.Helper()
	l, err := s.events.List(t.Context(), cyclone.EventQuery{Project: project, Page: cyclone.Page{Limit: 200}})
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range l.Items {
		files, err := s.files.List(t.Context(), e.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		mark := ""
		switch marked, there := e.FilesRemovedAt != nil, len(files) > 0; {
		case marked && there:
			mark = "?"
		case marked:
			mark = "-"
		case !there:
			mark = "!"
		}
		words = append(words, strconv.Itoa(int(now.Sub(e.CreatedAt)/day))+mark)
	}
	return strings.Join(words, " ")
}

// expectFiles is expect for files: a dry run foretells what the run does, and
// afterwards there is nothing left to do.
func expectFiles(t *testing.T, r *retention.Retention, events, files int) {
	t.Helper()
	if report := expect(t, r, [3]int{events, 0, 0}); report.Files != files {
		t.Errorf("files of %d events were removed, want %d", report.Files, files)
	}
}

// Files of every kind go before their events, or with them.
func TestFilesGo(t *testing.T) {
	t.Parallel()
	ages := []int{0, 1, 5, 10, 20, 40, 80, 160, 320}
	each(t, func(t *testing.T, open func(*testing.T) stores) {
		for i, tt := range []struct {
			events, files string
			minimum       int
			left          string
			gone          [2]int
		}{
			{"", "", 0, "0 1 5 10 20 40 80 160 320", [2]int{0, 0}},
			{"", "30d", 0, "0 1 5 10 20 40- 80- 160- 320-", [2]int{0, 4}},
			{"", "30d", 7, "0 1 5 10 20 40 80 160- 320-", [2]int{0, 2}},
			{"", "2", 0, "0 1 5- 10- 20- 40- 80- 160- 320-", [2]int{0, 7}},
			{"100d", "7d", 0, "0 1 5 10- 20- 40- 80-", [2]int{2, 4}},
			{"7d", "100d", 0, "0 1 5", [2]int{6, 0}},
		} {
			t.Run(fmt.Sprintf("%d", i), func(t *testing.T) {
				s := open(t)
				s.project(t, "orders", &cyclone.Retention{Events: keep(t, tt.events), Files: keep(t, tt.files), Minimum: &tt.minimum})
				var all []*cyclone.Event
				for j, days := range slices.Backward(ages) {
					all = append(all, s.eventWithFile(t, "orders", days, fileKinds[j%3]))
				}
				expectFiles(t, s.retention(cyclone.Retention{}), tt.gone[0], tt.gone[1])
				if left := s.leftFiles(t, "orders"); left != tt.left {
					t.Errorf("left are %s, want %s", left, tt.left)
				}
				for _, e := range all[:tt.gone[0]] {
					if files, err := s.files.List(t.Context(), e.ID, ""); err != nil || len(files) > 0 {
						t.Errorf("the deleted event %s has files %v, %v", e.ID, files, err)
					}
				}
			})
		}
	})
}

// What a rerun needs that is not over yet stays: its base, with its files.
func TestFilesOfABase(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(*testing.T) stores) {
		for _, status := range []cyclone.Status{cyclone.StatusPending, cyclone.StatusBlocked, cyclone.StatusRunning} {
			t.Run(string(status), func(t *testing.T) {
				s := open(t)
				s.project(t, "orders", nil)
				s.eventWithFile(t, "orders", 102, cyclone.FileOutput)
				base := s.eventWithFile(t, "orders", 101, cyclone.FileOutput)
				s.eventWithFile(t, "orders", 100, cyclone.FileOutput)
				rerun := s.event(t, "orders", 0, func(e *cyclone.Event) {
					e.Status, e.FinishedAt, e.LogLines = status, nil, 0
					e.Run.Base, e.Run.From = base.ID, cyclone.StageBuild
				})
				none := 0
				files := s.retention(cyclone.Retention{Files: keep(t, "30d"), Minimum: &none})
				expectFiles(t, files, 0, 2)
				if left := s.leftFiles(t, "orders"); left != "0! 100- 101 102-" {
					t.Errorf("left are %s", left)
				}
				all := s.retention(cyclone.Retention{Events: keep(t, "30d"), Files: keep(t, "20d"), Minimum: &none})
				expectFiles(t, all, 2, 0)
				if left := s.leftFiles(t, "orders"); left != "0! 101" {
					t.Errorf("left are %s", left)
				}
				rerun.Status = cyclone.StatusCanceled
				if err := s.events.Replace(t.Context(), rerun); err != nil {
					t.Fatal(err)
				}
				expectFiles(t, files, 0, 1)
				expectFiles(t, all, 1, 0)
			})
		}
	})
}

// A rerun that is created while a run is on its way is seen before the next batch.
func TestRerunComesMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory()
		s.project(t, "orders", nil)
		var made []*cyclone.Event
		for i := range 60 {
			made = append(made, s.eventWithFile(t, "orders", 200-i, cyclone.FileOutput))
		}
		none, base := 0, made[45]
		r := s.retention(cyclone.Retention{Files: keep(t, "30d"), Minimum: &none})
		r.Files = &watchedFiles{FileStore: s.files, deleted: func(id cyclone.EventID) error {
			if id == made[25].ID {
				s.event(t, "orders", 0, func(e *cyclone.Event) {
					e.Status, e.FinishedAt, e.Run.Base = cyclone.StatusPending, nil, base.ID
				})
			}
			return nil
		}}
		report, err := r.Apply(t.Context(), false)
		if err != nil || report.Files != 59 {
			t.Errorf("%+v, %v", report, err)
		}
		if e, err := s.events.Find(t.Context(), base.ID); err != nil || e.FilesRemovedAt != nil {
			t.Errorf("the base of a rerun is marked: %+v, %v", e, err)
		}
	})
}

// watchedFiles is a store that tells of each delete before it is made.
type watchedFiles struct {
	cyclone.FileStore
	deleted func(cyclone.EventID) error
	lists   atomic.Int64
}

func (w *watchedFiles) Delete(ctx context.Context, id cyclone.EventID) error {
	if err := w.deleted(id); err != nil {
		return err
	}
	return w.FileStore.Delete(ctx, id)
}

func (w *watchedFiles) List(ctx context.Context, id cyclone.EventID, kind cyclone.FileKind) ([]cyclone.File, error) {
	w.lists.Add(1)
	return w.FileStore.List(ctx, id, kind)
}

// A server that dies between the mark and the removal leaves an event whose
// readers are told, and the next run finishes it.
func TestFilesHalfRemoved(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(*testing.T) stores) {
		s := open(t)
		s.project(t, "orders", nil)
		for i := range 4 {
			s.eventWithFile(t, "orders", 100-i, fileKinds[i%3])
		}
		none, died, good := 0, errors.New("killed"), 2
		r := s.retention(cyclone.Retention{Files: keep(t, "30d"), Minimum: &none})
		r.Files = &watchedFiles{FileStore: s.files, deleted: func(cyclone.EventID) error {
			if good--; good < 0 {
				return died
			}
			return nil
		}}
		report, err := r.Apply(t.Context(), false)
		if !errors.Is(err, died) || report.Files != 2 {
			t.Errorf("%+v, %v", report, err)
		}
		if left := s.leftFiles(t, "orders"); left != "97 98? 99- 100-" {
			t.Errorf("left are %s", left)
		}
		good = 100
		expectFiles(t, r, 0, 2)
		if left := s.leftFiles(t, "orders"); left != "97- 98- 99- 100-" {
			t.Errorf("left are %s", left)
		}
	})
}

// A project that never has files costs a run next to nothing, and what
// such a run leaves behind, the daily one finds.
func TestFewHaveFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory()
		s.project(t, "orders", nil)
		ago := time.Now().Add(-40 * day)
		var first *cyclone.Event
		for i := range 250 {
			at := ago.Add(time.Duration(i) * time.Second)
			e := s.event(t, "orders", 0, func(e *cyclone.Event) { e.CreatedAt, e.FinishedAt, e.StartedAt, e.LogLines = at, &at, &at, 0 })
			if first == nil {
				first = e
			}
		}
		none := 0
		files := &watchedFiles{FileStore: s.files, deleted: func(cyclone.EventID) error { return nil }}
		r := s.retention(cyclone.Retention{Files: keep(t, "30d"), Minimum: &none})
		r.Now, r.Files, r.Every = time.Now, files, 12*time.Hour
		defer running(t, r)()
		time.Sleep(10 * time.Minute) // with it the first, thorough run
		synctest.Wait()
		files.lists.Store(0)
		s.file(t, first, cyclone.FileOutput)
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if n := files.lists.Load(); n == 0 || n > 200 {
			t.Errorf("an idle run looks for files of %d events", n)
		}
		time.Sleep(13 * time.Hour)
		synctest.Wait()
		if left, err := s.files.List(t.Context(), first.ID, ""); err != nil || len(left) != 0 {
			t.Errorf("files are left after a day: %v, %v", left, err)
		}
	})
}
