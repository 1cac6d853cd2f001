package local

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Text is the plan for people, without a line end.
func (p *Plan) Text() string {
	w := &planWriter{}
	w.line(0, "Plan for %s: %s", p.Project, p.Source)
	where := ""
	for _, fact := range []struct{ what, value string }{{"branch", p.Branch}, {"tag", p.Tag}} {
		if fact.value != "" {
			where += ", " + fact.what + " " + fact.value
		}
	}
	w.line(0, "Event %s%s, version %s", p.Event, where, p.Version)
	var off []string
	if !p.Push {
		off = append(off, "Nothing is pushed (--push)")
	}
	if !p.Deploy {
		off = append(off, "nothing is deployed (--deploy)")
	}
	if len(off) > 0 {
		text := strings.Join(off, ", ")
		w.line(0, "%s", strings.ToUpper(text[:1])+text[1:])
	}
	for _, s := range p.Stages {
		w.stage(s)
	}
	if len(p.Stages) == 0 {
		w.line(0, "There is nothing to do: the file has no stages")
	}
	return strings.TrimSuffix(w.b.String(), "\n")
}

type planWriter struct{ b strings.Builder }

func (w *planWriter) line(depth int, format string, args ...any) {
	w.b.WriteString(strings.Repeat("  ", depth) + clean(fmt.Sprintf(format, args...), false) + "\n")
}

// field writes a name and what there is, unless that is nothing.
func (w *planWriter) field(name, value string) {
	if value == "" {
		return
	}
	for i, line := range strings.Split(value, "\n") {
		if i > 0 {
			name = ""
		}
		w.line(3, "%-11s %s", name, line)
	}
}

func (w *planWriter) stage(s PlanStage) {
	w.b.WriteString("\n")
	if s.Skipped != "" {
		w.line(0, "%s: skipped: %s", s.Name, s.Skipped)
		return
	}
	w.line(0, "%s", s.Name)
	if s.Network != "" {
		w.line(1, "in %s", s.Network)
	}
	for _, step := range s.Steps {
		w.step(step)
	}
}

func (w *planWriter) step(s PlanStep) {
	if s.Skipped != "" {
		w.line(1, "%s: skipped: %s", s.Name, s.Skipped)
		return
	}
	w.line(1, "%s", s.Name)
	if b := s.Build; b != nil {
		w.build(b)
	}
	if c := s.Container; c != nil {
		w.container(c)
	}
	if r := s.Rollout; r != nil {
		w.line(2, "rollout of %s", r.Image)
		w.field("cluster", r.Cluster)
		w.field("namespace", r.Namespace)
		w.field("deployment", r.Deployment+", containers "+strings.Join(r.Containers, ", "))
	}
	for _, image := range s.Push {
		w.line(2, "push %s", image)
	}
	if s.NotPushed != "" {
		w.line(2, "not pushed: %s", s.NotPushed)
	}
}

func (w *planWriter) build(b *PlanBuild) {
	w.line(2, "build %s", b.Image)
	w.field("context", b.Context)
	w.field("dockerfile", b.Dockerfile)
	w.field("target", b.Target)
	w.field("args", pairs(b.Args))
	w.field("labels", pairs(b.Labels))
	w.field("secrets", strings.Join(b.Secrets, " "))
	w.field("tags", strings.Join(b.Tags, " "))
}

func (w *planWriter) container(c *PlanContainer) {
	w.line(2, "container of %s", c.Image)
	w.field("pull", c.Pull)
	w.field("commands", strings.Join(c.Commands, "\n"))
	w.field("entrypoint", words(c.Entrypoint))
	w.field("command", words(c.Command))
	w.field("directory", c.WorkingDir)
	w.field("mounts", strings.Join(c.Mounts, "\n"))
	w.field("env", pairs(c.Environment))
	w.field("aliases", strings.Join(c.Aliases, " "))
	w.field("links", strings.Join(c.Links, " "))
	w.field("extra_hosts", strings.Join(c.ExtraHosts, " "))
	w.field("dns", strings.Join(c.DNS, " "))
	w.field("ports", strings.Join(c.Ports, " "))
	if c.Privileged {
		w.field("privileged", "yes")
	}
	w.field("devices", strings.Join(c.Devices, " "))
	w.field("limits", limits(c))
	w.field("wait_for", waitFor(c))
	w.field("behaviour", behaviour(c))
	w.field("cache", strings.Join(c.Cache, "\n"))
	w.field("outputs", strings.Join(c.Outputs, "\n"))
	w.field("artifacts", strings.Join(c.Artifacts, "\n"))
	w.field("reports", strings.Join(c.Reports, "\n"))
}

// pairs are values with their names, one a line.
func pairs(values map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		out = append(out, name+"="+oneLine(values[name]))
	}
	return strings.Join(out, "\n")
}

// oneLine writes line breaks as two characters.
func oneLine(text string) string {
	return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(text)
}

func words(list []string) string {
	var out []string
	for _, word := range list {
		if word == "" || strings.ContainsAny(word, " \t\n\"'") {
			word = strconv.Quote(word)
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

func limits(c *PlanContainer) string {
	var out []string
	if c.Memory > 0 {
		out = append(out, "memory "+c.Memory.String())
	}
	if c.CPUs > 0 {
		out = append(out, fmt.Sprintf("%g processors", c.CPUs))
	}
	if c.CPUSet != "" {
		out = append(out, "processors "+c.CPUSet)
	}
	return strings.Join(out, ", ")
}

func waitFor(c *PlanContainer) string {
	v := c.WaitFor
	if v == nil {
		return ""
	}
	var out []string
	if v.HTTP != "" {
		out = append(out, "http "+v.HTTP)
	}
	if v.Port > 0 {
		out = append(out, fmt.Sprintf("port %d", v.Port))
	}
	if v.Timeout > 0 {
		out = append(out, "timeout "+v.Timeout.String())
	}
	return strings.Join(out, ", ")
}

func behaviour(c *PlanContainer) string {
	var out []string
	if c.Timeout > 0 {
		out = append(out, "timeout "+c.Timeout.String())
	}
	if c.Retries > 0 {
		out = append(out, fmt.Sprintf("retries %d", c.Retries))
	}
	if c.AllowFailure {
		out = append(out, "may fail")
	}
	return strings.Join(out, ", ")
}
