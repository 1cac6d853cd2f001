package progress

import (
	"sync"

	"cyclone/pkg/cyclone"
)

// Bounds of the notices that are tried at the same time, apart from releases:
// slow mail servers must not keep workers alive, slow forges not keep mails
// back, and one project's forge not keep those of others.
const (
	mailsAtOnce  = 16
	forgesAtOnce = 16
	ofOneProject = 4
)

// lanes counts the notices that are being told.
type lanes struct {
	kick func() // makes Run look again
	// depth is how many due events are looked at; only Run touches it.
	depth int

	mu            sync.Mutex
	mails, forges int
	projects      map[cyclone.ProjectName]int // of forges
	refused       bool                        // somebody, since the last kick
}

// enter takes a place for an attempt at a notice; false when there is none now.
// Leave gives it back.
func (l *lanes) enter(project cyclone.ProjectName, name string) (leave func(), free bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case name == noticeRelease:
		return func() {}, true
	case !ofForge(name) && l.mails < mailsAtOnce:
		l.mails++
		return func() { l.leave(func() { l.mails-- }) }, true
	case ofForge(name) && l.forges < forgesAtOnce && l.projects[project] < ofOneProject:
		l.add(project, 1)
		return func() { l.leave(func() { l.add(project, -1) }) }, true
	}
	l.refused = true
	return nil, false
}

func (l *lanes) add(project cyclone.ProjectName, n int) {
	if l.projects == nil {
		l.projects = map[cyclone.ProjectName]int{}
	}
	l.forges += n
	if l.projects[project] += n; l.projects[project] == 0 {
		delete(l.projects, project)
	}
}

// look sets how far the next round looks: further while most of what is due can
// only be passed over, so that it does not hide what is behind it.
func (l *lanes) look(due, passed int) {
	switch {
	case due == l.depth && passed > due/2:
		l.depth = min(2*l.depth, mostDue)
	case due < l.depth/4:
		l.depth = max(l.depth/2, dueAtOnce)
	}
}

// leave makes Run look for those that found no place, so that they need not
// wait for its tick.
func (l *lanes) leave(give func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	give()
	if l.refused {
		l.refused = false
		l.kick()
	}
}
