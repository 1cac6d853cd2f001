package worker

import (
	"path"
	"strings"

	"cyclone/pkg/cyclone"
)

// matches reports whether a step's `when` lets it run in this event.
func (r *run) matches(m *cyclone.Match) bool {
	if m == nil {
		return true
	}
	e := r.job.Event
	return globsMatch(m.Branch, e.Branch) && globsMatch(m.Tag, e.Tag) && globsMatch(m.Event, string(e.Trigger.Kind))
}

// globsMatch reports whether a value matches one of the globs, and none of
// those that exclude (!). A list of exclusions alone matches everything else.
func globsMatch(globs []string, value string) bool {
	if len(globs) == 0 {
		return true
	}
	matched, wanted := false, false
	for _, g := range globs {
		if exclude, ok := strings.CutPrefix(g, "!"); ok {
			if globMatch(exclude, value) {
				return false
			}
			continue
		}
		wanted = true
		matched = matched || globMatch(g, value)
	}
	return matched || !wanted
}

// globMatch matches part by part; ** stands for any number of parts.
func globMatch(glob, value string) bool {
	return partsMatch(strings.Split(glob, "/"), strings.Split(value, "/"))
}

func partsMatch(glob, value []string) bool {
	for len(glob) > 0 {
		if glob[0] == "**" {
			for i := 0; i <= len(value); i++ {
				if partsMatch(glob[1:], value[i:]) {
					return true
				}
			}
			return false
		}
		if len(value) == 0 {
			return false
		}
		if ok, err := path.Match(glob[0], value[0]); err != nil || !ok {
			return false
		}
		glob, value = glob[1:], value[1:]
	}
	return len(value) == 0
}

// isGlob reports whether a path has wildcards.
func isGlob(p string) bool { return strings.ContainsAny(p, "*?[") }
