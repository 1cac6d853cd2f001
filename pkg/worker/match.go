package worker

import (
	"path"
	"slices"
	"strings"
)

// globsMatch reports whether one of the values matches one of the globs, and
// none of them one that excludes (!). A list of exclusions alone matches
// everything else.
func globsMatch(globs []string, values ...string) bool {
	if len(globs) == 0 {
		return true
	}
	matched, wanted := false, false
	for _, g := range globs {
		exclude, excludes := strings.CutPrefix(g, "!")
		hit := slices.ContainsFunc(values, func(v string) bool { return globMatch(exclude, v) })
		if excludes && hit {
			return false
		}
		wanted = wanted || !excludes
		matched = matched || hit
	}
	return matched || !wanted
}

// globMatch matches part by part; ** stands for any number of parts.
func globMatch(glob, value string) bool {
	return partsMatch(strings.Split(glob, "/"), strings.Split(value, "/"))
}

// partsMatch goes back to the last ** alone: if a later one could not take
// more, no earlier one can.
func partsMatch(glob, value []string) bool {
	star, from := -1, 0
	g, v := 0, 0
	for v < len(value) {
		switch {
		case g < len(glob) && glob[g] == "**":
			star, from = g, v
			g++
		case g < len(glob) && partMatch(glob[g], value[v]):
			g, v = g+1, v+1
		case star >= 0:
			from++
			g, v = star+1, from
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == "**" {
		g++
	}
	return g == len(glob)
}

func partMatch(glob, value string) bool {
	ok, err := path.Match(glob, value)
	return err == nil && ok
}

// isGlob reports whether a path has wildcards.
func isGlob(p string) bool { return strings.ContainsAny(p, "*?[") }
