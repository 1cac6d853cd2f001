package manifest

import "strings"

// synonyms are words that other tools use for a key of ours.
var synonyms = map[string]string{
	"args":        "build_args",
	"auth":        "auth_config",
	"cmd":         "command",
	"context":     "context_dir",
	"cpu":         "cpus",
	"depends_on":  "links",
	"dockerfile":  "dockerfile_name",
	"env":         "environment",
	"mem":         "mem_limit",
	"memory":      "mem_limit",
	"run":         "commands",
	"script":      "commands",
	"steps":       "commands",
	"test":        "integration",
	"tests":       "integration",
	"prepare":     "pre_build",
	"publish":     "build",
	"healthcheck": "wait_for",
	"pull_policy": "pull",
	"workdir":     "volumes",
	"working_dir": "volumes",
	"artifact":    "outputs",
	"deployment":  "deploy",
	"deployments": "deploy",
}

// suggest returns the known word that was probably meant, or "".
func suggest(word string, known []string) string {
	plain := squash(word)
	for _, k := range known {
		if squash(k) == plain || synonyms[strings.ToLower(word)] == k {
			return k
		}
	}
	best, least := "", max(1, min(len(plain)/3, 3))+1
	for _, k := range known {
		if d := distance(plain, squash(k), least); d < least {
			best, least = k, d
		}
	}
	return best
}

// squash makes pre-build, preBuild and pre_build the same.
func squash(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(strings.ToLower(s))
}

// distance counts the letters to insert, drop, change or swap with their
// neighbour to make a into b. Past limit it may return any larger number.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
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
		before, last = last, row
	}
	return last[len(b)]
}
