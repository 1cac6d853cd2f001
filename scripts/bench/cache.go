package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	cacheRounds = 3
	// How much there is to compile, to unpack and to build.
	goPackages, goFunctions = 40, 60
	nodePackages, nodeFiles = 300, 40
)

// cacheKind is a kind of project whose second event is to profit from its first.
type cacheKind struct {
	name  string
	files map[string][]byte
	// change makes the second commit differ from the first.
	change func(files map[string][]byte)
}

// caches measures the second event of a project against its first, from the
// hook's 202 to the end of the log.
func (b *bench) caches(ctx context.Context) error {
	for i, kind := range []cacheKind{goKind(), npmKind(), layersKind()} {
		say("cache (%s): %d projects, two events each", kind.name, cacheRounds)
		var first, second series
		for round := range cacheRounds {
			p, err := b.newProject(ctx, b.system.Server, fmt.Sprintf("cache-%d-%d", i, round), maps.Clone(kind.files))
			if err != nil {
				return err
			}
			cold, err := p.whole(ctx)
			if err != nil {
				return err
			}
			kind.change(p.files)
			if err := p.commit(ctx, "Change"); err != nil {
				return err
			}
			warm, err := p.whole(ctx)
			if err != nil {
				return err
			}
			first.add(cold)
			second.add(warm)
			fmt.Printf("    %d: first %.2f s; second %.2f s; ratio %.2f\n", round+1, cold, warm, warm/cold)
		}
		b.note("second event / first, "+kind.name, "%s: %s against %s", second.over(first).show("%.2fx"), second.seconds(), first.seconds())
	}
	return nil
}

// whole runs one event and returns the seconds until its log has ended.
func (p *project) whole(ctx context.Context) (float64, error) {
	id, err := p.deliver(ctx, p.b.system.Server)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	_, err = p.b.system.Server.Follow(ctx, id, func(l cyclone.Line) {
		if strings.HasPrefix(l.Text, "Cache ") {
			fmt.Printf("       %s\n", l.Text)
		}
	})
	took := time.Since(begun).Seconds()
	if err != nil {
		return 0, err
	}
	_, err = p.outcome(ctx, id)
	return took, err
}

// goKind compiles some packages of its own, and those of Go that they need.
func goKind() cacheKind {
	files := map[string][]byte{
		"go.mod": []byte("module bench\n\ngo 1.26\n"),
		"caicloud.yml": []byte("pre_build:\n  image: golang:1.26\n  environment: [GOCACHE=/var/cache/go-build, GOFLAGS=-mod=mod]\n" +
			"  cache: [/var/cache/go-build]\n  commands: [go build ./..., go vet ./...]\n"),
	}
	var main strings.Builder
	main.WriteString("package main\n\nimport (\n\t\"net/http\"\n")
	for i := range goPackages {
		fmt.Fprintf(&main, "\t\"bench/p%d\"\n", i)
		var text strings.Builder
		fmt.Fprintf(&text, "package p%d\n\nimport \"fmt\"\n", i)
		for f := range goFunctions {
			fmt.Fprintf(&text, "\nfunc F%d(n int) string {\n\tm := map[string]int{}\n\tfor i := range n {\n\t\tm[fmt.Sprint(i, %d)] += i\n\t}\n\treturn fmt.Sprintf(\"%%v %%d\", m, n)\n}\n", f, f)
		}
		files[fmt.Sprintf("p%d/p.go", i)] = []byte(text.String())
	}
	main.WriteString(")\n\nfunc main() {\n\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, _ *http.Request) {\n")
	for i := range goPackages {
		fmt.Fprintf(&main, "\t\t_, _ = w.Write([]byte(p%d.F0(1)))\n", i)
	}
	main.WriteString("\t})\n\t_ = http.ListenAndServe(\":8080\", nil)\n}\n")
	files["main.go"] = []byte(main.String())
	return cacheKind{"a Go project (/var/cache/go-build)", files, func(files map[string][]byte) {
		files["p0/p.go"] = append(files["p0/p.go"], "\nvar changed = 1\n"...)
	}}
}

// npmKind fills node_modules as npm does, with thousands of small files, but
// without a network: the real thing has more to gain.
func npmKind() cacheKind {
	install := fmt.Sprintf(`set -e
mkdir -p node_modules
awk 'BEGIN { for (p = 0; p < %d; p++) { d = "node_modules/p" p; system("mkdir -p " d);
  for (f = 0; f < %d; f++) { n = d "/f" f ".js"; for (l = 0; l < 40; l++) print "export const v" l " = " p * f + l > n; close(n) } } }'
touch node_modules/.installed
`, nodePackages, nodeFiles)
	return cacheKind{"an npm-like project (node_modules)", map[string][]byte{
		"install.sh": []byte(install), "index.js": []byte("1\n"),
		"caicloud.yml": []byte("pre_build:\n  image: busybox:1\n  cache: [node_modules]\n" +
			"  commands: ['[ -f node_modules/.installed ] || sh install.sh', 'find node_modules -name \"*.js\" | wc -l']\n" +
			"post_build:\n  image: busybox:1\n  commands: [cat node_modules/p7/f7.js]\n"),
	}, func(files map[string][]byte) { files["index.js"] = []byte("2\n") }}
}

// layersKind builds an image whose expensive layers stay the same.
func layersKind() cacheKind {
	kind := goKind()
	kind.name = "a Dockerfile (layers)"
	kind.files["Dockerfile"] = []byte("FROM golang:1.26\nWORKDIR /src\nCOPY go.mod main.go ./\nCOPY p* /src/all/\nRUN go build -o /std net/http\nCOPY change ./\n")
	kind.files["change"] = []byte("1\n")
	kind.files["caicloud.yml"] = []byte("build:\n  context_dir: .\n  push: false\n")
	kind.change = func(files map[string][]byte) { files["change"] = []byte("2\n") }
	return kind
}
