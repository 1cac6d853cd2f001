package progress

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cyclone/pkg/cyclone"
)

// Job is all that the worker needs, and no more: nothing of a fork's event
// carries a secret, a registry's credential or a cluster. When the job cannot
// be made up at all (a secret that the project names is missing) the event
// ends with an error that says so, and Job returns ErrConflict.
func (p *Progress) Job(ctx context.Context, f cyclone.Fence) (*cyclone.Job, error) {
	e, err := p.check(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("job of event %s: %w", f.Event, err)
	}
	if canceled(e) {
		return nil, p.canceledBefore(ctx, e)
	}
	job, err := p.job(ctx, e)
	if broken := new(brokenError); errors.As(err, &broken) {
		if err := p.end(ctx, f, cyclone.StatusError, broken.Error()); err != nil {
			return nil, fmt.Errorf("job of event %s: %w", f.Event, err)
		}
		return nil, cyclone.Conflict("job of event %s: %s", f.Event, broken)
	}
	if err != nil {
		return nil, fmt.Errorf("job of event %s: %w", f.Event, err)
	}
	p.publish(e)
	p.Log.Info("event started", "event", e.ID, "project", e.Project, "worker", e.Worker.ID, "attempt", e.Worker.Attempt)
	return job, nil
}

// canceledBefore ends an event that was canceled while its worker started:
// there is no job for it any more.
func (p *Progress) canceledBefore(ctx context.Context, e *cyclone.Event) error {
	if err := p.end(ctx, fenceOf(e), cyclone.StatusCanceled, e.Run.CancelReason); err != nil {
		return fmt.Errorf("job of event %s: %w", e.ID, err)
	}
	return cyclone.Conflict("event %s was canceled: %s", e.ID, e.Run.CancelReason)
}

// brokenError is a reason why a job can never be made up as things stand.
type brokenError struct{ why string }

func (e *brokenError) Error() string { return e.why }

func broken(format string, args ...any) error { return &brokenError{fmt.Sprintf(format, args...)} }

func (p *Progress) job(ctx context.Context, e *cyclone.Event) (*cyclone.Job, error) {
	project, err := p.Projects.Find(ctx, e.Project)
	if errors.Is(err, cyclone.ErrNotFound) {
		return nil, broken("project %q does not exist any more", e.Project)
	}
	if err != nil {
		return nil, err
	}
	job := &cyclone.Job{
		Fence: fenceOf(e), Event: *e, Origin: e.Origin(), Project: *project, Config: e.Run.Config,
		Variables: variables(project, e), Stages: stages(e), Push: e.PullRequest == nil,
		Before: e.Run.Before, Changed: e.Run.Changed, From: e.Run.From,
		Patience: patience(e),
		Timeout:  cyclone.Duration(p.timeout(project)), LogLimit: p.LogLimit, CacheLimit: p.CacheLimit, FileLimit: p.FileLimit,
	}
	if p.EventURL != nil {
		job.EventURL = p.EventURL(e)
	}
	fills := []func(context.Context, *cyclone.Job) error{
		p.dropFiles, p.fillTakenOver, p.fillLastLine, p.fillCache, p.fillCredential, p.fillSecrets, p.fillRegistries, p.fillClusters,
	}
	for _, fill := range fills {
		if err := fill(ctx, job); err != nil {
			return nil, err
		}
	}
	return job, nil
}

// Bounds of waiting for a commit that the forge does not show yet.
const (
	clonePatience = 60 * time.Second
	// freshFor is how long a forge may take at most until all of its servers
	// show what it told of.
	freshFor = 10 * time.Minute
)

// patience is how long the clone waits for its commit: of what a delivery just
// told of it is likely to come, of anything else not.
func patience(e *cyclone.Event) cyclone.Duration {
	if e.Trigger.Delivery == "" || e.StartedAt == nil || e.StartedAt.Sub(e.CreatedAt) >= freshFor {
		return 0
	}
	return cyclone.Duration(clonePatience)
}

func variables(project *cyclone.Project, e *cyclone.Event) map[string]string {
	merged := maps.Clone(project.Variables)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, e.Run.Variables)
	return merged
}

// stages are the ones that may run: the event's own list or its kind's.
// Clone is always among them; deploy never is for a fork, whoever asked.
func stages(e *cyclone.Event) []cyclone.Stage {
	wanted := e.Run.Stages
	if len(wanted) == 0 {
		wanted = e.DefaultStages()
	}
	var list []cyclone.Stage
	for _, s := range cyclone.Stages {
		if s == cyclone.StageDeploy && e.FromFork() {
			continue
		}
		if s == cyclone.StageClone || slices.Contains(wanted, s) {
			list = append(list, s)
		}
	}
	return list
}

func (p *Progress) fillLastLine(ctx context.Context, job *cyclone.Job) (err error) {
	job.LastLine, err = p.Logs.Last(ctx, job.Event.ID)
	return err
}

// recent is how far back the image of a successful event is looked for.
const recent = 20

// fillCache names the image of the project's last successful event that
// pushed one.
func (p *Progress) fillCache(ctx context.Context, job *cyclone.Job) error {
	l, err := p.Events.List(ctx, cyclone.EventQuery{
		Project: job.Event.Project, Statuses: []cyclone.Status{cyclone.StatusSuccess}, Page: cyclone.Page{Limit: recent},
	})
	if err != nil {
		return err
	}
	for _, e := range l.Items {
		if e.Image.Digest != "" {
			job.CacheFrom = []string{e.Image.Ref()}
			return nil
		}
	}
	return nil
}

// fillCredential opens what the clone needs. It goes to git only, never to a
// step, so that events of forks of a private repository can be cloned too.
func (p *Progress) fillCredential(ctx context.Context, job *cyclone.Job) error {
	from := job.Project.Repository
	if from.Credential == "" && from.Account == "" {
		return nil
	}
	credential, err := p.Credentials.Credential(ctx, &job.Project)
	if hopeless(err) {
		return broken("%v", err)
	}
	if err != nil {
		return fmt.Errorf("open the repository's credential: %w", err)
	}
	job.CloneUsername, job.ClonePassword = credential.Username, credential.Password
	return nil
}

// fillSecrets opens the secrets that the event may see. A rerun sees what the
// event at the beginning of its chain saw.
func (p *Progress) fillSecrets(ctx context.Context, job *cyclone.Job) error {
	if job.Event.FromFork() {
		return nil
	}
	all, err := p.Secrets.List(ctx, job.Project.Name)
	if err != nil {
		return err
	}
	job.Secrets = map[string]cyclone.JobSecret{}
	for _, s := range all {
		if len(s.Events) > 0 && !slices.Contains(s.Events, job.Event.Origin()) {
			continue
		}
		value, err := p.Sealer.Open(s.Purpose(), s.Value)
		if err != nil {
			return broken("the secret %q cannot be opened: %v", s.Name, err)
		}
		masked := s.Masked || s.Name == job.Project.Repository.Credential
		job.Secrets[s.Name] = cyclone.JobSecret{Value: string(value), Masked: masked}
	}
	return nil
}

func (p *Progress) fillRegistries(_ context.Context, job *cyclone.Job) error {
	if !job.Event.FromFork() {
		job.Registries = maps.Clone(p.Registries)
	}
	return nil
}

// fillClusters opens the clusters that the project may use, if the event may
// deploy at all.
func (p *Progress) fillClusters(ctx context.Context, job *cyclone.Job) error {
	if job.Event.FromFork() || !slices.Contains(job.Stages, cyclone.StageDeploy) {
		return nil
	}
	job.Clusters = map[cyclone.ClusterName]cyclone.ClusterAccess{}
	page := cyclone.Page{Limit: 200}
	for {
		l, err := p.Clusters.List(ctx, page)
		if err != nil {
			return err
		}
		for _, c := range l.Items {
			if err := p.addCluster(job, c); err != nil {
				return err
			}
		}
		if l.Next == "" {
			return nil
		}
		page.Cursor = l.Next
	}
}
