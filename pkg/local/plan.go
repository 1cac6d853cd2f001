package local

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/mask"
)

// hidden stands for the value of a secret.
const hidden = "********"

// Plan is what a run would do.
type Plan struct {
	Project cyclone.ProjectName `json:"project"`
	Source  string              `json:"source"`
	Event   cyclone.TriggerKind `json:"event"`
	Branch  string              `json:"branch"`
	Tag     string              `json:"tag"`
	Version string              `json:"version"`
	Image   string              `json:"image"` // name:tag
	Push    bool                `json:"push"`
	Deploy  bool                `json:"deploy"`
	Stages  []PlanStage         `json:"stages"`
}

// PlanStage is a stage of the file.
type PlanStage struct {
	Name    cyclone.Stage `json:"name"`
	Skipped string        `json:"skipped,omitempty"` // why it does not run
	Network string        `json:"network,omitempty"`
	Steps   []PlanStep    `json:"steps"`
}

// PlanStep is one thing that would be done: at most one of the pointers is set.
type PlanStep struct {
	Name      string         `json:"name"`
	Skipped   string         `json:"skipped,omitempty"` // why it does not run
	Container *PlanContainer `json:"container,omitempty"`
	Build     *PlanBuild     `json:"build,omitempty"`
	Rollout   *PlanRollout   `json:"rollout,omitempty"`
	// Push are the images that are pushed; NotPushed says why one is not.
	Push      []string `json:"push,omitempty"`
	NotPushed string   `json:"notPushed,omitempty"`
}

// PlanContainer is a container that would be run.
type PlanContainer struct {
	Image        string            `json:"image"`
	Pull         string            `json:"pull,omitempty"` // empty for an image that is built here
	Commands     []string          `json:"commands,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Command      []string          `json:"command,omitempty"`
	WorkingDir   string            `json:"workingDir,omitempty"`
	Environment  map[string]string `json:"environment"` // without Cyclone's own
	Mounts       []string          `json:"mounts,omitempty"`
	Network      string            `json:"network,omitempty"`
	Aliases      []string          `json:"aliases,omitempty"`
	Links        []string          `json:"links,omitempty"`
	ExtraHosts   []string          `json:"extraHosts,omitempty"`
	DNS          []string          `json:"dns,omitempty"`
	Ports        []string          `json:"ports,omitempty"`
	Privileged   bool              `json:"privileged,omitempty"`
	Devices      []string          `json:"devices,omitempty"`
	Memory       cyclone.Size      `json:"memory,omitempty"`
	CPUs         float64           `json:"cpus,omitempty"`
	CPUSet       string            `json:"cpuset,omitempty"`
	WaitFor      *cyclone.WaitFor  `json:"waitFor,omitempty"`
	Timeout      cyclone.Duration  `json:"timeout,omitempty"`
	Retries      int               `json:"retries,omitempty"`
	AllowFailure bool              `json:"allowFailure,omitempty"`
	Cache        []string          `json:"cache,omitempty"`
	Outputs      []string          `json:"outputs,omitempty"`
	Artifacts    []string          `json:"artifacts,omitempty"`
	Reports      []string          `json:"reports,omitempty"`
}

// PlanBuild is an image that would be built.
type PlanBuild struct {
	Image      string            `json:"image"`
	Context    string            `json:"context"`
	Dockerfile string            `json:"dockerfile"`
	Target     string            `json:"target,omitempty"`
	Args       map[string]string `json:"args,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Secrets    []string          `json:"secrets,omitempty"`
	Tags       []string          `json:"tags,omitempty"`
}

// PlanRollout is a deployment that would be made.
type PlanRollout struct {
	Cluster    string   `json:"cluster"`
	Namespace  string   `json:"namespace"`
	Deployment string   `json:"deployment"`
	Containers []string `json:"containers"`
	Image      string   `json:"image"`
}

// Planner makes the plan of a dry run. It watches the worker, and is what the
// worker takes for an engine and a cluster; nothing is touched.
type Planner struct {
	run  *Run
	tree string // the copy of the source
	mask *mask.Set

	mu      sync.Mutex
	stages  []*PlanStage
	running struct {
		stage cyclone.Stage
		step  string
	}
	said  map[string]string // the last of Cyclone's own lines of a step
	Lines []string          // of Cyclone's own, for a run that fails
}

// NewPlanner returns a planner of a run whose copy of the source is below dir.
func NewPlanner(run *Run, dir string) *Planner {
	var secrets []string
	for _, s := range run.Job.Secrets {
		secrets = append(secrets, s.Value)
	}
	return &Planner{run: run, tree: filepath.Join(dir, "source"), mask: mask.Compile(secrets), said: map[string]string{}}
}

// Plan is what was found out.
func (p *Planner) Plan(src *Source, report cyclone.Report, deploy bool) *Plan {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.run.Job.Event
	out := &Plan{
		Project: e.Project, Source: src.String(), Event: e.Trigger.Kind, Branch: e.Branch, Tag: e.Tag, Version: report.Version,
		Image: report.Image.Ref(), Push: p.run.Job.Push, Deploy: deploy, Stages: []PlanStage{},
	}
	for _, s := range report.Stages {
		if s.Name == cyclone.StageClone {
			continue
		}
		stage := PlanStage{Name: s.Name, Steps: []PlanStep{}}
		if known := p.stage(s.Name); known != nil {
			stage = *known
		}
		if s.Status == cyclone.StatusSkipped {
			stage.Skipped = firstOf(p.run.Why[s.Name], "an earlier stage failed")
		}
		out.Stages = append(out.Stages, stage)
	}
	return out
}

func (p *Planner) stage(name cyclone.Stage) *PlanStage {
	for _, s := range p.stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// lines implements watcher.
func (p *Planner) lines(all []cyclone.Line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range all {
		p.line(l)
	}
}

// line looks at one line; p.mu is held.
func (p *Planner) line(l cyclone.Line) {
	if l.Stream != cyclone.System {
		return
	}
	p.said[string(l.Stage)+"/"+l.Step] = l.Text
	p.Lines = append(p.Lines, l.Text)
	step := p.step(l.Stage, l.Step)
	if step != nil && step.Skipped == skippedUnsaid {
		step.Skipped = whySkipped(l.Text)
	}
	// "<image> is not pushed: why."
	if image, why, ok := strings.Cut(l.Text, " is not pushed: "); ok && step != nil && step.Build != nil && image == step.Build.Image {
		step.NotPushed = strings.TrimSuffix(why, ".")
	}
}

// skippedUnsaid marks a step whose line is still on its way.
const skippedUnsaid = "skipped"

// whySkipped is the reason in a worker's line about it.
func whySkipped(text string) string {
	return strings.TrimSuffix(strings.TrimPrefix(text, "Skipped: "), ".")
}

func (p *Planner) partial(cyclone.Line) {}

// report implements watcher.
func (p *Planner) report(r cyclone.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range r.Stages {
		if s.Name == cyclone.StageClone || s.Status == cyclone.StatusPending {
			continue
		}
		for _, step := range s.Steps {
			switch step.Status {
			case cyclone.StatusRunning:
				p.running.stage, p.running.step = s.Name, step.Name
			case cyclone.StatusSkipped:
				known := p.add(s.Name, step.Name)
				if known.Skipped == "" {
					known.Skipped = whySkipped(firstOf(p.said[string(s.Name)+"/"+step.Name], skippedUnsaid))
				}
			}
		}
	}
}

func (p *Planner) step(stage cyclone.Stage, name string) *PlanStep {
	s := p.stage(stage)
	if s == nil {
		return nil
	}
	for i := range s.Steps {
		if s.Steps[i].Name == name {
			return &s.Steps[i]
		}
	}
	return nil
}

// add is the plan of a step, which is made when it is not there. p.mu is held.
func (p *Planner) add(stage cyclone.Stage, name string) *PlanStep {
	if known := p.step(stage, name); known != nil {
		return known
	}
	s := p.stage(stage)
	if s == nil {
		s = &PlanStage{Name: stage}
		p.stages = append(p.stages, s)
	}
	s.Steps = append(s.Steps, PlanStep{Name: name})
	return &s.Steps[len(s.Steps)-1]
}

// Container is what a worker calls in place of running a container.
func (p *Planner) Container(stage cyclone.Stage, c cyclone.Step, spec cyclone.ContainerSpec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := &PlanContainer{
		Image: spec.Image, Pull: string(c.Pull), Commands: p.maskAll(c.Commands), WorkingDir: spec.WorkingDir,
		Environment: p.environment(c, spec.Environment), Network: spec.Network, Aliases: spec.Aliases,
		ExtraHosts: spec.ExtraHosts, DNS: spec.DNS, Ports: spec.Ports, Privileged: spec.Privileged, Devices: spec.Devices,
		Memory: spec.Memory, CPUs: spec.CPUs, CPUSet: spec.CPUSet, WaitFor: c.WaitFor,
		Timeout: c.Timeout, Retries: c.Retries, AllowFailure: c.AllowFailure,
		Cache: c.Cache, Outputs: c.Outputs, Artifacts: c.Artifacts,
	}
	if isBuilt(c.Image) || c.Image == "" {
		out.Pull = ""
	} else if out.Pull == "" {
		out.Pull = string(cyclone.PullMissing)
	}
	if len(c.Commands) == 0 {
		out.Entrypoint, out.Command = p.maskAll(spec.Entrypoint), p.maskAll(spec.Command)
	}
	for _, l := range c.Links {
		out.Links = append(out.Links, firstOf(l.Service)+":"+firstOf(l.Alias, l.Service))
	}
	if c.Reports != nil {
		out.Reports = c.Reports.JUnit
	}
	for _, m := range spec.Mounts {
		if text, shown := p.mount(m); shown {
			out.Mounts = append(out.Mounts, text)
		}
	}
	p.add(stage, c.Name).Container = out
}

// mount is a mount as caicloud.yml writes it; the script of the commands is
// not shown.
func (p *Planner) mount(m cyclone.Mount) (string, bool) {
	source := m.Source
	if rel, err := filepath.Rel(p.tree, m.Source); err == nil && filepath.IsLocal(rel) {
		source = "./" + rel
		if rel == "." {
			source = "."
		}
	} else if strings.HasPrefix(m.Source, filepath.Dir(p.tree)+"/") {
		return "", false
	}
	text := source + ":" + m.Target
	if m.ReadOnly {
		text += ":ro"
	}
	return text, true
}

// environment is a container's, without the variables that every step has.
func (p *Planner) environment(c cyclone.Step, pairs []string) map[string]string {
	out := map[string]string{}
	own := map[string]bool{}
	for _, v := range c.Environment {
		own[v.Name] = true
	}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		_, secret := c.Secrets[name]
		_, given := p.run.Job.Variables[name]
		switch {
		case secret:
			out[name] = hidden
		case own[name], given, name != "CI" && name != "CYCLONE" && !strings.HasPrefix(name, "CYCLONE_"):
			out[name] = p.mask.String(value)
		}
	}
	return out
}

func (p *Planner) maskAll(texts []string) []string {
	out := slices.Clone(texts)
	for i := range out {
		out[i] = strings.TrimRight(p.mask.String(out[i]), "\n")
	}
	return out
}

func (p *Planner) maskValues(values map[string]string) map[string]string {
	out := maps.Clone(values)
	for name := range out {
		out[name] = p.mask.String(out[name])
	}
	return out
}
