package worker_test

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// kept lists what the server has: "artifact dist/app 5 pre_build/pack".
func (s *server) kept() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, key := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[key]
		if f.Kind != cyclone.FileOutput {
			out = append(out, fmt.Sprintf("%s %s/%s %d", key, f.Stage, f.Step, f.Size))
		}
	}
	return strings.Join(out, "\n")
}

// report is the stored report of a step.
func (s *server) report(t *testing.T, path string) cyclone.TestReport {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out cyclone.TestReport
	if err := json.Unmarshal(s.files[fileKey(cyclone.FileReport, path)].content, &out); err != nil {
		t.Fatalf("report %s: %v", path, err)
	}
	return out
}

// has holds the log to some texts.
func (r *rig) has(t *testing.T, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(r.server.log(), want) {
			t.Errorf("the log lacks %q:\n%s", want, r.server.log())
		}
	}
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, step string
		files      map[string][]tar.Header
		change     func(r *rig)
		status     cyclone.Status
		kept       string
		log        []string
	}{
		{
			name: "files, folders and globs", status: cyclone.StatusSuccess,
			step: "commands: ['mkdir -p dist/sub out', 'echo 1234 > dist/a', 'echo 1 > dist/sub/b', 'echo x > out/x.log', 'echo y > out/y.txt']\n  artifacts: [dist, 'out/*.log', ./out/y.txt, '**/*.txt']\n",
			kept: "artifact dist/a pre_build/pre_build 5\nartifact dist/sub/b pre_build/pre_build 2\nartifact out/x.log pre_build/pre_build 2\nartifact out/y.txt pre_build/pre_build 2",
			log:  []string{"pre_build| Artifact dist/a, 5 B"},
		},
		{
			name: "kept when the commands failed", status: cyclone.StatusFailure,
			step: "commands: ['echo shot > shot.png', 'exit 3']\n  artifacts: ['*.png']\n",
			kept: "artifact shot.png pre_build/pre_build 5",
			log:  []string{"exited with 3"},
		},
		{
			name: "no such file", status: cyclone.StatusSuccess,
			step: "commands: ['true']\n  artifacts: [none, 'no/*', /none]\n",
			log:  []string{`Warning: artifacts "none": there is no such file`, `Warning: artifacts "no/*": there`, `Warning: artifacts "/none": there`},
		},
		{
			name: "of the last try", status: cyclone.StatusSuccess,
			step: "retries: 2\n  commands: ['echo x >> tries', 'cp tries kept-$(wc -l < tries)', 'test $(wc -l < tries) = 2']\n  artifacts: [tries]\n",
			kept: "artifact tries pre_build/pre_build 4",
			log:  []string{"trying again (1 of 2)"},
		},
		{
			name: "links and devices", status: cyclone.StatusSuccess,
			step: "commands: ['mkdir out', 'echo a > out/a', 'ln -s a out/link', 'mkfifo out/pipe']\n  artifacts: [out]\n",
			kept: "artifact out/a pre_build/pre_build 2",
			log:  []string{"Warning: out/link is left out: it is a link and no file", "Warning: out/pipe is left out: it is a pipe"},
		},
		{
			name: "a folder whose name is no text", status: cyclone.StatusSuccess,
			step: "commands: [\"mkdir -p \\\"out/$(printf '\\\\377')\\\" && echo a > out/a\"]\n  artifacts: ['out/**']\n",
			kept: "artifact out/a pre_build/pre_build 2",
			log:  []string{`is left out: it is no name that can be kept`},
		},
		{
			name: "a link out of the tree", status: cyclone.StatusSuccess,
			step: "commands: ['ln -s /etc out']\n  artifacts: [out, 'out/*']\n",
			log:  []string{"out is left out: it is a link"},
		},
		{
			name: "of the container", status: cyclone.StatusSuccess,
			step: "commands: ['true']\n  artifacts: [/srv/out, '/srv/log/*.log', /srv/app]\n",
			files: map[string][]tar.Header{
				"/srv/out": {folder("out/"), file("out/a", "aa", 0o600), link(tar.TypeSymlink, "out/l", "a"), link(tar.TypeLink, "out/same", "out/a"), {Typeflag: tar.TypeChar, Name: "out/null"}},
				"/srv/log": {folder("log/"), file("log/x.log", "x", 0o600), file("log/y.txt", "y", 0o600), folder("log/d.log/"), file("log/d.log/z", "zzz", 0o600)},
				"/srv/app": {file("app", "app", 0o755)},
			},
			kept: "artifact app pre_build/pre_build 3\nartifact d.log/z pre_build/pre_build 3\nartifact out/a pre_build/pre_build 2\nartifact out/same pre_build/pre_build 2\nartifact x.log pre_build/pre_build 1",
			log:  []string{"/srv/out/l is left out: it is a link", "/srv/out/null is left out: it is a device"},
		},
		{
			name: "names that cannot be kept", status: cyclone.StatusFailure,
			step: "commands: [\"printf x > 'a\\nb'\", 'echo > good']\n  artifacts: ['*']\n",
			kept: "artifact caicloud.yml pre_build/pre_build 0\nartifact good pre_build/pre_build 1",
			log:  []string{`pre_build failed: artifact a`, "is no name that can be kept"},
			change: func(r *rig) {
				r.source.Files["caicloud.yml"], r.server.job.Config = "", []byte(r.source.Files["caicloud.yml"])
			},
		},
		{
			name: "more than fits", status: cyclone.StatusFailure,
			step:   "commands: ['printf 12345678 > big', 'printf 1234 > small']\n  artifacts: [big, small]\n",
			change: func(r *rig) { r.server.job.FileLimit = 6 },
			kept:   "artifact small pre_build/pre_build 4",
			log:    []string{"Artifact big, 8 B, is not kept: size: of the 6 B that may be kept with an event, 6 B are left", "pre_build failed: artifact big is not kept"},
		},
		{
			name: "more than the server takes", status: cyclone.StatusFailure,
			step: "commands: ['printf 12345678 > big']\n  retries: 3\n  artifacts: [big]\n",
			change: func(r *rig) {
				r.server.refuse = func(cyclone.File) error { return cyclone.Invalid("size", "it is too large") }
			},
			log: []string{"pre_build failed: artifact big is not kept: size: it is too large"},
		},
		{
			name: "a step that fails anyway", status: cyclone.StatusFailure,
			step:   "commands: ['printf 12345678 > big', 'exit 7']\n  artifacts: [big]\n",
			change: func(r *rig) { r.server.job.FileLimit = 6 },
			log:    []string{"Artifact big, 8 B, is not kept", "exited with 7"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "pre_build:\n  image: alpine\n  "+tt.step, nil)
			r.engine.Files = tt.files
			if tt.change != nil {
				tt.change(r)
			}
			result := r.run(t)
			if result.Status != tt.status {
				t.Errorf("%s: %s\n%s", result.Status, result.Reason, r.server.log())
			}
			if got := r.server.kept(); got != tt.kept {
				t.Errorf("kept\n%s\nwant\n%s\n%s", got, tt.kept, r.server.log())
			}
			r.has(t, tt.log...)
		})
	}
}

const reportXML = `<testsuite name="s"><testcase classname="c" name="passes" time="0.5"/><testcase name="waits"><skipped/></testcase>
<testcase classname="orders" name="fails with hush-hush-9" time="1"><failure message="got hush-hush-9">at line 3: hush-hush-9</failure></testcase></testsuite>`

func TestReports(t *testing.T) {
	t.Parallel()
	r := newRig(t, "pre_build:\n  a:\n    image: alpine\n    commands: ['exit 1']\n    allow_failure: true\n    reports: {junit: [reports, '*.xml']}\n"+
		"  b:\n    image: alpine\n    commands: ['true']\n    reports: {junit: ['none/*.xml', broken.xml]}\n"+
		"  c:\n    image: alpine\n    commands: ['true']\n    reports: {junit: [reports/one.xml]}\n",
		map[string]string{"reports/one.xml": reportXML, "reports/notes.txt": "no report", "two.xml": reportXML, "broken.xml": "<testsuite>\n<testcase name='before'/>\n<oops"})
	result := r.run(t)
	if result.Status != cyclone.StatusSuccess || result.Reason != "pre_build/a failed, as it may" {
		t.Errorf("%s %q\n%s", result.Status, result.Reason, r.server.log())
	}
	r.has(t, "a| Tests: 3 passed, 2 failed, 2 skipped", "a|   failed: fails with ****** (orders): got ******",
		`b| Warning: reports.junit "none/*.xml": there is no such file`, "b| Warning: report broken.xml: line 3: unexpected EOF", "b| Tests: 1 passed, 0 failed, 0 skipped")
	if strings.Contains(r.server.log(), "notes.txt") {
		t.Error("what is no report was read")
	}
	got := r.server.report(t, "pre_build/a.json")
	if got.Total != 7 || got.Failed != 2 || len(got.Cases) != 7 || got.Seconds != 3 || got.CreatedAt.IsZero() {
		t.Errorf("%+v", got.TestSummary)
	}
	for _, c := range got.Cases {
		if c.Stage != cyclone.StagePreBuild || c.Step != "a" || strings.Contains(fmt.Sprint(c), "hush") {
			t.Errorf("case %+v", c)
		}
	}
	sum := r.server.last().Tests
	if sum == nil || sum.Total != 11 || sum.Failed != 3 || sum.Passed != 5 || sum.Skipped != 3 || len(sum.Failures) != 3 || sum.Failures[2].Step != "c" {
		t.Errorf("summary %+v", sum)
	}
	if sum != nil && sum.Failures[0].Output != "at line 3: ******" {
		t.Errorf("output %q", sum.Failures[0].Output)
	}
}

// TestReportsOfManyFailures: the event itself carries a few, with little of
// their output.
func TestReportsOfManyFailures(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("<testsuite>")
	for i := range 700 {
		fmt.Fprintf(&b, "<testcase name='t%d'><failure>%s</failure></testcase>", i, strings.Repeat("0123456789abcde\n", 1000))
	}
	b.WriteString("</testsuite>")
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['true']\n  reports: {junit: r.xml}\n", map[string]string{"r.xml": b.String()})
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Errorf("%s: %s\n%s", result.Status, result.Reason, r.server.log())
	}
	r.has(t, "  failed: t9: 0123456789abcde", "  and 690 more")
	sum := r.server.last().Tests
	if sum == nil || sum.Failed != 700 || len(sum.Failures) != cyclone.MaxFailures || len(sum.Failures[0].Output) > 2<<10 {
		t.Fatalf("summary %+v", sum)
	}
	got, output := r.server.report(t, "pre_build/pre_build.json"), 0
	for _, c := range got.Cases {
		output += len(c.Output)
	}
	if len(got.Cases) != 700 || output > 8<<20 || output < 7<<20 {
		t.Errorf("%d cases with %d bytes of output", len(got.Cases), output)
	}
}

func TestArtifactsOfTwoSteps(t *testing.T) {
	t.Parallel()
	r := newRig(t, "pre_build:\n  a:\n    image: alpine\n    commands: ['echo 1 > log']\n    artifacts: log\n"+
		"  b:\n    image: alpine\n    commands: ['echo 22 > log']\n    artifacts: log\n", nil)
	r.server.job.FileLimit = 5
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
	if got := r.server.kept(); got != "artifact log pre_build/b 3" {
		t.Error(got)
	}
	r.has(t, "b| Warning: artifact log replaces the one of pre_build/a")
}

// TestKeptAfterACancellation: what is there is kept, and a server that is gone
// is not waited for.
func TestKeptAfterACancellation(t *testing.T) {
	t.Parallel()
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['echo half > log', 'echo > $FIFO', 'sleep 100']\n  artifacts: log\n", nil)
	wait := r.fifo(t)
	go func() {
		wait()
		r.server.canceled <- cyclone.Cancellation{Reason: "enough"}
	}()
	if result := r.run(t); result.Status != cyclone.StatusCanceled {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
	if got := r.server.kept(); got != "artifact log pre_build/pre_build 5" {
		t.Error(got)
	}
}

func TestNothingIsKeptWithoutAServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['echo half > log', 'echo > $FIFO', 'sleep 100']\n  artifacts: log\n", nil)
	wait := r.fifo(t)
	r.server.err = cyclone.Conflict("fenced")
	r.server.refuse = func(f cyclone.File) error { t.Errorf("%s is sent", f.Path); return nil }
	go func() {
		wait()
		close(r.server.done)
	}()
	begun := time.Now()
	if err := r.work(t.Context()); err == nil {
		t.Error("no error")
	}
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
}
