package manifest

import (
	"path"
	"strings"
	"unicode"

	"cyclone/pkg/cyclone"
)

// leaves reports whether a relative path leads out of the folder it is
// relative to. Symbolic links are for whoever follows them to look at.
func leaves(p string) bool {
	p = path.Clean(p)
	return p == ".." || strings.HasPrefix(p, "../")
}

// oneLine reports whether a path can be shown in a line: no path that was
// meant has a line end or another control character in it.
func oneLine(p string) bool { return !strings.ContainsFunc(p, unicode.IsControl) }

// unprintable reports a path that has a control character in it.
func (v value) unprintable(text string) {
	v.errorf("write one path on one line", "has a line end or another control character in it: %s", quote(text))
}

// inside reads a relative path that stays in the repository, counted from
// base, a path of the repository. References that are still in it count as
// the name of one folder: the path is checked again once they are replaced,
// and one that never is must not lead anywhere either.
func (v value) inside(base string) string {
	text, _, ok := v.expandableWord()
	if !ok {
		return text
	}
	switch {
	case !oneLine(text):
		v.unprintable(v.node.Value)
	case path.IsAbs(text):
		v.errorf("write a path relative to the root of the repository", "must be a relative path, not %s", quote(v.node.Value))
	case strings.Contains(text, `\`):
		v.errorf("write / between folders", "has a backslash in it: %s", quote(v.node.Value))
	case leaves(path.Join(base, text)):
		v.errorf("use a path below the root of the repository", "leaves the repository: %s", quote(v.node.Value))
	}
	return path.Clean(text)
}

// dockerfile reads context_dir and dockerfile_name with their defaults.
func (b block) dockerfile() (contextDir, name string) {
	contextDir, name = ".", "Dockerfile"
	if v, ok := b.find("context_dir"); ok {
		contextDir = v.inside(".")
	}
	if v, ok := b.find("dockerfile_name"); ok {
		base := contextDir
		if leaves(base) { // reported already
			base = "."
		}
		name = v.inside(base)
	}
	return contextDir, name
}

// volumes reads a list of src:dst[:ro].
func (v value) volumes() []cyclone.Volume {
	var out []cyclone.Volume
	targets, root := map[string]bool{}, false
	for _, item := range v.items() {
		vol, ok := item.volume()
		if !ok {
			continue
		}
		if targets[vol.Target] {
			item.errorf("mount one of them elsewhere", "%s already has a volume", quote(vol.Target))
		}
		if vol.Source == "." && root {
			item.errorf("mount the source once; dst is the working directory", "the source tree is mounted twice")
		}
		targets[vol.Target], root = true, root || vol.Source == "."
		out = append(out, vol)
	}
	return out
}

// volume reads one src:dst[:ro].
func (v value) volume() (cyclone.Volume, bool) {
	const form = `write for instance ".:/src", "./data:/data" or "./data:/data:ro"`
	text, ok := v.word()
	if !ok {
		return cyclone.Volume{}, false
	}
	parts := strings.Split(text, ":")
	if !oneLine(text) {
		v.unprintable(text)
		return cyclone.Volume{}, false
	}
	if len(parts) < 2 || len(parts) > 3 {
		v.errorf(form, "must be src:dst or src:dst:ro, not %s", quote(text))
		return cyclone.Volume{}, false
	}
	vol := cyclone.Volume{Source: parts[0], Target: path.Clean(parts[1]), ReadOnly: len(parts) == 3}
	switch {
	case vol.ReadOnly && parts[2] != "ro":
		v.errorf(`write ":ro", or nothing for a writable volume`, "has the unknown mode %s", quote(parts[2]))
	case !path.IsAbs(parts[1]) || vol.Target == "/":
		v.errorf(form, "must be mounted at an absolute path below /, not at %s", quote(parts[1]))
	default:
		vol.Source, ok = v.volumeSource(parts[0])
		return vol, ok
	}
	return vol, false
}

// volumeSource checks what is mounted: the source tree or a path in it, or
// an absolute path, which Trusted lists.
func (v value) volumeSource(source string) (string, bool) {
	clean := path.Clean(source)
	switch {
	case path.IsAbs(source) || source == "." || source == "./":
		return clean, true
	case source != ".." && !strings.HasPrefix(source, "./") && !strings.HasPrefix(source, "../"):
		v.errorf(`write "." for the source tree, "./path" for a path in it, or an absolute path in a trusted project`,
			"named volumes are not supported: %s", quote(source))
	case leaves(clean):
		v.errorf("use a path below the root of the repository", "leaves the repository: %s", quote(source))
	default:
		if clean != "." {
			clean = "./" + clean
		}
		return clean, true
	}
	return "", false
}

// output checks one entry of outputs: a path, a glob, or from:to.
func output(item value, text string) {
	from, to, both := strings.Cut(text, ":")
	pattern := path.Clean(from)
	switch {
	case !oneLine(text):
		item.unprintable(text)
	case from == "" || both && to == "" || strings.Contains(to, ":"):
		item.errorf(`write "path", "glob" or "from:to"`, "is not an output: %s", quote(text))
	case pattern == "/":
		item.errorf("name a folder", "would copy the whole container")
	case leaves(from):
		item.errorf("write an absolute path for files outside the working directory", "leaves the source tree: %s", quote(from))
	case both && (path.IsAbs(to) || leaves(to)):
		item.errorf("write a path relative to the root of the source tree", "would land outside the source tree: %s", quote(to))
	case both && strings.ContainsAny(to, "*?["):
		item.errorf("write a folder", "lands at a pattern: %s", quote(to))
	default:
		glob(item, pattern)
	}
}
