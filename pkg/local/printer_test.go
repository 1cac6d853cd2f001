package local_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/local"
	"cyclone/pkg/logchunk"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds text to a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// story tells a run's life to a server.
type story struct {
	t      *testing.T
	s      *local.Server
	n      int64
	report cyclone.Report
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds float64) *time.Time {
	t := noon.Add(time.Duration(seconds * float64(time.Second)))
	return &t
}

func (s *story) lines(stage cyclone.Stage, step string, stream cyclone.Stream, texts ...string) {
	s.t.Helper()
	var all []cyclone.Line
	for _, text := range texts {
		s.n++
		all = append(all, cyclone.Line{N: s.n, Time: noon, Stage: stage, Step: step, Stream: stream, Text: text})
	}
	chunk, err := logchunk.Encode(all)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.s.Append(context.Background(), chunk); err != nil {
		s.t.Fatal(err)
	}
}

// stage reports a stage's newest state.
func (s *story) stage(state cyclone.StageState) {
	s.t.Helper()
	stages := append([]cyclone.StageState{}, s.report.Stages...)
	known := false
	for i := range stages {
		if stages[i].Name == state.Name {
			stages[i], known = state, true
		}
	}
	if !known {
		stages = append(stages, state)
	}
	s.report.Stages = stages
	if err := s.s.Report(s.report); err != nil {
		s.t.Fatal(err)
	}
}

const pipeline = `
pre_build:
  image: golang:1.26
  commands: [go build]
build:
  context_dir: .
integration:
  image: golang:1.26
  commands: [go test]
  services:
    db: {image: "postgres:17"}
post_build:
  image: busybox:1
  commands: [ls]
deploy:
  - {cluster: prod, namespace: shop, deployment: orders, containers: [web]}
`

// tell tells a run that fails in integration.
func tell(t *testing.T, style local.Style) string {
	t.Helper()
	src := &local.Source{Root: "/home/alice/orders", Git: true, FullRef: "refs/heads/main", Commit: cyclone.Commit{SHA: "3f2a1b9c4d5e6f708192a3b4c5d6e7f801234567"}}
	run, err := local.NewRun(src, []byte(pipeline), nil, local.Options{Config: "caicloud.yml"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := local.NewPrinter(&out, style, run)
	p.SetNow(func() time.Time { return noon.Add(5 * time.Second) })
	s := &story{t: t, s: local.NewServer(run.Job, &local.Files{}, p)}
	s.report.Version = "ci-3f2a1b9"
	s.stage(cyclone.StageState{Name: cyclone.StageClone, Status: cyclone.StatusRunning, StartedAt: at(0)})
	s.lines(cyclone.StageClone, "clone", cyclone.System, "Copied the working tree at 3f2a1b9: 3 files, 1.2 KiB")
	s.stage(cyclone.StageState{Name: cyclone.StageClone, Status: cyclone.StatusSuccess, StartedAt: at(0), FinishedAt: at(0.04)})
	s.stage(cyclone.StageState{Name: cyclone.StagePreBuild, Status: cyclone.StatusRunning, StartedAt: at(1)})
	s.lines(cyclone.StagePreBuild, "pre_build", cyclone.Stdout, "$ go build", "\x1b[32mdone\x1b[0m\x1b[2J")
	s.s.Partial(cyclone.Line{N: s.n + 1, Stage: cyclone.StagePreBuild, Step: "pre_build", Stream: cyclone.Stdout, Text: "42 %"})
	s.lines(cyclone.StagePreBuild, "pre_build", cyclone.Stdout, "100 %")
	s.stage(cyclone.StageState{Name: cyclone.StagePreBuild, Status: cyclone.StatusSuccess, StartedAt: at(1), FinishedAt: at(13.3)})
	s.report.Images = []cyclone.BuildImage{{Build: "build", Image: cyclone.Image{Name: "orders", Tag: "ci-3f2a1b9"}}}
	s.stage(cyclone.StageState{Name: cyclone.StageBuild, Status: cyclone.StatusSuccess, StartedAt: at(14), FinishedAt: at(79)})
	s.stage(cyclone.StageState{Name: cyclone.StageIntegration, Status: cyclone.StatusRunning, StartedAt: at(80)})
	s.lines(cyclone.StageIntegration, "integration/db", cyclone.Stderr, "ready to accept connections")
	s.lines(cyclone.StageIntegration, "integration", cyclone.Stdout, "$ go test", "--- FAIL: TestOrder")
	s.report.Tests = &cyclone.TestSummary{Total: 3, Passed: 2, Failed: 1, Failures: []cyclone.TestCase{{Class: "orders", Name: "TestOrder"}}}
	s.stage(cyclone.StageState{Name: cyclone.StageIntegration, Status: cyclone.StatusFailure, StartedAt: at(80), FinishedAt: at(84), Steps: []cyclone.StepState{
		{Name: "integration/db", Status: cyclone.StatusSuccess},
		{Name: "integration", Status: cyclone.StatusFailure, ExitCode: 1, Error: `integration failed: command 1 "go test" exited with 1`},
	}})
	s.stage(cyclone.StageState{Name: cyclone.StagePostBuild, Status: cyclone.StatusSkipped})
	s.stage(cyclone.StageState{Name: cyclone.StageDeploy, Status: cyclone.StatusSkipped})
	if err := s.s.Finish(t.Context(), cyclone.Result{Status: cyclone.StatusFailure, Reason: "integration failed"}); err != nil {
		t.Fatal(err)
	}
	p.Summary(run, s.s, 85*time.Second)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPrinter(t *testing.T) {
	t.Parallel()
	for name, style := range map[string]local.Style{
		"plain.txt":    {},
		"unicode.txt":  {Unicode: true},
		"coloured.txt": {Colours: true, Unicode: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, tell(t, style))
		})
	}
}

func TestPrinterOnATerminal(t *testing.T) {
	t.Parallel()
	// The bottom line is drawn by a clock too, so only what is left of it when
	// it has been drawn over can be told.
	screen := tell(t, local.Style{Live: true, Unicode: true, Columns: func() int { return 20 }})
	golden(t, "unicode.txt", overdrawn(screen))
	if !strings.Contains(screen, "pre_build 4.0s  42 ") || strings.Contains(screen, "42 %") {
		t.Errorf("the unfinished line was never shown, cut to the width:\n%q", screen)
	}
}

// overdrawn is what stays on a terminal that knows \r and "erase to the end".
func overdrawn(text string) string {
	var out, line []byte
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n':
			out = append(append(out, line...), '\n')
			line = nil
		case text[i] == '\r' && i+3 < len(text) && text[i+1:i+4] == "\x1b[K":
			line = nil
			i += 3
		default:
			line = append(line, text[i])
		}
	}
	return string(append(out, line...))
}
