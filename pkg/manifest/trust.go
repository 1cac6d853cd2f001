package manifest

import (
	"fmt"
	"path"

	"cyclone/pkg/cyclone"
)

// Trusted lists what a pipeline asks for that only projects marked as trusted
// may have: privileged containers, devices, and volumes from outside the
// source tree. Nothing in the list: every project may run it. The problems
// are errors at the line of the step; they say what a project is to do.
func Trusted(p *cyclone.Pipeline) []cyclone.Problem {
	if p == nil {
		return nil
	}
	var out []cyclone.Problem
	for _, s := range p.PreBuild {
		out = append(out, trusted(stepPath(cyclone.StagePreBuild, s), s)...)
	}
	if p.Integration != nil {
		out = append(out, trusted(string(cyclone.StageIntegration), p.Integration.Step)...)
		for _, s := range p.Integration.Services {
			out = append(out, trusted("integration.services."+path.Base(s.Name), s)...)
		}
	}
	for _, s := range p.PostBuild {
		out = append(out, trusted(stepPath(cyclone.StagePostBuild, s), s)...)
	}
	return sorted(out)
}

// stepPath is where a step of a stage stands in the file.
func stepPath(stage cyclone.Stage, s cyclone.Step) string {
	if s.Name == string(stage) {
		return s.Name
	}
	return join(string(stage), s.Name)
}

// trusted lists what one step asks for.
func trusted(where string, s cyclone.Step) []cyclone.Problem {
	var out []cyclone.Problem
	add := func(key, format string, args ...any) {
		out = append(out, cyclone.Problem{
			Line: s.Line, Column: 1, Path: where + "." + key, Severity: cyclone.SeverityError,
			Message: fmt.Sprintf(format, args...) + " is for trusted projects only",
			Hint:    "remove it, or ask an administrator to mark the project as trusted",
		})
	}
	if s.Privileged {
		add("privileged", "a privileged container")
	}
	for _, d := range s.Devices {
		add("devices", "the device %s", quote(d))
	}
	for _, v := range s.Volumes {
		if path.IsAbs(v.Source) {
			add("volumes", "the volume %s from outside the source tree", quote(v.Source))
		}
	}
	return out
}
