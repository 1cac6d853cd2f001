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
