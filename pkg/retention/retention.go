// Package retention removes what is older than a project, or the server, says
// that it is kept: events with their logs and files, logs and files before their
// events, and handled deliveries. It removes the oldest first and never hurries, so that
// the queue does not notice.
//
// Whatever stops it half way, the next run goes on: nothing is half removed
// without saying so. It knows no containers, images or volumes: those are
// removed by their nodes.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
	"cyclone/pkg/metrics"
)

// DefaultEvery is how often Run looks for what is too old.
const DefaultEvery = time.Hour

// Retention removes what is no longer kept. Fill the fields before the first
// call; it is safe for concurrent use, also by several servers.
type Retention struct {
	Projects   cyclone.ProjectStore
	Events     cyclone.EventStore
	Logs       cyclone.LogStore
	Files      cyclone.FileStore
	Deliveries cyclone.DeliveryStore
	// Defaults hold for each part that a project leaves out; a nil part keeps
	// for ever, a nil Minimum is 10.
	Defaults cyclone.Retention
	// Lease lets one server do what Run does; nil for the only server.
	Lease *lead.Lease
	// Every is DefaultEvery when zero.
	Every   time.Duration
	Metrics *metrics.Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

// run is one pass over all projects.
type run struct {
	*Retention
	dry bool
	// thorough goes through all old events, however many have no log any more;
	// quick is set when a thorough run was made a short time ago.
	thorough, quick bool
	// allowed is asked again and again whether the run may go on.
	allowed func(context.Context) error
	now     time.Time
	begun   time.Time // the last pause's end
}

// Apply removes what is no longer kept, or with dry only counts what a call
// at this moment would remove. What it could not do for one project it does
// for the others; the report says what was done, also beside an error.
func (r *Retention) Apply(ctx context.Context, dry bool) (cyclone.RetentionReport, error) {
	return r.apply(ctx, &run{Retention: r, dry: dry, allowed: func(context.Context) error { return nil }})
}

func (r *Retention) apply(ctx context.Context, p *run) (cyclone.RetentionReport, error) {
	p.now = r.Now()
	p.begun = p.now
	report := cyclone.RetentionReport{DryRun: p.dry, Projects: []cyclone.ProjectRetention{}}
	var failed error
	for page := (cyclone.Page{Limit: pageSize}); ; {
		l, err := r.Projects.List(ctx, page)
		if err != nil {
			return report, errors.Join(failed, fmt.Errorf("list projects: %w", err))
		}
		for _, project := range l.Items {
			done, err := p.project(ctx, project)
			r.count(p, done)
			add(&report, done)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("remove what project %s no longer keeps: %w", project.Name, err))
			}
			if hopeless(ctx, err) {
				return report, failed
			}
		}
		if page.Cursor = l.Next; l.Next == "" {
			return report, failed
		}
	}
}

// hopeless reports whether the projects to come would fail in the same way.
func hopeless(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, cyclone.ErrUnavailable) || errors.Is(err, errNotLeading)
}

// project removes what one project no longer keeps. Its parts fail on their own.
func (p *run) project(ctx context.Context, project *cyclone.Project) (cyclone.ProjectRetention, error) {
	done := cyclone.ProjectRetention{Project: project.Name}
	rules := rulesOf(project.Retention, p.Defaults, p.now)
	events := &old{project: project.Name, rule: rules.events, sparing: true}
	logs := &old{project: project.Name, rule: rules.logs}
	files := &old{project: project.Name, rule: rules.files, sparing: true}
	var failed error
	for _, step := range []func() error{
		func() error { return p.removeEvents(ctx, events, &done.Events) },
		func() error { return p.removeParts(ctx, p.logs(), logs, events, &done.Logs) },
		func() error { return p.removeParts(ctx, p.files(), files, events, &done.Files) },
		func() error { return p.pruneDeliveries(ctx, project.Name, rules.deliveries, &done.Deliveries) },
	} {
		if failed = errors.Join(failed, step()); hopeless(ctx, failed) {
			break
		}
	}
	return done, failed
}

func (p *run) pruneDeliveries(ctx context.Context, project cyclone.ProjectName, r rule, done *int) error {
	if !r.any() {
		return nil
	}
	if err := p.breathe(ctx); err != nil {
		return err
	}
	n, err := p.Deliveries.Prune(ctx, project, cyclone.Prune{Before: r.before, Most: r.most, Minimum: r.minimum, Dry: p.dry})
	*done += n
	if err != nil {
		return fmt.Errorf("prune deliveries: %w", err)
	}
	return nil
}

func add(report *cyclone.RetentionReport, done cyclone.ProjectRetention) {
	if done.Events+done.Logs+done.Files+done.Deliveries == 0 {
		return
	}
	report.Projects = append(report.Projects, done)
	report.Events += done.Events
	report.Logs += done.Logs
	report.Files += done.Files
	report.Deliveries += done.Deliveries
}

func (r *Retention) count(p *run, done cyclone.ProjectRetention) {
	if p.dry {
		return
	}
	r.Metrics.Removed(metrics.RemovedEvents, done.Events)
	r.Metrics.Removed(metrics.RemovedLogs, done.Logs)
	r.Metrics.Removed(metrics.RemovedFiles, done.Files)
	r.Metrics.Removed(metrics.RemovedDeliveries, done.Deliveries)
}
