package manifest

import (
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// role is what a step is for; not every key makes sense in every role.
type role int

const (
	rolePreBuild role = 1 << iota
	roleIntegration
	roleService
	rolePostBuild

	roleStage = rolePreBuild | roleIntegration | rolePostBuild
	roleAll   = roleStage | roleService
)

// roleNames is in the order of the bits.
var roleNames = []string{"pre_build", "integration", "a service", "post_build"}

// names lists the roles of a set.
func (r role) names() string {
	var out []string
	for i, name := range roleNames {
		if r&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

// stepKey says where a key of a step is allowed and how it is read.
type stepKey struct {
	roles role
	read  func(v value, s *cyclone.Step)
}

// stepKeys are all keys of a step. Those with a nil read are read where they
// belong, for more than one value is needed to understand them.
var stepKeys = map[string]stepKey{
	"image":    {roleAll, nil},
	"commands": {roleAll, func(v value, s *cyclone.Step) { s.Commands = v.commands() }},
	"environment": {roleAll, func(v value, s *cyclone.Step) {
		s.Environment = v.environment()
	}},
	"volumes":       {roleAll, func(v value, s *cyclone.Step) { s.Volumes = v.volumes() }},
	"links":         {roleIntegration | roleService, func(v value, s *cyclone.Step) { s.Links = v.links() }},
	"entrypoint":    {roleAll, func(v value, s *cyclone.Step) { s.Entrypoint = v.arguments() }},
	"command":       {roleAll, func(v value, s *cyclone.Step) { s.Command = v.arguments() }},
	"ports":         {roleAll, func(v value, s *cyclone.Step) { s.Ports = v.words(port) }},
	"extra_hosts":   {roleAll, func(v value, s *cyclone.Step) { s.ExtraHosts = v.words(extraHost) }},
	"dns":           {roleAll, func(v value, s *cyclone.Step) { s.DNS = v.words(address) }},
	"privileged":    {roleAll, func(v value, s *cyclone.Step) { s.Privileged = v.boolean() }},
	"devices":       {roleAll, func(v value, s *cyclone.Step) { s.Devices = v.words(device) }},
	"mem_limit":     {roleAll, func(v value, s *cyclone.Step) { s.Memory = v.size() }},
	"cpus":          {roleAll, func(v value, s *cyclone.Step) { s.CPUs = v.number() }},
	"cpuset":        {roleAll, func(v value, s *cyclone.Step) { s.CPUSet = v.cpuset() }},
	"pull":          {roleAll, func(v value, s *cyclone.Step) { s.Pull = v.pullPolicy() }},
	"auth_config":   {roleAll, func(v value, s *cyclone.Step) { s.Auth = v.auth() }},
	"secrets":       {roleAll, nil},
	"timeout":       {roleStage, func(v value, s *cyclone.Step) { s.Timeout = v.duration() }},
	"retries":       {roleStage, func(v value, s *cyclone.Step) { s.Retries = v.integer(0, maxRetries) }},
	"allow_failure": {roleStage, func(v value, s *cyclone.Step) { s.AllowFailure = v.boolean() }},
	"when":          {roleStage, func(v value, s *cyclone.Step) { s.When = v.match() }},

	"cache":     {roleStage, func(v value, s *cyclone.Step) { s.Cache = v.cache() }},
	"artifacts": {roleStage, func(v value, s *cyclone.Step) { s.Artifacts = v.words(kept) }},
	"reports":   {roleStage, func(v value, s *cyclone.Step) { s.Reports = v.reports() }},

	"context_dir":     {rolePreBuild, nil},
	"dockerfile_name": {rolePreBuild, nil},
	"outputs":         {rolePreBuild, func(v value, s *cyclone.Step) { s.Outputs = v.words(output) }},
	"services":        {roleIntegration, nil},
	"wait_for":        {roleService, func(v value, s *cyclone.Step) { s.WaitFor = v.waitFor() }},
}

// maxRetries is the most times a step may be run again.
const maxRetries = 5

// keysOf lists the keys of a role.
func keysOf(r role) []string {
	var out []string
	for name, k := range stepKeys {
		if k.roles&r != 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// steps reads a stage that holds one step or a map of name -> step.
func (p *parser) steps(v value, r role) []cyclone.Step {
	known := func(key string) bool { _, ok := stepKeys[key]; return ok || key == misspeltEnvironment }
	var out []cyclone.Step
	for _, part := range v.parts(known, keysOf(r)) {
		if s, ok := p.step(part, part.name, r); ok {
			out = append(out, s)
		}
	}
	return out
}

// parts splits a stage into its named parts in file order. A stage that is
// one part itself comes back alone, under the stage's name.
func (v value) parts(known func(key string) bool, keys []string) []value {
	b, ok := v.block("the keys of a step, or names of steps")
	if !ok {
		return nil
	}
	var names, own []value
	for _, k := range b.keys {
		if !known(k.name) && k.node.Kind == yaml.MappingNode {
			names = append(names, k)
		} else {
			own = append(own, k)
		}
	}
	if len(own) > 0 || len(names) == 0 {
		return []value{v}
	}
	for _, n := range names {
		n.checkName(keys)
	}
	return names
}

var partName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

// checkName holds the name of a step, build or service to what a host name
// and a log line can carry, and asks whether a key was meant.
func (v value) checkName(keys []string) {
	if !partName.MatchString(v.name) {
		v.title().errorf("use letters, digits, _ . and -, at most 63, beginning with a letter or digit",
			"%s cannot be a name", quote(v.name))
		return
	}
	if near := spelt(v.name, keys); near != "" {
		v.title().errorf(`write "`+near+`", or choose another name`, "%s looks like the key %s", quote(v.name), near)
	}
}

// step reads one step.
func (p *parser) step(v value, name string, r role) (cyclone.Step, bool) {
	s := cyclone.Step{Name: name, Line: v.title().node.Line}
	b, ok := v.block("the keys of a step")
	if !ok {
		return s, false
	}
	b = b.renamed()
	p.secrets, p.role = nil, r
	if secrets, ok := b.find("secrets"); ok {
		p.secrets = secrets.secretNames(true)
		s.Secrets = p.secrets
	}
	for _, k := range b.keys {
		k.readInto(&s, r)
	}
	if image, ok := b.find("image"); ok {
		s.Image = image.image(strings.TrimPrefix(r.names(), "a "))
	}
	if b.has("context_dir") || b.has("dockerfile_name") {
		s.ContextDir, s.Dockerfile = b.dockerfile()
	}
	b.checkStep(r)
	b.checkCache(&s)
	return s, true
}

// readInto reads one key of a step.
func (v value) readInto(s *cyclone.Step, r role) {
	k, known := stepKeys[v.name]
	switch {
	case !known && v.isName(r.names(), keysOf(r)):
		v.mixed()
	case !known:
		v.unknown(r.names(), keysOf(r))
	case k.roles&r == 0:
		v.title().errorf("it is a key of "+k.roles.names(), "is not a key of %s", r.names())
	case k.read != nil:
		k.read(v, s)
	}
}

// isName reports whether what is no key is the name of a part: a mapping that
// no key could have been meant by.
func (v value) isName(where string, known []string) bool {
	if v.node.Kind != yaml.MappingNode || slices.Contains(stageNames, v.name) || suggest(v.name, known) != "" {
		return false
	}
	return v.holdsKeys() || outside(v.name, where) == "" && home(v.name, where) == ""
}

// holdsKeys reports whether a mapping has keys of a step or a build.
func (v value) holdsKeys() bool {
	return slices.ContainsFunc(v.entries(), func(e value) bool {
		return rolesOf(e.name) != 0 || buildPlace.has(e.name) || synonyms[e.name] != ""
	})
}

// mixed reports a name that stands among keys.
func (v value) mixed() {
	v.title().errorf("either name everything in the stage, or nothing", "names and keys may not be mixed")
}

// misspeltEnvironment is how the page that introduced services wrote it.
const misspeltEnvironment = "enviroment"

// renamed is the block with enviroment taken for environment.
func (b block) renamed() block {
	keys := slices.Clone(b.keys)
	for i, k := range keys {
		if k.name != misspeltEnvironment {
			continue
		}
		if b.has("environment") {
			k.title().errorf("keep environment", "stands beside environment")
			continue
		}
		k.title().warnf("write environment", "enviroment is accepted for environment")
		k.title().rewrite(misspeltEnvironment, "environment")
		keys[i].name = "environment"
	}
	b.keys = keys
	return b
}

// checkStep checks what concerns several keys of a step.
func (b block) checkStep(r role) {
	dockerfile := b.has("context_dir") || b.has("dockerfile_name")
	switch {
	case b.has("image") && dockerfile && r == rolePreBuild:
		b.title().errorf("keep image, or context_dir and dockerfile_name", "has both an image and a Dockerfile")
	case b.meant("image"):
	case !b.has("image") && r == rolePreBuild && !dockerfile:
		b.missing("image", "write for instance image: golang:1.26, or name a Dockerfile with dockerfile_name")
	case !b.has("image") && (r == rolePostBuild || r == roleService):
		b.missing("image", "write for instance image: golang:1.26")
	}
	for _, key := range []string{"entrypoint", "command"} {
		if v, ok := b.find(key); ok && b.has("commands") {
			v.title().errorf("keep commands or "+key, "cannot stand beside commands, which say already what is run")
		}
	}
	runs := b.has("commands") || b.has("command") || b.has("entrypoint")
	if !runs && !b.meant("commands") && !dockerfile && r != roleService && len(b.keys) > 0 && (b.has("image") || r == roleIntegration) {
		b.title().warnf("add commands", "has no commands, so the image's own command is run")
	}
}
