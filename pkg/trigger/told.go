package trigger

import "cyclone/pkg/cyclone"

// told plans what is to be told at once about an event that is about to be
// created: the status beside its commit, and, of one that is final from the
// start, the mail, which nobody else plans. Every creation calls it last.
func (t *Trigger) told(p *cyclone.Project, e *cyclone.Event) {
	now := cyclone.Stamp(t.Now())
	e.Run.Notices = nil
	if e.Status.Final() {
		e.Run.Notices = append(e.Run.Notices, cyclone.Notice{Name: cyclone.NoticeMail, NextAt: now})
	}
	if t.StatusWanted != nil && t.StatusWanted(p, e) {
		e.Run.Notices = append(e.Run.Notices, cyclone.Notice{Name: cyclone.NoticeStatus, NextAt: now})
	}
}
