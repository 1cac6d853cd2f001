package manifest

import (
	"strings"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// kubernetesType is the one type of target.
const kubernetesType = "kubernetes"

// targetKeys are the keys of a target. Those with nil are read elsewhere.
var targetKeys = map[string]func(v value, t *cyclone.Target){
	"secrets":    nil,
	"type":       func(v value, t *cyclone.Target) { t.Type = v.targetType() },
	"host":       func(v value, t *cyclone.Target) { t.Host = v.host() },
	"token":      func(v value, t *cyclone.Target) { t.Token = v.token() },
	"ca":         func(v value, t *cyclone.Target) { t.CA, _, _ = v.expandableWord() },
	"insecure":   func(v value, t *cyclone.Target) { t.Insecure = v.boolean() },
	"cluster":    func(v value, t *cyclone.Target) { t.Cluster = v.kubernetesName() },
	"namespace":  func(v value, t *cyclone.Target) { t.Namespace = v.kubernetesName() },
	"deployment": func(v value, t *cyclone.Target) { t.Deployment = v.kubernetesName() },
	"containers": func(v value, t *cyclone.Target) { t.Containers = v.containers() },
	"image":      func(v value, t *cyclone.Target) { t.Image = v.targetImage() },
	"manifest":   func(v value, t *cyclone.Target) { t.Manifest = v.inside(".") },
	"timeout":    func(v value, t *cyclone.Target) { t.Timeout = v.duration() },
	"rollback":   func(v value, t *cyclone.Target) { t.NoRollback = !v.booleanOr(true) },
}

// targets reads the deploy stage.
func (p *parser) targets(v value) []cyclone.Target {
	if v.null() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		v.errorf(`begin each target with "- "`, "must be a list of targets, not %s", describe(v.node))
		return nil
	}
	var out []cyclone.Target
	for _, item := range v.items() {
		if t, ok := p.target(item); ok {
			out = append(out, t)
		}
	}
	return out
}

// target reads one target.
func (p *parser) target(v value) (cyclone.Target, bool) {
	out := cyclone.Target{
		Image: cyclone.BuiltImage, Timeout: cyclone.Duration(cyclone.DefaultRolloutTimeout), Line: v.node.Line,
	}
	b, ok := v.block("cluster, namespace, deployment and containers")
	if !ok {
		return out, false
	}
	p.secrets = nil
	if secrets, ok := b.find("secrets"); ok {
		p.secrets = secrets.secretNames(true)
		out.Secrets = p.secrets
	}
	readKeys(b, inTarget, targetKeys, &out)
	b.checkTarget(&out)
	return out, true
}

// checkTarget checks what concerns several keys of a target.
func (b block) checkTarget(t *cyclone.Target) {
	for _, key := range []string{"namespace", "deployment", "containers"} {
		if !b.has(key) && !b.meant(key) {
			b.missing(key, "every target needs namespace, deployment and containers")
		}
	}
	if b.has("type") {
		for _, key := range []string{"host", "token"} {
			if !b.has(key) && !b.meant(key) {
				b.missing(key, "type: kubernetes needs host and token; without type, cluster names a registered cluster")
			}
		}
		return
	}
	for _, key := range []string{"host", "token", "ca", "insecure"} {
		if v, ok := b.find(key); ok {
			v.title().errorf("add type: kubernetes", "needs type: kubernetes; the credentials of a registered cluster are kept by Cyclone")
		}
	}
	cluster, ok := b.find("cluster")
	switch {
	case !ok && b.meant("cluster"):
	case !ok:
		b.missing("cluster", "name a registered cluster, or give type: kubernetes with host and token")
	case t.Cluster != "" && !strings.Contains(t.Cluster, "${") && !cyclone.ValidName(t.Cluster):
		cluster.errorf("names are lower case letters, digits, _ . and -", "cannot be the name of a registered cluster: %s", quote(t.Cluster))
	}
}

// targetType reads type.
func (v value) targetType() string {
	text, ok := v.word()
	if ok && text != kubernetesType {
		v.errorf("write kubernetes, or leave type out for a registered cluster", "is not a type of target: %s", quote(text))
	}
	return text
}

// host reads the address of an API server.
func (v value) host() string {
	text, final, ok := v.expandableWord()
	switch {
	case !ok || !final:
	case strings.HasPrefix(text, "<"):
		v.warnf("write for instance https://203.0.113.10:6443", "looks like a placeholder")
	case strings.HasPrefix(text, "http://"):
		v.warnf("write https://", "sends the token over an unencrypted connection")
	case strings.ContainsAny(text, " \t\r\n@"):
		v.errorf("write for instance https://203.0.113.10:6443", "is not the address of an API server")
	}
	return text
}

// token reads the token for an API server.
func (v value) token() string {
	text, _, _ := v.expandableWord()
	v.clearText("a token")
	return text
}

// kubernetesName reads the name of something in a cluster. Kubernetes judges
// names itself; what could change the request is refused here.
func (v value) kubernetesName() string {
	text, _, ok := v.expandableWord()
	if ok {
		checkKubernetesName(v, text)
	}
	return text
}

// checkKubernetesName refuses what cannot be part of a request's path.
func checkKubernetesName(v value, text string) {
	if strings.ContainsAny(text, "/\\?#% \t\r\n") || text == "." || text == ".." {
		v.errorf("", "is not a name: %s", quote(v.node.Value))
	}
}

// containers reads the containers to update.
func (v value) containers() []string {
	seen := map[string]bool{}
	return v.expandables(func(item value, text string) {
		checkKubernetesName(item, text)
		if seen[text] {
			item.errorf("remove one of them", "is given more than once: %s", quote(text))
		}
		seen[text] = true
	})
}

// targetImage reads which of the built images goes out.
func (v value) targetImage() string {
	text, final, ok := v.expandableWord()
	if !ok || !final {
		return text
	}
	built, ok := v.builtImage(text, "deploy")
	if !ok {
		v.errorf("write BUILT_IMAGE or BUILT_IMAGE.name", "must be an image that this file builds, not %s", quote(v.node.Value))
	}
	return built
}
