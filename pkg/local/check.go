package local

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
)

// needSecrets looks for the secrets that the stages name. In a dry run nobody
// needs to have them.
func (r *Run) needSecrets(o Options) error {
	users := map[string][]string{}
	need := func(stage cyclone.Stage, who string, secrets map[string]string) {
		for _, name := range secrets {
			if _, given := r.Job.Secrets[name]; !given && r.runs(stage) && !slices.Contains(users[name], who) {
				users[name] = append(users[name], who)
			}
		}
	}
	if p := r.Pipeline; p != nil {
		for _, s := range p.PreBuild {
			need(cyclone.StagePreBuild, s.Name, s.Secrets)
		}
		for _, b := range p.Build {
			need(cyclone.StageBuild, b.Name, b.Secrets)
		}
		if p.Integration != nil {
			for _, s := range append(slices.Clone(p.Integration.Services), p.Integration.Step) {
				need(cyclone.StageIntegration, s.Name, s.Secrets)
			}
		}
		for _, s := range p.PostBuild {
			need(cyclone.StagePostBuild, s.Name, s.Secrets)
		}
		for _, t := range p.Deploy {
			need(cyclone.StageDeploy, "deploy", t.Secrets)
		}
	}
	if len(users) == 0 {
		return nil
	}
	var missing, flags []string
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if o.DryRun {
			r.Job.Secrets[name] = cyclone.JobSecret{Value: hidden, Masked: true}
			continue
		}
		missing = append(missing, fmt.Sprintf("%s (%s)", name, strings.Join(users[name], ", ")))
		flags = append(flags, "--secret "+name)
	}
	if o.DryRun {
		return nil
	}
	return usage("these secrets are named in %s and not given: %s; add %s to take them from the environment, or NAME=VALUE, or NAME=@FILE",
		o.Config, strings.Join(missing, ", "), strings.Join(flags, " "))
}

// mayPush refuses what could only fail after everything else was done.
func (r *Run) mayPush(o Options) error {
	p := r.Pipeline
	if o.Push && o.Image == "" && r.runs(cyclone.StageBuild) {
		all := p != nil && !slices.ContainsFunc(p.Build, func(b cyclone.Build) bool { return b.ImageName == "" && !b.NoPush })
		if !all {
			return usage("--push needs --image REGISTRY/NAME, the name to push the image under")
		}
	}
	if o.Deploy && !o.Push && p != nil && r.runs(cyclone.StageBuild) &&
		slices.ContainsFunc(p.Deploy, func(t cyclone.Target) bool { return t.Image == "" || isBuilt(t.Image) }) {
		return usage("--deploy needs --push: the cluster can only run an image that a registry has")
	}
	return nil
}

// begin takes over what earlier stages made when the run begins after them.
func (r *Run) begin(last *Last, o Options) error {
	present := r.present()
	first := slices.IndexFunc(present, r.runs)
	if first > 0 {
		r.Job.From = present[first]
	}
	if first < 0 || last == nil {
		return nil
	}
	if last.known.Event != "" {
		r.Job.Event.Trigger.Parent = last.known.Event
	}
	if first > 0 && present[0] == cyclone.StagePreBuild {
		r.Job.Outputs = last.known.Outputs
	}
	if r.runs(cyclone.StageBuild) {
		return nil
	}
	if r.Pipeline == nil {
		return nil
	}
	for _, b := range r.Pipeline.Build {
		if image, ok := last.image(b.Name); ok {
			r.Job.Images = append(r.Job.Images, image)
		} else if user := r.needs(b.Name); user != "" {
			return usage("%s needs the image of %s, and no local run of this repository has built it; run `cyclone run --stage %s` first", user, b.Name, buildStages(present))
		}
	}
	return nil
}

func buildStages(present []cyclone.Stage) string {
	if slices.Contains(present, cyclone.StagePreBuild) {
		return "pre_build,build"
	}
	return "build"
}

// needs is what of the stages that run needs the image of a build; empty when
// nothing does.
func (r *Run) needs(build string) string {
	p := r.Pipeline
	first := len(p.Build) > 0 && p.Build[0].Name == build
	means := func(image string, orNone bool) bool {
		return image == cyclone.BuiltImage+"."+build || first && (image == cyclone.BuiltImage || orNone && image == "")
	}
	if p.Integration != nil && r.runs(cyclone.StageIntegration) {
		for _, s := range p.Integration.Services {
			if means(s.Image, true) {
				return s.Name
			}
		}
		if means(p.Integration.Image, true) {
			return "integration"
		}
	}
	if r.runs(cyclone.StageDeploy) {
		for _, t := range p.Deploy {
			if means(t.Image, true) {
				return "deploy"
			}
		}
	}
	for stage, steps := range map[cyclone.Stage][]cyclone.Step{cyclone.StagePreBuild: p.PreBuild, cyclone.StagePostBuild: p.PostBuild} {
		for _, s := range steps {
			if r.runs(stage) && means(s.Image, false) {
				return s.Name
			}
		}
	}
	return ""
}

func isBuilt(image string) bool {
	return image == cyclone.BuiltImage || strings.HasPrefix(image, cyclone.BuiltImage+".")
}
