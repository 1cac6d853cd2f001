package manifest

import (
	"slices"
	"strings"
	"unicode"
)

// synonyms are words that other tools use for a key of ours of the same form.
var synonyms = map[string]string{
	"args":             "build_args",
	"auth":             "auth_config",
	"registry_auth":    "auth_config",
	"cmd":              "command",
	"context":          "context_dir",
	"cpu":              "cpus",
	"cpu_count":        "cpus",
	"cpuset_cpus":      "cpuset",
	"deployments":      "deploy",
	"dockerfile":       "dockerfile_name",
	"dockerfile_path":  "dockerfile_name",
	"env":              "environment",
	"envs":             "environment",
	"mem":              "mem_limit",
	"memory":           "mem_limit",
	"memory_limit":     "mem_limit",
	"prepare":          "pre_build",
	"before_build":     "pre_build",
	"after_build":      "post_build",
	"deployment":       "deploy",
	"test":             "integration",
	"tests":            "integration",
	"integration_test": "integration",
	"pull_policy":      "pull",
	"retry":            "retries",
	"run":              "commands",
	"script":           "commands",
	"scripts":          "commands",
	"steps":            "commands",
	"continue_on_fail": "allow_failure",
	"max_time":         "timeout",
}

// suggest returns the known word that was probably meant, or "".
func suggest(word string, known []string) string {
	if same := spelt(word, known); same != "" {
		return same
	}
	if other := synonym(word, known); other != "" {
		return other
	}
	if near := nearest(word, known); len(near) > 0 {
		return near[0]
	}
	return ""
}

// synonym is the known word that other tools have this word for; "" for none.
func synonym(word string, known []string) string {
	if k := synonyms[strings.ToLower(word)]; slices.Contains(known, k) {
		return k
	}
	return ""
}

// spelt is the known word that differs from a word in nothing but capitals
// and what joins its parts; "" for none.
func spelt(word string, known []string) string {
	plain := squash(word)
	for _, k := range known {
		if squash(k) == plain {
			return k
		}
	}
	return ""
}

// nearest lists the known words that are as near to a word as any, provided
// that they are near enough to have been meant.
func nearest(word string, known []string) []string {
	plain := squash(word)
	var out []string
	least := max(1, min(len(plain)/3, 3))
	for _, k := range known {
		d := distance(plain, squash(k), least+1)
		if d > least {
			continue
		}
		if d < least {
			out, least = nil, d
		}
		out = append(out, k)
	}
	return slices.Compact(out)
}

// squash makes pre-build, preBuild and pre_build the same.
func squash(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' || r == '.' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// longest is how many bytes a word may have whose distance is counted.
const longest = 64

// distance counts the letters to insert, drop, change or swap with their
// neighbour to make a into b. Past limit it may return any larger number.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(b) >= longest {
		return limit
	}
	var rows [3][longest]int // in turns: the one that is counted and the two before it
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, last, before := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
