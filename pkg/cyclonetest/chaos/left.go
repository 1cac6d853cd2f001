package chaos

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
)

// strays are events that belong to no delivery, or to one that has another.
func (w *world) strays(ctx context.Context, deliveries []*delivery) []string {
	var found []string
	known := map[string]int{}
	for _, d := range deliveries {
		known[d.site.name+" "+d.id] = 0
	}
	for _, s := range w.sites {
		for cursor := ""; ; {
			var page cyclone.List[*cyclone.Event]
			if err := s.call(ctx, "GET", "/api/v1/events?limit=200&cursor="+cursor, nil, &page); err != nil {
				return append(found, fmt.Sprintf("the events of site %s cannot be listed: %v", s.name, err))
			}
			for _, e := range page.Items {
				key := s.name + " " + string(e.Trigger.Delivery)
				n, ok := known[key]
				if known[key]++; !ok || n > 0 {
					found = append(found, fmt.Sprintf("event %s of delivery %q", e.ID, e.Trigger.Delivery))
				}
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
	}
	return found
}

// leftovers are the containers, networks and volumes with our labels that
// are still on the engine after the servers had the time to sweep.
func (w *world) leftovers(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	w.notes.say("waiting until nothing is left on the engine")
	var found []string
	waitFor(ctx, func() bool {
		found = nil
		kept, err := w.kept(ctx)
		if err != nil {
			found = append(found, err.Error())
		}
		for _, what := range [][]string{{"ps", "-a", "--format", "container {{.Names}} {{.Status}}"}, {"network", "ls", "--format", "network {{.Name}}"}, {"volume", "ls", "--format", "volume {{.Name}}"}} {
			out, err := w.engine.Docker(ctx, append(what, "--filter", "label="+cyclone.LabelRole)...)
			if err != nil {
				out = err.Error()
			}
			for line := range strings.Lines(out) {
				if line = strings.TrimSpace(line); !slices.Contains(kept, line) {
					found = append(found, line)
				}
			}
		}
		return len(found) == 0
	})
	for _, pid := range w.engine.Running() {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil {
			found = append(found, fmt.Sprintf("process %d %s of a container", pid, strings.TrimSpace(string(name))))
		}
	}
	return found
}

// kept are the volumes that last between events, which are no leftovers.
func (w *world) kept(ctx context.Context) ([]string, error) {
	out, err := w.engine.Docker(ctx, "volume", "ls", "--format", "volume {{.Name}}", "--filter", "label="+cyclone.LabelRole+"=cache")
	return strings.Split(out, "\n"), err
}

// remains is what stopped servers have left in the folder for temporary
// files, and beside the data of the embedded store.
func (w *world) remains() []string {
	var found []string
	err := filepath.WalkDir(w.temp, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != w.temp {
			found = append(found, "temporary file "+strings.TrimPrefix(path, w.temp+"/"))
		}
		return err
	})
	if err != nil {
		found = append(found, err.Error())
	}
	entries, err := os.ReadDir(w.disk)
	if err != nil {
		found = append(found, err.Error())
	}
	for _, e := range entries {
		if e.Name() != "data" {
			found = append(found, "file "+e.Name()+" beside the embedded store")
		}
	}
	slices.Sort(found)
	return found
}
