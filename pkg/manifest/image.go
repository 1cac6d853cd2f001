package manifest

import (
	"strings"

	"github.com/distribution/reference"

	"cyclone/pkg/cyclone"
)

// misspelt is how the page that introduced BUILT_IMAGE once wrote it.
const misspelt = "BUILT_IAMGE"

// builtRef is a place that uses an image built by the event.
type builtRef struct {
	value
	build string // name of the build, empty for the first
	where string // what uses it
}

// image reads the image of a container.
func (v value) image(where string) string {
	text, final, ok := v.expandableWord()
	if !ok || !final {
		return text
	}
	if built, ok := v.builtImage(text, where); ok {
		return built
	}
	named, err := reference.ParseNormalizedNamed(text)
	switch {
	case err != nil:
		v.errorf("write for instance golang:1.26 or registry.example.com/team/app:1.2",
			"is not the name of an image: %s", quote(v.node.Value))
	case reference.IsNameOnly(named):
		v.warnf("write for instance "+quote(clip(v.node.Value)+":1.2"), "has no tag, so what it means can change from day to day")
	}
	return text
}

// builtImage reads BUILT_IMAGE and BUILT_IMAGE.name, and remembers the place.
func (v value) builtImage(text, where string) (string, bool) {
	word, name, dotted := strings.Cut(text, ".")
	switch {
	case word == misspelt:
		v.warnf("write "+cyclone.BuiltImage, "%s is accepted for %s", misspelt, cyclone.BuiltImage)
		v.rewrite(misspelt, cyclone.BuiltImage)
	case word == cyclone.BuiltImage:
	case strings.EqualFold(word, cyclone.BuiltImage):
		v.errorf("write "+cyclone.BuiltImage, "%s is written in capitals", cyclone.BuiltImage)
		return text, true
	default:
		return "", false
	}
	if !dotted {
		v.p.built = append(v.p.built, builtRef{v, "", where})
		return cyclone.BuiltImage, true
	}
	v.p.built = append(v.p.built, builtRef{v, name, where})
	return cyclone.BuiltImage + "." + name, true
}

// checkBuilt holds the uses of built images against the builds of the file.
func (p *parser) checkBuilt(out *cyclone.Pipeline) {
	var names []string
	if len(out.Deploy) > 0 && len(out.Build) == 0 {
		p.deploy.title().warnf("add a build stage", "there is nothing to deploy: the file builds no image")
	}
	for _, b := range out.Build {
		names = append(names, b.Name)
	}
	for _, ref := range p.built {
		switch {
		case ref.where == string(cyclone.StagePreBuild), ref.where == string(cyclone.StagePostBuild):
			ref.errorf("write ${CYCLONE_IMAGE} in post_build", "%s can be used in integration and deploy only", cyclone.BuiltImage)
		case len(names) == 0 && ref.build == "" && ref.where == string(cyclone.StageDeploy): // said once, at the stage
		case len(names) == 0 && ref.build == "":
			ref.warnf("add a build stage", "%s is used, but the file builds no image", cyclone.BuiltImage)
		case ref.build != "" || strings.HasSuffix(ref.node.Value, "."):
			ref.checkName(names)
		}
	}
}

// checkName reports a build that does not exist.
func (r builtRef) checkName(names []string) {
	for _, n := range names {
		if n == r.build {
			return
		}
	}
	hint := "the file builds: " + strings.Join(names, ", ")
	if near := suggest(r.build, names); near != "" {
		hint = "did you mean " + cyclone.BuiltImage + "." + near + "?"
	}
	if len(names) == 0 {
		hint = "add a build stage"
	}
	r.errorf(hint, "there is no build named %s", quote(r.build))
}

// checkTag holds a tag to what Docker allows.
func checkTag(item value, tag string) {
	named, err := reference.WithName("image")
	if err == nil {
		_, err = reference.WithTag(named, tag)
	}
	if err != nil {
		item.errorf("use letters, digits, _ . and -, at most 128", "is not a tag: %s", quote(item.node.Value))
	}
}

// imageName reads the name of an image that is to be built: no tag.
func (v value) imageName() string {
	text, final, ok := v.expandableWord()
	if !ok || !final {
		return text
	}
	named, err := reference.ParseNormalizedNamed(text)
	switch {
	case err != nil:
		v.errorf("write for instance registry.example.com/team/app", "is not the name of an image: %s", quote(v.node.Value))
	case !reference.IsNameOnly(named):
		v.errorf("remove the tag; further tags go to tags:", "must be a name without a tag: %s", quote(v.node.Value))
	}
	return text
}
