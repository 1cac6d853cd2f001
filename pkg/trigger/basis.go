package trigger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

// basis is what an event that is over left for a rerun from a later stage.
type basis struct {
	parent   *cyclone.Event
	pipeline *cyclone.Pipeline // nil when unreadable says why
	// unreadable is why nothing is known of the event's stages.
	unreadable string
	images     []cyclone.BuildImage
	// outputs is true when pre_build leaves outputs; base is the event with
	// which they are kept, and gone says why they are not.
	outputs bool
	base    cyclone.EventID
	gone    string
}

// basis finds out what a parent left.
func (t *Trigger) basis(ctx context.Context, parent *cyclone.Event) (*basis, error) {
	b := &basis{parent: parent, images: parent.Images}
	if b.unreadable = b.read(); b.unreadable != "" {
		return b, nil
	}
	if len(b.images) == 0 && parent.Image.Digest != "" && len(b.pipeline.Build) > 0 {
		b.images = []cyclone.BuildImage{{Build: b.pipeline.Build[0].Name, Image: parent.Image}}
	}
	b.outputs = b.allowed(cyclone.StagePreBuild) && slices.ContainsFunc(b.pipeline.PreBuild, leavesOutputs)
	if !b.outputs {
		return b, nil
	}
	b.base = parent.ID
	if parent.Run.From != "" { // it did not run pre_build itself
		b.base = parent.Run.Base
	}
	var err error
	b.gone, err = t.outputsGone(ctx, b)
	return b, err
}

// read parses the file that the parent ran, and says why it cannot.
func (b *basis) read() string {
	if len(b.parent.Run.Config) == 0 {
		if len(b.parent.Stages) < 2 {
			return "it ended before its caicloud.yml was read"
		}
		return "it had no caicloud.yml"
	}
	pipeline, problems := manifest.Parse(b.parent.Run.Config)
	if manifest.Errors(problems) > 0 || pipeline == nil {
		return "its caicloud.yml has errors"
	}
	b.pipeline = pipeline
	return ""
}

func leavesOutputs(s cyclone.Step) bool { return len(s.Outputs) > 0 }

// outputsGone says why the outputs that pre_build left are not there any more,
// or nothing.
func (t *Trigger) outputsGone(ctx context.Context, b *basis) (string, error) {
	base := b.parent
	if b.base != base.ID {
		var err error
		base, err = t.Events.Find(ctx, b.base)
		if errors.Is(err, cyclone.ErrNotFound) {
			return "the event that ran pre_build, whose outputs are needed, does not exist any more", nil
		}
		if err != nil {
			return "", fmt.Errorf("find event %s: %w", b.base, err)
		}
	}
	if base.FilesRemovedAt != nil {
		return fmt.Sprintf("retention removed the outputs of pre_build on %s", base.FilesRemovedAt.UTC().Format(time.DateOnly)), nil
	}
	if t.Files == nil {
		return "this server keeps no outputs of pre_build", nil
	}
	kept, err := t.Files.List(ctx, base.ID, cyclone.FileOutput)
	if err != nil {
		return "", fmt.Errorf("list outputs of event %s: %w", base.ID, err)
	}
	for _, s := range b.pipeline.PreBuild {
		there := slices.ContainsFunc(kept, func(f cyclone.File) bool { return f.Path == s.Name })
		if leavesOutputs(s) && !there && succeeded(base, s.Name) {
			return fmt.Sprintf("the outputs of step %s of pre_build are not kept", s.Name), nil
		}
	}
	return "", nil
}

// succeeded reports whether a step of pre_build passed: one that was skipped,
// or was allowed to fail, left nothing.
func succeeded(e *cyclone.Event, step string) bool {
	for _, stage := range e.Stages {
		for _, s := range stage.Steps {
			if stage.Name == cyclone.StagePreBuild && s.Name == step {
				return s.Status == cyclone.StatusSuccess
			}
		}
	}
	return false
}

// present reports whether the file has a stage.
func (b *basis) present(s cyclone.Stage) bool {
	p := b.pipeline
	switch s {
	case cyclone.StagePreBuild:
		return len(p.PreBuild) > 0
	case cyclone.StageBuild:
		return len(p.Build) > 0
	case cyclone.StageIntegration:
		return p.Integration != nil
	case cyclone.StagePostBuild:
		return len(p.PostBuild) > 0
	case cyclone.StageDeploy:
		return len(p.Deploy) > 0
	}
	return false
}

// allowed reports whether the rules of the parent, which are those of its
// reruns too, let a stage run.
func (b *basis) allowed(s cyclone.Stage) bool {
	stages := b.parent.Run.Stages
	if len(stages) == 0 {
		stages = b.parent.DefaultStages()
	}
	return slices.Contains(stages, s) && (s != cyclone.StageDeploy || !b.parent.FromFork())
}

// refuses says why a rerun cannot begin at a stage, or nothing.
func (b *basis) refuses(from cyclone.Stage) string {
	switch {
	case b.unreadable != "":
		return b.unreadable
	case !b.present(from):
		return fmt.Sprintf("its caicloud.yml has no %s", from)
	case !b.allowed(from):
		return fmt.Sprintf("events of its kind do not run %s", from)
	}
	for _, s := range cyclone.Stages {
		if s == from {
			break
		}
		if why := b.unfinished(s); why != "" {
			return why
		}
	}
	if b.gone != "" && b.needsOutputs(from) {
		return b.gone
	}
	return b.missingImage(from)
}

// unfinished says why what a stage makes is not there, or nothing. A stage has
// passed, in whatever way, when the run went on after it; what is skipped
// because the run ended before it has not.
func (b *basis) unfinished(s cyclone.Stage) string {
	ran := s == cyclone.StageClone || b.present(s) && b.allowed(s)
	if !ran || b.parent.Status == cyclone.StatusSuccess || b.parent.Run.From != "" && after(b.parent.Run.From, s) {
		return ""
	}
	status := cyclone.StatusSkipped
	for _, st := range b.parent.Stages {
		switch {
		case st.Name == s:
			status = st.Status
		case after(st.Name, s) && st.StartedAt != nil:
			return ""
		}
	}
	switch status {
	case cyclone.StatusSuccess:
		return ""
	case cyclone.StatusSkipped:
		return fmt.Sprintf("it ended before %s", s)
	}
	return fmt.Sprintf("%s ended there with %s", s, status)
}

// needsOutputs: deploying looks into the source tree for nothing but a
// Deployment's manifest.
func (b *basis) needsOutputs(from cyclone.Stage) bool {
	return from != cyclone.StageDeploy ||
		slices.ContainsFunc(b.pipeline.Deploy, func(t cyclone.Target) bool { return t.Manifest != "" })
}

// missingImage says which image a stage from the given one on would need and
// cannot have, because it was not pushed.
func (b *basis) missingImage(from cyclone.Stage) string {
	if !after(from, cyclone.StageBuild) || len(b.pipeline.Build) == 0 {
		return ""
	}
	for _, use := range b.uses() {
		if after(from, use.stage) || !b.allowed(use.stage) {
			continue
		}
		name := strings.TrimPrefix(strings.TrimPrefix(use.image, cyclone.BuiltImage), ".")
		if name == "" {
			name = b.pipeline.Build[0].Name
		}
		pushed := slices.ContainsFunc(b.images, func(i cyclone.BuildImage) bool { return i.Build == name && i.Digest != "" })
		switch {
		case pushed:
		case b.parent.PullRequest != nil:
			return fmt.Sprintf("%s needs the image that build made, and events of pull requests push none", use.stage)
		default:
			return fmt.Sprintf("%s needs the image of build %s, which was not pushed", use.stage, name)
		}
	}
	return ""
}

// use is a place where a stage names an image of this event's own.
type use struct {
	stage cyclone.Stage
	image string // BuiltImage, with the build's name or without
}

// uses lists them.
func (b *basis) uses() []use {
	var all []use
	add := func(stage cyclone.Stage, image string) {
		if strings.Contains(image, "CYCLONE_IMAGE") { // ${CYCLONE_IMAGE}: the first
			image = cyclone.BuiltImage
		}
		if image == cyclone.BuiltImage || strings.HasPrefix(image, cyclone.BuiltImage+".") {
			all = append(all, use{stage, image})
		}
	}
	orBuilt := func(image string) string {
		if image == "" {
			return cyclone.BuiltImage
		}
		return image
	}
	if i := b.pipeline.Integration; i != nil {
		add(cyclone.StageIntegration, orBuilt(i.Image))
		for _, s := range i.Services {
			add(cyclone.StageIntegration, s.Image)
		}
	}
	for _, s := range b.pipeline.PostBuild {
		add(cyclone.StagePostBuild, s.Image)
	}
	for _, t := range b.pipeline.Deploy {
		add(cyclone.StageDeploy, orBuilt(t.Image))
	}
	return all
}
