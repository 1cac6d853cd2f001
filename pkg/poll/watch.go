package poll

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	day = 24 * time.Hour
	// firstPolls and firstComparisons are over what time the looks are spread
	// that a server makes when it begins to lead.
	firstPolls       = time.Minute
	firstComparisons = 10 * time.Minute
	// firstWait is after a look that failed, longestWait after many.
	firstWait   = time.Minute
	longestWait = time.Hour
)

// how says how a project is looked at and how often: ViaPoll as often as it
// asks, ViaMissed once a day where its forge can call us, else not at all.
func how(p *cyclone.Project) (via string, every time.Duration) {
	if p.Poll > 0 {
		return cyclone.ViaPoll, time.Duration(p.Poll)
	}
	switch p.Repository.Type {
	case "github", "gitlab", "gitea":
		return cyclone.ViaMissed, day
	}
	return "", 0
}

// watch is a project whose repository is looked at.
type watch struct {
	name     cyclone.ProjectName
	created  time.Time
	revision int64 // of the project; another one means another look. The list's alone

	mu      sync.Mutex
	next    time.Time // when to look
	looking bool
	renewed bool // the project was written while a look was under way

	// The rest is the look's alone.

	failures int    // looks since the last that went well
	trouble  string // what was last logged as wrong
	// seen is the digest of the heads that the stored mark holds: a look that
	// sees the same need not read it.
	seen [sha256.Size]byte
}

func (w *watch) when() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// isDue reports whether it is time; a time that is too far away was set by a
// clock that was wrong.
func (w *watch) isDue(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.looking && (!w.next.After(now) || w.next.Sub(now) > 2*day)
}

// again asks for a look now, or after the one that is under way.
func (w *watch) again(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next, w.renewed = now, w.looking
}

func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looking = true
}

func (w *watch) end(next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.renewed {
		w.next = next
	}
	w.looking, w.renewed = false, false
}

// share is a part of a span that only depends on the project's name, so that
// projects do not all come at the same time.
func share(name cyclone.ProjectName, of time.Duration) time.Duration {
	sum := sha256.Sum256([]byte(name))
	return time.Duration(binary.BigEndian.Uint64(sum[:8])>>1) % of
}

// beginning is how long after its start a server looks at a project first.
func beginning(p *cyclone.Project) time.Duration {
	if via, every := how(p); via == cyclone.ViaPoll {
		return share(p.Name, min(every, firstPolls))
	}
	return share(p.Name, firstComparisons)
}

// following is the first of a project's times after a moment: one in each span
// of time, at the same place in all of them.
func following(name cyclone.ProjectName, every time.Duration, after time.Time) time.Time {
	t := after.UTC().Truncate(every).Add(share(name, every))
	if !t.After(after) {
		t = t.Add(every)
	}
	return t
}

// pause is how long to wait after so many failures: twice as long each time up
// to an hour, never less than between two looks that go well or than was asked for.
func pause(failures int, every, asked time.Duration) time.Duration {
	wait := min(firstWait<<min(failures, 10), longestWait)
	return max(wait, min(every, longestWait), min(asked, day))
}
