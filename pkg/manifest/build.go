package manifest

import (
	"strings"

	"cyclone/pkg/cyclone"
)

// buildKeys are the keys of a build. Those with nil are read together.
var buildKeys = map[string]func(v value, b *cyclone.Build){
	"context_dir":     nil,
	"dockerfile_name": nil,
	"secrets":         nil,
	"image_name":      func(v value, b *cyclone.Build) { b.ImageName = v.imageName() },
	"build_args":      func(v value, b *cyclone.Build) { b.Args = v.publicPairs() },
	"target":          func(v value, b *cyclone.Build) { b.Target, _, _ = v.expandableWord() },
	"labels":          func(v value, b *cyclone.Build) { b.Labels = v.publicPairs() },
	"tags":            func(v value, b *cyclone.Build) { b.Tags = v.expandables(checkTag) },
	"push":            func(v value, b *cyclone.Build) { b.NoPush = !v.booleanOr(true) },
	"pull":            func(v value, b *cyclone.Build) { b.Pull = v.pullPolicy() },
	"auth_config":     func(v value, b *cyclone.Build) { b.Auth = v.auth() },
	"timeout":         func(v value, b *cyclone.Build) { b.Timeout = v.duration() },
	"retries":         func(v value, b *cyclone.Build) { b.Retries = v.integer(0, maxRetries) },
}

// builds reads the build stage: one build or a map of name -> build.
func (p *parser) builds(v value) []cyclone.Build {
	if isNull(v.node) {
		v.nothingToBuild()
		return nil
	}
	known := func(key string) bool {
		_, own := buildKeys[key]
		_, step := stepKeys[key]
		return own || step
	}
	var out []cyclone.Build
	for _, part := range v.parts(known, keysOfTable(buildKeys)) {
		if b, ok := p.build(part); ok {
			out = append(out, b)
		}
	}
	return out
}

// build reads one build. It reports false for one that names nothing to
// build from, which is left out with a warning.
func (p *parser) build(v value) (cyclone.Build, bool) {
	out := cyclone.Build{Name: v.name, Line: v.title().node.Line}
	b, ok := v.block("context_dir or dockerfile_name")
	if !ok {
		return out, false
	}
	p.secrets, p.role = nil, 0
	if secrets, ok := b.find("secrets"); ok {
		p.secrets = secrets.secretNames(false)
		out.Secrets = p.secrets
	}
	for _, k := range b.keys {
		k.readBuildKey(&out)
	}
	out.ContextDir, out.Dockerfile = b.dockerfile()
	if !b.has("context_dir") && !b.has("dockerfile_name") {
		if b.meant("context_dir") || b.meant("dockerfile_name") {
			return out, false
		}
		v.nothingToBuild()
		return out, false
	}
	return out, true
}

// readBuildKey reads one key of a build.
func (v value) readBuildKey(b *cyclone.Build) {
	read, known := buildKeys[v.name]
	switch {
	case !known && v.isName(inBuild, keysOfTable(buildKeys)):
		v.mixed()
	case !known:
		v.unknown(inBuild, keysOfTable(buildKeys))
	case read != nil:
		read(v, b)
	}
}

// nothingToBuild warns of a build that is not enabled.
func (v value) nothingToBuild() {
	v.title().warnf("give at least one of context_dir and dockerfile_name",
		"has neither context_dir nor dockerfile_name, so nothing is built")
}

// booleanOr is boolean with what to take for a value that is wrong.
func (v value) booleanOr(other bool) bool {
	before := len(v.p.problems)
	b := v.boolean()
	if len(v.p.problems) > before {
		return other
	}
	return b
}

// publicPairs reads build_args or labels: what environment reads, as a map.
// Both stay readable in the image.
func (v value) publicPairs() map[string]string {
	out := map[string]string{}
	for _, one := range v.environment() {
		out[one.Name] = one.Value
		for variable := range v.p.secrets {
			if v.p.values == nil && strings.Contains(one.Value, "${"+variable+"}") {
				v.title().warnf("use RUN --mount=type=secret,id="+clip(variable),
					"the secret %s can be read by everybody who has the image", clip(variable))
			}
		}
	}
	return out
}
