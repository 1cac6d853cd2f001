package progress_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlzIG5vdCBhIGtleSBhdCBhbGwsIHRydXN0"

func (w *world) hostKeys() []string {
	w.t.Helper()
	p, err := w.store.Projects.Find(w.t.Context(), "orders")
	w.must(err)
	return p.Repository.HostKeys
}

// The keys that the host shows first are pinned; those of later hosts change
// nothing.
func TestHostKeysArePinned(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	w.must(w.Report(t.Context(), f, cyclone.Report{}))
	if got := w.hostKeys(); got != nil {
		t.Errorf("keys of nowhere: %q", got)
	}
	before, err := w.store.Projects.Find(t.Context(), "orders")
	w.must(err)
	want := []string{hostKey, "ecdsa-sha2-nistp256 AAAA"}
	w.must(w.Report(t.Context(), f, cyclone.Report{HostKeys: want}))
	w.must(w.Report(t.Context(), f, cyclone.Report{HostKeys: want}))
	w.must(w.Report(t.Context(), f, cyclone.Report{HostKeys: []string{"ssh-rsa BBBB"}}))
	after, err := w.store.Projects.Find(t.Context(), "orders")
	w.must(err)
	before.Repository.HostKeys, before.Revision = want, before.Revision+1
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the project (-want +got):\n%s", diff)
	}
}

// A host whose keys come late may not be the one that the project has by now.
func TestHostKeysOfAnotherHostAreNotPinned(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	w.project.Repository.URL, w.project.UpdatedAt = "git@elsewhere.example.com:orders", time.Now().Add(time.Minute)
	w.must(w.store.Projects.Replace(t.Context(), w.project))
	w.must(w.Report(t.Context(), f, cyclone.Report{HostKeys: []string{hostKey}}))
	if got := w.hostKeys(); got != nil {
		t.Errorf("keys of the host of before: %q", got)
	}
}

func TestOddHostKeysAreNotPinned(t *testing.T) {
	many := make([]string, 17)
	for i := range many {
		many[i] = fmt.Sprint("ssh-rsa ", i)
	}
	for name, keys := range map[string][]string{
		"line ends": {hostKey + "\nevil.example.com ssh-rsa AAAA"}, "no key": {"ssh-ed25519"}, "nothing": {""}, "begins with a space": {" AAAA"},
		"not ASCII": {"ssh-ed25519 ÄÄÄÄ"}, "huge": {"ssh-rsa " + strings.Repeat("A", 5<<10)}, "many": many, "one of two": {hostKey, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.Report(t.Context(), w.running("e1"), cyclone.Report{HostKeys: keys}))
			if got := w.hostKeys(); got != nil {
				t.Errorf("pinned: %q", got)
			}
		})
	}
}

// meddled is a project that somebody changes whenever it was read.
type meddled struct {
	cyclone.ProjectStore
	mu    sync.Mutex
	times int
}

func (m *meddled) Replace(ctx context.Context, p *cyclone.Project) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.times--; m.times >= 0 {
		other, err := m.Find(ctx, p.Name)
		if err != nil {
			return err
		}
		other.Description += "x"
		if err := m.ProjectStore.Replace(ctx, other); err != nil {
			return err
		}
	}
	return m.ProjectStore.Replace(ctx, p)
}

// Of several events that see the host at once one pins its keys, and what
// people change meanwhile stays.
func TestHostKeysArePinnedOnce(t *testing.T) {
	w := newWorld(t)
	w.Projects = &meddled{ProjectStore: w.store.Projects, times: 5}
	var fences []cyclone.Fence
	for i := range 8 {
		fences = append(fences, w.running(cyclone.EventID(fmt.Sprint("e", i))))
	}
	var all sync.WaitGroup
	for i, f := range fences {
		all.Go(func() {
			if err := w.Report(t.Context(), f, cyclone.Report{HostKeys: []string{fmt.Sprint("ssh-rsa ", i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	p, err := w.store.Projects.Find(t.Context(), "orders")
	w.must(err)
	if len(p.Repository.HostKeys) != 1 || p.Description != "xxxxx" {
		t.Errorf("keys %q, description %q", p.Repository.HostKeys, p.Description)
	}
	// The store that fails does not fail the report.
	w.Projects = broken{w.store.Projects}
	p.Repository.HostKeys = nil
	w.must(w.store.Projects.Replace(t.Context(), p))
	w.must(w.Report(t.Context(), fences[0], cyclone.Report{HostKeys: []string{hostKey}}))
	w.Projects = w.store.Projects
	w.must(w.Report(t.Context(), fences[0], cyclone.Report{HostKeys: []string{hostKey}}))
	if got := w.hostKeys(); !slices.Equal(got, []string{hostKey}) {
		t.Errorf("keys are %q", got)
	}
}

// broken is a store of projects that takes no writes.
type broken struct{ cyclone.ProjectStore }

func (broken) Replace(context.Context, *cyclone.Project) error { return errDown }
