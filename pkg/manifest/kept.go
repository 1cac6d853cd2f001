package manifest

import (
	"path"
	"strings"

	"cyclone/pkg/cyclone"
)

// workspace is the working directory of a step whose volumes name no other.
const workspace = "/workspace"

// cache reads paths that are kept between events.
func (v value) cache() []string {
	return v.words(cachePath)
}

// cachePath checks one path of cache on its own.
func cachePath(item value, text string) {
	if message, hint := cacheFault(text); message != "" {
		item.errorf(hint, "%s: %s", message, quote(text))
	}
}

// cacheFault says what is wrong with a path of cache on its own; "" for
// nothing.
func cacheFault(text string) (message, hint string) {
	clean := path.Clean(text)
	switch {
	case !oneLine(text):
		return "has a line end or another control character in it", "write one path an item"
	case strings.ContainsAny(text, "*?["):
		return "cannot be a pattern", "name the folder itself"
	case text[0] == '~':
		return "begins with ~, which stands for nothing here", "write the path of the home folder, for instance /root" + clip(text[1:])
	case strings.Contains(text, "$"):
		return "has a variable in it; they are not replaced in cache", "write the path itself"
	case strings.Contains(text, `\`):
		return "has a backslash in it", "write / between folders"
	case clean == "/":
		return "would keep the whole container", "name a folder"
	case clean == ".":
		return "would keep the whole working directory", "name a folder in it"
	case leaves(text):
		return "leaves the working directory", "write an absolute path for folders outside of it"
	case underSystem(clean):
		return "belongs to the system and holds no files", "name another folder"
	}
	return "", ""
}

// underSystem tells paths that the engine fills by itself.
func underSystem(clean string) bool {
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if clean == dir || strings.HasPrefix(clean, dir+"/") {
			return true
		}
	}
	return false
}

// checkCache holds the paths of cache against one another and against the
// volumes, as the container will see them.
func (b block) checkCache(s *cyclone.Step) {
	list, ok := b.find("cache")
	if !ok || len(s.Cache) == 0 {
		return
	}
	dir, mounted := workspace, map[string]bool{}
	for _, v := range s.Volumes {
		mounted[v.Target] = true
		if v.Source == "." {
			dir = v.Target
		}
	}
	var before []string
	list.eachWord(func(item value, text string) {
		if message, _ := cacheFault(text); message != "" {
			return
		}
		here := path.Clean(text)
		if !path.IsAbs(here) {
			here = path.Join(dir, here)
		}
		switch {
		case here == dir && path.IsAbs(text):
			item.errorf("name a folder in it", "would keep the whole working directory: %s", quote(text))
		case mounted[here] && here != dir:
			item.errorf("keep the volume or the cache", "%s already has a volume", quote(here))
		}
		item.checkNested(here, before)
		before = append(before, here)
	})
}

// checkNested refuses a cache path that is one before it, or one in the other.
func (v value) checkNested(here string, before []string) {
	for _, other := range before {
		switch {
		case here == other:
			v.errorf("remove one of them", "is given more than once: %s", quote(here))
			return
		case strings.HasPrefix(here, other+"/"):
			v.errorf("keep the outer one", "lies in %s, which is kept already", quote(other))
			return
		case strings.HasPrefix(other, here+"/"):
			v.errorf("keep the outer one", "holds %s, which is kept already", quote(other))
			return
		}
	}
}

// kept checks a pattern of files that go to the event.
func kept(item value, text string) {
	switch {
	case !oneLine(text):
		item.unprintable(text)
	case text[0] == '!':
		item.errorf("list what is wanted", "only `when` excludes with !: %s", quote(text))
	case path.Clean(text) == "/":
		item.errorf("name a folder", "would keep the whole container")
	case leaves(text):
		item.errorf("write an absolute path for files outside of it", "leaves the working directory: %s", quote(text))
	default:
		glob(item, text)
	}
}

// reportKeys are the keys of reports.
var reportKeys = map[string]func(v value, r *cyclone.Reports){
	"junit": func(v value, r *cyclone.Reports) { r.JUnit = v.words(kept) },
}

// reports reads where a step leaves what its tests found.
func (v value) reports() *cyclone.Reports {
	b, ok := v.block("junit")
	if !ok {
		return nil
	}
	out := &cyclone.Reports{}
	readKeys(b, "reports", reportKeys, out)
	if len(b.keys) == 0 {
		v.title().errorf("write for instance junit: reports/*.xml", "names no files")
	}
	return out
}
