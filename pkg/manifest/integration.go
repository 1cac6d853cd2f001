package manifest

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// integration reads the integration stage.
func (p *parser) integration(v value) *cyclone.Integration {
	step, ok := p.step(v, string(cyclone.StageIntegration), roleIntegration)
	if !ok {
		return nil
	}
	b, _ := v.block("the keys of a step")
	out := &cyclone.Integration{Step: step}
	if services, ok := b.find("services"); ok {
		out.Services = p.services(services)
	}
	if !b.has("image") {
		// Without an image of its own the stage runs in the built one.
		out.Image = cyclone.BuiltImage
		title := v.title()
		title.path = join(v.path, "image")
		p.built = append(p.built, builtRef{title, "", "integration"})
	}
	p.checkLinks(b, out)
	return out
}

// services reads the services in file order.
func (p *parser) services(v value) []cyclone.Step {
	b, ok := v.block("names of services")
	if !ok {
		return nil
	}
	var out []cyclone.Step
	for _, k := range b.keys {
		k.checkName(nil)
		if s, ok := p.step(k, serviceName(k.name), roleService); ok {
			out = append(out, s)
		}
	}
	return out
}

// serviceName is the name of a service's step.
func serviceName(key string) string { return string(cyclone.StageIntegration) + "/" + key }

// links reads a list of service or service:alias. Whether the services exist
// is checked once all are known.
func (v value) links() []cyclone.Link {
	var out []cyclone.Link
	for _, text := range v.words(link) {
		service, alias, both := strings.Cut(text, ":")
		if !both {
			alias = service
		}
		out = append(out, cyclone.Link{Service: service, Alias: alias})
	}
	return out
}

// link checks the form of one link.
func link(item value, text string) {
	service, alias, both := strings.Cut(text, ":")
	if service == "" || both && !partName.MatchString(alias) {
		item.errorf(`write "service" or "service:alias"`, "is not a link: %s", quote(text))
	}
}

// checkLinks holds every link against the services that there are.
func (p *parser) checkLinks(b block, out *cyclone.Integration) {
	var names []string
	var blocks []block
	if services, ok := b.find("services"); ok && services.node.Kind == yaml.MappingNode {
		for _, s := range services.entries() {
			if strings.HasPrefix(s.name, "x-") {
				continue
			}
			names = append(names, s.name)
			if s.node.Kind == yaml.MappingNode {
				blocks = append(blocks, block{value: s, keys: s.entries()})
			}
		}
	}
	b.checkLinks(names)
	for _, service := range blocks {
		service.checkLinks(names)
	}
}

// checkLinks reports links of one container to services that do not exist.
func (b block) checkLinks(names []string) {
	v, ok := b.find("links")
	if !ok {
		return
	}
	v.eachWord(func(item value, text string) {
		service, _, _ := strings.Cut(text, ":")
		if service == "" || slices.Contains(names, service) {
			return
		}
		hint := "the services are: " + strings.Join(names, ", ")
		if near := suggest(service, names); near != "" {
			hint = `did you mean "` + near + `"?`
		}
		if len(names) == 0 {
			hint = "add it below services"
		}
		item.errorf(hint, "there is no service named %s", quote(service))
	})
}

// waitKeys are the keys of wait_for.
var waitKeys = map[string]func(v value, w *cyclone.WaitFor){
	"port":    func(v value, w *cyclone.WaitFor) { w.Port = v.integer(1, 65535) },
	"http":    func(v value, w *cyclone.WaitFor) { w.HTTP = v.httpPath() },
	"timeout": func(v value, w *cyclone.WaitFor) { w.Timeout = v.duration() },
}

// waitFor reads when a service counts as ready.
func (v value) waitFor() *cyclone.WaitFor {
	b, ok := v.block("port, http or timeout")
	if !ok {
		return nil
	}
	out := &cyclone.WaitFor{}
	readKeys(b, "wait_for", waitKeys, out)
	if b.has("http") && !b.has("port") {
		b.missing("port", "http needs the port to ask at")
	}
	return out
}

// httpPath reads the path that a service is asked for.
func (v value) httpPath() string {
	text, ok := v.word()
	if ok && (!strings.HasPrefix(text, "/") || strings.ContainsAny(text, " \t\r\n")) {
		v.errorf("write for instance http: /healthz and the port beside it", "must be a path that begins with /, not %s", quote(text))
	}
	return text
}
