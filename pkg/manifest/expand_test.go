package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

// known are the values of the tests below.
func known() manifest.Values {
	return manifest.Values{
		Variables: map[string]string{
			"CYCLONE_VERSION": "ci-1234567", "CYCLONE_BRANCH": "main", "GO": "1.26", "EMPTY": "", "UP": "../..",
			"TRICK": "${GO} $$", "CYCLONE_COMMIT_SHA": "1234567",
		},
		Secrets: map[string]string{"registry-password": "p$$w ${GO}", "KUBE_TOKEN": "t0ken"},
	}
}

const expandable = `
pre_build:
  image: golang:${GO}
  secrets: {REGISTRY_PASSWORD: registry-password}
  auth_config: {username: "${GO}", password: "${REGISTRY_PASSWORD}"}
  environment:
    - A = ${GO}-$${GO}-$GO-$
    - B=${TRICK}
    - C=${EMPTY}
  commands: ["echo ${GO} $$ ${NOT_OURS:-x}"]
build:
  context_dir: dir-${GO}
  build_args: {V: "${CYCLONE_VERSION}"}
  tags: ["${CYCLONE_BRANCH}"]
  labels: ["rev=${CYCLONE_COMMIT_SHA}"]
  target: t-${GO}
deploy:
  - type: kubernetes
    host: https://${GO}.example.com
    token: ${KUBE_TOKEN}
    secrets: [KUBE_TOKEN]
    cluster: ${CYCLONE_BRANCH}
    namespace: ns-${CYCLONE_BRANCH}
    deployment: web
    containers: ["web-${CYCLONE_BRANCH}"]
`

func TestExpand(t *testing.T) {
	pipeline, problems := manifest.Expand([]byte(expandable), known())
	if pipeline == nil {
		t.Fatalf("has errors:\n%s", formatted(problems, []byte(expandable)))
	}
	pre, build, target := pipeline.PreBuild[0], pipeline.Build[0], pipeline.Deploy[0]
	got := []string{
		pre.Image, pre.Auth.Username, pre.Auth.Password,
		pre.Environment[0].Value, pre.Environment[1].Value, pre.Environment[2].Value, pre.Commands[0],
		build.ContextDir, build.Args["V"], build.Tags[0], build.Labels["rev"], build.Target,
		target.Host, target.Token, target.Cluster, target.Namespace, target.Containers[0],
	}
	want := []string{
		"golang:1.26", "1.26", "p$$w ${GO}",
		"1.26-${GO}-$GO-$", "${GO} $$", "", "echo ${GO} $$ ${NOT_OURS:-x}",
		"dir-1.26", "ci-1234567", "main", "1234567", "t-1.26",
		"https://1.26.example.com", "t0ken", "main", "ns-main", "web-main",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseLeavesReferences(t *testing.T) {
	pipeline := parse(t, expandable)
	if got := pipeline.PreBuild[0].Image; got != "golang:${GO}" {
		t.Errorf("image is %q", got)
	}
	if got := pipeline.PreBuild[0].Environment[0].Value; got != "${GO}-$${GO}-$GO-$" {
		t.Errorf("value is %q", got)
	}
}

func TestExpandChecksAgain(t *testing.T) {
	for text, want := range map[string]string{
		"pre_build:\n  image: ${NOPE}\n  commands: x\n":                             "2:10 pre_build.image: ${NOPE} is not known",
		"pre_build:\n  image: ${EMPTY}\n  commands: x\n":                            "2:10 pre_build.image: is empty once its variables are replaced",
		"pre_build:\n  image: a:${TRICK}\n  commands: x\n":                          "2:10 pre_build.image: is not the name of an image",
		"build:\n  context_dir: ${UP}\n":                                            "2:16 build.context_dir: leaves the repository",
		"build:\n  context_dir: a\n  dockerfile_name: ${UP}/x\n":                    "3:20 build.dockerfile_name: leaves the repository",
		"build:\n  context_dir: .\n  tags: ['a${TRICK}']\n":                         "3:10 build.tags[0]: is not a tag",
		"build:\n  context_dir: .\n  build_args: ['A=${KUBE_TOKEN}']\n":             "3:16 build.build_args[0]: ${KUBE_TOKEN} is not known",
		"post_build:\n  image: a:1\n  environment: ['A=${registry-password}']\n":    "3:17 post_build.environment[0]: \"${registry-password}\" is not a variable",
		"post_build:\n  image: a:1\n  environment: {A: \"${CYCLONE_BRNACH}\"}\n":    "3:20 post_build.environment.A: ${CYCLONE_BRNACH} is not known",
		"post_build:\n  image: a:1\n  secrets: [X]\n  environment: ['A=${Y}']\n":    "4:17 post_build.environment[0]: ${Y} is not known",
		"deploy:\n- {cluster: a, namespace: '${UP}', deployment: d, containers: c}": "2:27 deploy[0].namespace: is not a name",
	} {
		pipeline, problems := manifest.Expand([]byte(text), known())
		var errs []string
		for _, p := range problems {
			if p.Severity == cyclone.SeverityError {
				errs = append(errs, strings.TrimPrefix(manifest.Format("", p, nil), ":"))
			}
		}
		place, message, _ := strings.Cut(want, " ")
		if pipeline != nil || len(errs) != 1 || !strings.HasPrefix(errs[0], place+": "+message) {
			t.Errorf("%s\n got %q\nwant %q", text, errs, want)
		}
	}
}

// TestSecretsStayWithTheirStep: a step that does not name a secret cannot
// refer to it, even when the step before it does.
func TestSecretsStayWithTheirStep(t *testing.T) {
	text := `
pre_build:
  one: {image: 'a:1', commands: x, secrets: [KUBE_TOKEN], environment: ["A=${KUBE_TOKEN}"]}
  two: {image: 'a:1', commands: x, environment: ["A=${KUBE_TOKEN}"]}
`
	_, problems := manifest.Expand([]byte(text), known())
	if manifest.Errors(problems) != 1 || problems[0].Line != 4 {
		t.Errorf("got %v", problems)
	}
}

// TestMissingSecretIsLeft: an event that may not see a secret (a pull request
// of a fork) must not fail over a step that it does not run.
func TestMissingSecretIsLeft(t *testing.T) {
	pipeline, problems := manifest.Expand([]byte(expandable), manifest.Values{Variables: known().Variables})
	if pipeline == nil {
		t.Fatalf("has errors: %v", problems)
	}
	if got := pipeline.Deploy[0].Token; got != "${KUBE_TOKEN}" {
		t.Errorf("token is %q", got)
	}
}

// TestSecretsAreNotQuoted: what is wrong with a value must not print it.
func TestSecretsAreNotQuoted(t *testing.T) {
	text := "pre_build:\n  image: '${S}'\n  secrets: [S]\n  commands: x\n"
	_, problems := manifest.Expand([]byte(text), manifest.Values{Secrets: map[string]string{"S": "No Image HUNTER2"}})
	if manifest.Errors(problems) != 1 || strings.Contains(string(formatted(problems, []byte(text))), "HUNTER2") {
		t.Errorf("got %v", problems)
	}
}

func TestVariablesCannotBeChanged(t *testing.T) {
	manifest.Variables()[0] = "X"
	if manifest.Variables()[0] != "CI" {
		t.Error("the list is shared")
	}
}
