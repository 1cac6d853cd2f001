// Package pkg_test holds the law of docs/architecture.md against the code.
package pkg_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors says on which floor each package stands: 0 words, 1 tools that know
// no domain or only words, 2 rooms, 3 fakes and suites for tests, 4 programs.
// A package imports only lower floors; test files may import floor 3 too.
var floors = map[string]int{
	"pkg/cyclone": 0,

	"pkg/cachedir": 1, "pkg/config": 1, "pkg/disk": 1, "pkg/junit": 1, "pkg/livelog": 1, "pkg/lead": 1, "pkg/logchunk": 1, "pkg/metrics": 1, "pkg/manifest": 1, "pkg/mask": 1, "pkg/pack": 1, "pkg/paging": 1, "pkg/patience": 1, "pkg/payload": 1, "pkg/schedule": 1, "pkg/rest": 1, "pkg/seal": 1, "pkg/sshagent": 1,
	"api": 1,

	"pkg/client": 2, "pkg/cron": 2, "pkg/poll": 2, "pkg/connect": 2, "pkg/deploy/kubernetes": 2, "pkg/dispatch": 2, "pkg/engine/docker": 2, "pkg/httpapi": 2,
	"pkg/launch/docker": 2, "pkg/launch/process": 2, "pkg/local": 2, "pkg/notify/forge": 2, "pkg/notify/mail": 2, "pkg/progress": 2, "pkg/retention": 2,
	"pkg/scm/git": 2, "pkg/scm/gitea": 2, "pkg/scm/github": 2, "pkg/scm/gitlab": 2, "pkg/scm/svn": 2, "pkg/store/embedded": 2, "pkg/store/mongo": 2, "pkg/trigger": 2, "pkg/worker": 2,

	"pkg/cyclonetest": 3, "pkg/cyclonetest/kubestandin": 3, "pkg/cyclonetest/kubetest": 3,
	"pkg/cyclonetest/chaos": 3, "pkg/cyclonetest/e2e": 3, "pkg/cyclonetest/testcert": 3, "pkg/cyclonetest/fakeforge": 3, "pkg/cyclonetest/lab": 3, "pkg/scm/scmtest": 3, "pkg/store/embeddedtest": 3, "pkg/store/storetest": 3,

	"pkg": 4, "cmd/cyclone": 4, "cmd/cyclone-server": 4, "cmd/cyclone-worker": 4, "scripts/bench": 4, "scripts/demo": 4,
}

// siblings on floor 3 may build on each other: the lab starts a kubetest.
const testFloor = 3

type listed struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-tags", "e2e", "-json=ImportPath,Imports,TestImports,XTestImports", "cyclone/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestFloors(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "cyclone/")
		floor, ok := floors[name]
		if !ok {
			t.Errorf("%s has no floor: add it to the table", name)
			continue
		}
		for _, path := range p.Imports {
			below, ours := floorOf(path)
			if ours && below >= floor && (below != testFloor || floor != testFloor) {
				t.Errorf("%s (floor %d) imports %s (floor %d)", name, floor, path, below)
			}
			if ours && below == testFloor && !mayImportTests(name) {
				t.Errorf("%s imports %s: only tests do", name, path)
			}
			if floor == 0 && strings.Contains(path, ".") {
				t.Errorf("%s imports %s: floor 0 has the standard library only", name, path)
			}
		}
	}
}

// mayImportTests: programs that show or measure the system start the same real
// parts as the tests.
func mayImportTests(name string) bool {
	return floors[name] == testFloor || strings.HasPrefix(name, "scripts/")
}

func floorOf(path string) (int, bool) {
	name, ours := strings.CutPrefix(path, "cyclone/")
	if !ours {
		return 0, false
	}
	return floors[name], true
}

func TestWordsStartNoGoroutineAndDoNoIO(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != "cyclone/pkg/cyclone" {
			continue
		}
		for _, path := range p.Imports {
			switch path {
			case "os", "os/exec", "net", "database/sql", "sync", "log/slog":
				t.Errorf("floor 0 imports %s", path)
			}
		}
		return
	}
	t.Error("go list does not know floor 0")
}
