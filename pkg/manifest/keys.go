package manifest

import "strings"

// place is a mapping of the file that has keys of its own.
type place struct {
	name  string // also the name of its schema
	title string // "a step"
	keys  []entry
}

// entry describes one key: what editors complete and the reference lists.
type entry struct {
	name    string
	in      role   // for keys of a step: where it may stand
	form    string // in forms
	what    string // one sentence, in Markdown
	example string // of the value, YAML in one line
	without string // what holds without the key, YAML; "" when nothing does
}

// stagePlace are the keys of the file.
var stagePlace = place{"file", "the file", []entry{
	{"pre_build", 0, "pre_build", "Compile: one step, or a map of names to steps. What `outputs` names is copied out for `build`.", `{image: "golang:1.26", commands: [go build .]}`, ""},
	{"build", 0, "build", "Build images and push them: one build, or a map of names to builds.", `{context_dir: publish}`, ""},
	{"integration", 0, "integration", "Start services and test against them.", `{services: {db: {image: "postgres:17"}}, commands: [./test.sh]}`, ""},
	{"post_build", 0, "post_build", "Whatever is to be done with the new image: one step, or a map of names to steps.", `{image: "alpine:3.22", commands: [./announce.sh]}`, ""},
	{"deploy", 0, "deploy", "Roll the image out: a list of targets, done in order.", `[{cluster: production, namespace: shop, deployment: web, containers: [web]}]`, ""},
}}

// stepPlace are the keys of everything that runs a container.
var stepPlace = place{"step", "a step", []entry{
	{"image", rolePreBuild | rolePostBuild, "image", "The image to run.", `golang:1.26`, ""},
	{"image", roleIntegration | roleService, "image_or_built", "The image to run. `BUILT_IMAGE` is the image that this event built, `BUILT_IMAGE.<name>` that of a named build. Without it, integration runs in the built image.", `BUILT_IMAGE`, ""},
	{"commands", roleAll, "commands", "Shell commands, run in one shell; the first that fails ends the step. Of a service: what it runs in place of its own command.", `[go vet ./..., go test ./...]`, ""},
	{"environment", roleAll, "environment", "Variables. Blanks around the first `=` and around the value are dropped, and one pair of quotes around the value.", `[CGO_ENABLED = 0]`, ""},
	{"volumes", roleAll, "volumes", "Mounts as `src:dst` or `src:dst:ro`. `.` is the source tree and makes `dst` the working directory; `./path` is a path in it; an absolute source needs a trusted project.", `[".:/src"]`, ""},
	{"entrypoint", roleAll, "arguments", "In place of the image's entrypoint. Text is split into words as a shell does. Not together with `commands`.", `[/bin/server]`, ""},
	{"command", roleAll, "arguments", "In place of the image's command. Text is split into words as a shell does. Not together with `commands`.", `serve --port 8080`, ""},
	{"links", roleIntegration | roleService, "links", "Services that are reached by a further name: `service` or `service:alias`.", `["postgres:db"]`, ""},
	{"ports", roleAll, "ports", "Ports, as Docker writes them.", `["8080:80"]`, ""},
	{"extra_hosts", roleAll, "extra_hosts", "Further names of hosts, as `host:address`.", `["db.example.com:10.0.0.5"]`, ""},
	{"dns", roleAll, "dns", "Addresses of name servers.", `[10.0.0.53]`, ""},
	{"privileged", roleAll, "bool", "Run with all capabilities; trusted projects only.", `true`, "false"},
	{"devices", roleAll, "devices", "Devices, as `host[:container[:rwm]]`; trusted projects only.", `[/dev/kvm]`, ""},
	{"mem_limit", roleAll, "size", "The most memory it may use, at least 6m.", `512m`, ""},
	{"cpus", roleAll, "number", "How many processors it may keep busy.", `1.5`, ""},
	{"cpuset", roleAll, "cpuset", "The processors it may run on.", `"0-2,4"`, ""},
	{"pull", roleAll, "pull", "When to pull the image. `true` is `always`, `false` is `missing`.", `always`, "missing"},
	{"auth_config", roleAll, "auth_config", "The login at this image's registry.", `{username: robot, password: "${REGISTRY_PASSWORD}"}`, ""},
	{"secrets", roleAll, "secrets", "Secrets of the project that it gets as variables: a list of names, or a map `VARIABLE: secret`. The only way they reach it.", `[REGISTRY_PASSWORD]`, ""},
	{"timeout", roleStage, "duration", "The step is stopped when it takes longer, and the event ends as `timeout`.", `10m`, ""},
	{"retries", roleStage, "retries", "How often the step is run again when it fails.", `2`, "0"},
	{"allow_failure", roleStage, "bool", "A failure does not end the run; the stage is shown as failed but allowed.", `true`, "false"},
	{"when", roleStage, "when", "The step is skipped unless everything given here matches.", `{branch: [main, "release/*"]}`, ""},
	{"cache", roleStage, "cache", "Paths that are kept between the project's events; saved when the step succeeded.", `[.npm, /root/.cache/go-build]`, ""},
	{"artifacts", roleStage, "kept", "Files that are kept with the event, also when the step failed.", `["dist/*.tar.gz"]`, ""},
	{"reports", roleStage, "reports", "Files with test results: counted, shown, failing names in the summary.", `{junit: "reports/*.xml"}`, ""},
	{"context_dir", rolePreBuild, "inner_path", "With or without `dockerfile_name`: make the container from a Dockerfile in this folder, in place of `image`. Nothing is run when there are no commands.", `tools`, "."},
	{"dockerfile_name", rolePreBuild, "path", "The Dockerfile of the container, counted from `context_dir`.", `Dockerfile_build`, "Dockerfile"},
	{"outputs", rolePreBuild, "outputs", "What is copied out of the container once the commands succeeded: `path`, a pattern, or `from:to`.", `[bin/app, "/opt/lib/*.so:lib"]`, ""},
	{"services", roleIntegration, "services", "Containers that run beside the step and are reached by their names.", `{postgres: {image: "postgres:17"}}`, ""},
	{"wait_for", roleService, "wait_for", "When the service counts as ready, in place of its `HEALTHCHECK` or exposed ports.", `{port: 5432}`, ""},
}}

// buildPlace are the keys of a build.
var buildPlace = place{"build_step", "a build", []entry{
	{"context_dir", 0, "inner_path", "The folder that is the build context.", `publish`, "."},
	{"dockerfile_name", 0, "path", "The Dockerfile, counted from `context_dir`.", `Dockerfile_publish`, "Dockerfile"},
	{"image_name", 0, "image_name", "The image's name, without a tag. Without it the first build has the project's image name and any other `<project image>-<name>`.", `registry.example.com/team/app`, ""},
	{"build_args", 0, "environment", "Values for `ARG`. Everybody who has the image can read them.", `{VERSION: "${CYCLONE_VERSION}"}`, ""},
	{"target", 0, "template", "The stage of the Dockerfile to build.", `production`, ""},
	{"labels", 0, "environment", "Labels of the image.", `{org.opencontainers.image.revision: "${CYCLONE_COMMIT_SHA}"}`, ""},
	{"tags", 0, "tags", "Further tags, pushed only after `integration` passed.", `[latest]`, ""},
	{"push", 0, "bool", "`false` builds and does not push.", `false`, "true"},
	{"secrets", 0, "build_secrets", "Secrets for `RUN --mount=type=secret,id=...`: a list of names, or a map `id: secret`.", `{npmrc: npm-config}`, ""},
	{"pull", 0, "pull", "When to pull the base images.", `always`, "missing"},
	{"auth_config", 0, "auth_config", "The login at the registry of the base image.", `{username: robot, password: "${REGISTRY_PASSWORD}"}`, ""},
	{"timeout", 0, "duration", "The build is stopped when it takes longer, and the event ends as `timeout`.", `30m`, ""},
	{"retries", 0, "retries", "How often the build is done again when it fails.", `1`, "0"},
}}

// targetPlace are the keys of a target of deploy.
var targetPlace = place{"target", "a deploy target", []entry{
	{"cluster", 0, "kubernetes_name", "A cluster registered in Cyclone; required without `type`, with `type` only a name to show.", `production`, ""},
	{"namespace", 0, "kubernetes_name", "The namespace of the Deployment. Required.", `shop`, ""},
	{"deployment", 0, "kubernetes_name", "The Deployment to update. Required.", `web`, ""},
	{"containers", 0, "kubernetes_names", "The containers of the Deployment that get the image. Required.", `[web]`, ""},
	{"image", 0, "built_image", "Which image: `BUILT_IMAGE` is the first build's, `BUILT_IMAGE.<name>` that of a named build.", `BUILT_IMAGE.api`, "BUILT_IMAGE"},
	{"manifest", 0, "inner_path", "A file of the repository that creates the Deployment when it is missing.", `k8s/web.yml`, ""},
	{"timeout", 0, "duration", "How long the rollout may take.", `10m`, "5m"},
	{"rollback", 0, "bool", "`false` leaves a failed rollout as it is.", `false`, "true"},
	{"secrets", 0, "secrets", "Secrets that `${VARIABLE}` in this target may stand for: a list of names, or a map `VARIABLE: secret`.", `[KUBE_TOKEN]`, ""},
	{"type", 0, "target_type", "`kubernetes` reaches an API server that is not registered, by `host` and `token`.", `kubernetes`, ""},
	{"host", 0, "host", "The address of the API server. Required with `type`.", `https://203.0.113.10:6443`, ""},
	{"token", 0, "template", "The token for the API server. Required with `type`.", `"${KUBE_TOKEN}"`, ""},
	{"ca", 0, "template", "The authority that signed the server's certificate, PEM or base64 of it; the system's without it.", `"${KUBE_CA}"`, ""},
	{"insecure", 0, "bool", "`true` does not verify the server.", `true`, "false"},
}}

// authPlace are the keys of auth_config.
var authPlace = place{"auth_config_keys", "auth_config", []entry{
	{"username", 0, "template", "The user. Required.", `robot`, ""},
	{"password", 0, "template", "The password; better `${SECRET}` than clear text. Required.", `"${REGISTRY_PASSWORD}"`, ""},
}}

// whenPlace are the keys of when.
var whenPlace = place{"when_keys", "when", []entry{
	{"branch", 0, "globs", "Patterns of branches; those that begin with `!` exclude.", `[main, "release/*", "!release/old"]`, ""},
	{"tag", 0, "globs", "Patterns of tags.", `v*`, ""},
	{"event", 0, "event_kinds", "Kinds of events: " + "`" + strings.Join(eventKinds, "`, `") + "`.", `[push, tag]`, ""},
	{"paths", 0, "changed_paths", "Patterns of files: matches when the event changed one of them.", `["src/**", "!**/*.md"]`, ""},
}}

// waitPlace are the keys of wait_for.
var waitPlace = place{"wait_for_keys", "wait_for", []entry{
	{"port", 0, "port_number", "The port that must accept connections.", `8080`, ""},
	{"http", 0, "http_path", "A path that must answer with 2xx or 3xx at `port`.", `/healthz`, ""},
	{"timeout", 0, "duration", "How long to wait.", `2m`, "1m"},
}}

// reportsPlace are the keys of reports.
var reportsPlace = place{"reports_keys", "reports", []entry{
	{"junit", 0, "kept", "Files in JUnit's XML, below the working directory.", `["reports/**/*.xml"]`, ""},
}}

// places is the whole language.
var places = []place{stagePlace, stepPlace, buildPlace, targetPlace, authPlace, whenPlace, waitPlace, reportsPlace}

// of is the place with the keys of some roles only.
func (p place) of(r role) []entry {
	var out []entry
	for _, e := range p.keys {
		if e.in&r != 0 {
			out = append(out, e)
		}
	}
	return out
}
