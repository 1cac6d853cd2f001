package metrics_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/metrics"
)

// docs/operations.md has a row for each metric and no other, with its type and
// labels.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(cyclone_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\| \\S[^|]* \\|$").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = row[2] + " " + strings.TrimSpace(row[3])
	}
	if rows := strings.Count(string(text), "\n| `cyclone_"); rows != len(documented) {
		t.Errorf("%d rows begin like that of a metric, %d can be read as one", rows, len(documented))
	}
	m := metrics.New()
	busy(m)
	there := registered(scrape(t, m, census{}))
	if diff := cmp.Diff(there, documented); diff != "" {
		t.Errorf("docs/operations.md differs from what is registered (-registered +documented):\n%s", diff)
	}
	// Alerts name metrics too: they must exist.
	for _, name := range regexp.MustCompile(`cyclone_[a-z_]+`).FindAllString(string(text), -1) {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if there[name] == "" && there[base] == "" {
			t.Errorf("docs/operations.md names %s, which is no metric", name)
		}
	}
}

// registered says of each metric of a scrape its type and labels, as the
// documentation writes them.
func registered(text string) map[string]string {
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (cyclone_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		labels := map[string]bool{}
		for _, sample := range regexp.MustCompile(`(?m)^`+m[1]+`(?:_sum|_count)?\{(.*)\} `).FindAllStringSubmatch(text, -1) {
			for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(sample[1], -1) {
				labels["`"+label[1]+"`"] = true
			}
		}
		names := make([]string, 0, len(labels))
		for label := range labels {
			names = append(names, label)
		}
		slices.Sort(names)
		all[m[1]] = strings.TrimSpace(m[2] + " " + strings.Join(names, ", "))
		if len(names) == 0 {
			all[m[1]] += " -"
		}
	}
	return all
}
