package manifest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/manifest"
)

// thousandLines is a file as a large monorepo may have it: named steps with
// everything that steps have, builds, services and targets.
func thousandLines() []byte {
	var b strings.Builder
	stage := func(name string, count int, part string) {
		fmt.Fprintf(&b, "%s:\n", name)
		for i := range count {
			b.WriteString(strings.ReplaceAll(part, "N", fmt.Sprint(i)))
		}
	}
	stage("pre_build", 22, `  # Part N, with its own tests.
  partN:
    image: registry.example.com/tools/go:1.26
    volumes:
      - .:/go/src/example.com/shop
    environment:
      - CGO_ENABLED = 0
      - VERSION = ${CYCLONE_VERSION}
      - PART = "part N"
    secrets: {TOKEN: registry-token}
    cache: [/go/pkg/mod, /root/.cache/go-build]
    timeout: 10m
    retries: 1
    when:
      branch: [main, "release/*"]
      paths: ["services/partN/**", go.mod]
    commands:
      - cd services/partN
      - go vet ./...
      - |
        for f in *.go; do
          echo "$f: checked"
        done
      - go test -race ./... 2>&1 | tee /tmp/partN.log
    outputs:
      - bin/partN
    artifacts: ["*.log"]
    reports: {junit: reports/*.xml}
`)
	stage("build", 15, `  partN:
    context_dir: services/partN
    dockerfile_name: Dockerfile
    build_args:
      VERSION: ${CYCLONE_VERSION}
    tags: [latest]
`)
	b.WriteString("integration:\n  image: BUILT_IMAGE.part1\n  commands:\n    - ./test.sh\n  links:\n    - service1:db\n")
	stage("  services", 14, `    serviceN:
      image: postgres:17
      environment:
        - POSTGRES_PASSWORD = test
      wait_for: {port: 5432, timeout: 1m}
`)
	stage("deploy", 31, `  - cluster: production
    namespace: shop
    deployment: partN
    image: BUILT_IMAGE.part1
    containers:
      - web
    timeout: 5m
`)
	return []byte(b.String())
}

func TestThousandLinesAreRight(t *testing.T) {
	data := thousandLines()
	pipeline, problems := manifest.Parse(data)
	if lines := strings.Count(string(data), "\n"); lines < 1000 || lines > 1050 || len(problems) > 0 || len(pipeline.PreBuild) != 22 {
		t.Fatalf("%d lines, problems:\n%s", lines, formatted(problems, data))
	}
}

// TestParseIsNotMuchSlowerThanYAML holds the cost of everything that is
// checked to that of the YAML library for the same bytes.
func TestParseIsNotMuchSlowerThanYAML(t *testing.T) {
	data := thousandLines()
	best := func(what func()) time.Duration {
		least := time.Hour
		for range 25 {
			begun := time.Now()
			what()
			least = min(least, time.Since(begun))
		}
		return least
	}
	library := best(func() {
		var n yaml.Node
		if err := yaml.Unmarshal(data, &n); err != nil {
			t.Fatal(err)
		}
	})
	ours := best(func() { manifest.Parse(data) })
	t.Logf("Parse takes %v, the YAML library alone %v", ours, library)
	if ours > 3*library {
		t.Error("that is more than three times as much")
	}
}

func BenchmarkParse1000Lines(b *testing.B) {
	data := thousandLines()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := manifest.Parse(data); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
