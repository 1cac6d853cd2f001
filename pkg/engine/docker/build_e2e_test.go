//go:build e2e

package docker_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

func TestBuildDoesWhatItsFileSays(t *testing.T) {
	e, labels := engine(t)
	dir := contextDir(t, map[string]string{
		"publish/Dockerfile_publish": "FROM " + busybox(t, e) + ` AS base
ARG GREETING
RUN echo "$GREETING" >/greeting
RUN --mount=type=cache,target=/cache echo cached >/cache/file && cat /cache/file
RUN --mount=type=secret,id=token wc -c </run/secrets/token >/length
COPY . /src
FROM base AS wanted
CMD ["sh", "-c", "cat /greeting /length; cd /src; find . -type f | sort"]
FROM base AS unwanted
RUN exit 1
`,
		"publish/.dockerignore": "*.log\nsecret/**\n!secret/public\n",
		"publish/app.go":        "package app\n",
		"publish/debug.log":     "noise\n",
		"publish/secret/key":    "key\n",
		"publish/secret/public": "public\n",
	})
	image := "cyclone-engine-test/built:1"
	spec := cyclone.BuildSpec{
		ContextDir: filepath.Join(dir, "publish"), Dockerfile: filepath.Join(dir, "publish", "Dockerfile_publish"), Image: image,
		Args: map[string]string{"GREETING": unique() + " from the argument"}, Target: "wanted",
		Labels: map[string]string{"built.by": "test"}, Secrets: map[string][]byte{"token": []byte("s3cr3t-value")},
		// Neither a registry that is down nor an image that is not there ends a build.
		CacheFrom: []string{freeAddress(t) + "/absent:1", registry(t, nil) + "/absent:1"},
	}
	var out recorder
	if err := e.Images().Build(t.Context(), spec, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Cleanup(func() { removeImage(t, image) })
	for _, want := range []string{"] COPY . /src\n", " cached\n", "naming to ", " DONE "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "s3cr3t-value") {
		t.Errorf("the secret is in the log:\n%s", out.String())
	}
	id, err := e.Create(t.Context(), cyclone.ContainerSpec{Name: "built", Image: image, Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	var ran recorder
	if _, err := e.Run(t.Context(), id, &ran); err != nil {
		t.Fatal(err)
	}
	want := spec.Args["GREETING"] + "\n12\n./.dockerignore\n./Dockerfile_publish\n./app.go\n./secret/public\n"
	if ran.String() != want {
		t.Errorf("the image printed %q, want %q", ran.String(), want)
	}
}

func TestBuildReusesItsCache(t *testing.T) {
	e, _ := engine(t)
	host := registry(t, nil)
	image := host + "/cached:1"
	dir := contextDir(t, map[string]string{"Dockerfile": "FROM " + busybox(t, e) + "\nRUN echo " + unique() + " >/unique\n"})
	spec := buildSpec(dir, image)
	if err := e.Images().Build(t.Context(), spec, &recorder{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeImage(t, image) })
	if _, err := e.Images().Push(t.Context(), image, nil, &recorder{}); err != nil {
		t.Fatal(err)
	}
	removeImage(t, image)
	spec.CacheFrom = []string{image}
	var out recorder
	if err := e.Images().Build(t.Context(), spec, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "importing cache manifest from "+image) || !strings.Contains(out.String(), "CACHED") {
		t.Errorf("no cache was used:\n%s", out.String())
	}
}

func TestBuildErrors(t *testing.T) {
	e, _ := engine(t)
	from := "FROM " + busybox(t, e) + "\n"
	down := freeAddress(t)
	locked := registry(t, &cyclone.RegistryAuth{Username: "alice", Password: "right"})
	tests := map[string]struct {
		dockerfile string
		kind       error
		texts      []string
	}{
		"command fails": {from + "\nRUN true\nRUN echo compiling; echo 'main.go:3: undefined: x' >&2; exit 3\n", cyclone.ErrInvalid,
			[]string{"Dockerfile:4", "RUN echo compiling", "exit code: 3", "main.go:3: undefined: x"}},
		"command over lines": {from + "RUN true && \\\n    false\n", cyclone.ErrInvalid, []string{"Dockerfile:2", "exit code: 1"}},
		"unknown word":       {from + "RUNN true\n", cyclone.ErrInvalid, []string{"Dockerfile", "RUNN"}},
		"nothing in it":      {"# empty\n", cyclone.ErrInvalid, []string{"Dockerfile"}},
		"missing file":       {from + "COPY absent.txt /\n", cyclone.ErrInvalid, []string{"Dockerfile:2", "absent.txt"}},
		"registry down":      {"FROM " + down + "/base:1\n", cyclone.ErrUnavailable, []string{down, "cannot be reached"}},
		"login needed":       {"FROM " + locked + "/base:1\n", cyclone.ErrForbidden, []string{locked, "login"}},
		"base not there":     {"FROM " + registry(t, nil) + "/base:1\n", cyclone.ErrInvalid, []string{"/base:1", "not found"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := contextDir(t, map[string]string{"Dockerfile": tt.dockerfile})
			var out recorder
			err := e.Images().Build(t.Context(), buildSpec(dir, "cyclone-engine-test/broken:1"), &out)
			t.Logf("%v\n%s", err, out.String())
			wantKind(t, err, tt.kind, tt.texts...)
		})
	}
	t.Run("missing target", func(t *testing.T) {
		spec := buildSpec(contextDir(t, map[string]string{"Dockerfile": from}), "cyclone-engine-test/broken:1")
		spec.Target = "absent"
		wantKind(t, e.Images().Build(t.Context(), spec, &recorder{}), cyclone.ErrInvalid, "absent")
	})
	t.Run("missing secret", func(t *testing.T) {
		dir := contextDir(t, map[string]string{"Dockerfile": from + "RUN --mount=type=secret,id=absent,required=true cat /run/secrets/absent\n"})
		wantKind(t, e.Images().Build(t.Context(), buildSpec(dir, "cyclone-engine-test/broken:1"), &recorder{}), cyclone.ErrInvalid, "absent")
	})
	t.Run("no Dockerfile", func(t *testing.T) {
		err := e.Images().Build(t.Context(), buildSpec(t.TempDir(), "x:1"), &recorder{})
		wantKind(t, err, cyclone.ErrInvalid, "Dockerfile")
	})
}

func TestBuildLogsInAtTheRegistry(t *testing.T) {
	e, _ := engine(t)
	login := cyclone.RegistryAuth{Username: "alice", Password: "right"}
	host := registry(t, &login)
	base := host + "/base:1"
	if err := e.Images().Tag(t.Context(), busybox(t, e), base); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Images().Push(t.Context(), base, &login, &recorder{}); err != nil {
		t.Fatal(err)
	}
	removeImage(t, base)
	spec := buildSpec(contextDir(t, map[string]string{"Dockerfile": "FROM " + base + "\nRUN echo built\n"}), "cyclone-engine-test/login:1")
	spec.Registries = map[string]cyclone.RegistryAuth{host: login}
	spec.Pull = true
	var out recorder
	if err := e.Images().Build(t.Context(), spec, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	removeImage(t, spec.Image)
}

func TestBuildStopsWhenAsked(t *testing.T) {
	e, _ := engine(t)
	dir := contextDir(t, map[string]string{"Dockerfile": "FROM " + busybox(t, e) + "\nRUN echo started " + unique() + "; sleep 300\n"})
	ctx, cancel := context.WithCancelCause(t.Context())
	out := recorder{}
	out.notify = func(all string) {
		if strings.Contains(all, " started ") && strings.Contains(all, "#") {
			cancel(errWhy)
		}
	}
	begin := time.Now()
	err := e.Images().Build(ctx, buildSpec(dir, "cyclone-engine-test/stopped:1"), &out)
	if !errors.Is(err, errWhy) || time.Since(begin) > 30*time.Second {
		t.Errorf("error %v after %v", err, time.Since(begin))
	}
}
