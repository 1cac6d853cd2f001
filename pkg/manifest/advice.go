package manifest

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Places whose keys are known, as messages name them.
const (
	inFile   = "caicloud.yml"
	inStep   = "a step"
	inBuild  = "build"
	inTarget = "a deploy target"
	inAuth   = "auth_config"
)

// advised are keys of other tools and what to do instead.
type advised struct {
	place string
	keys  string // with blanks between them
	hint  string
}

// foreign are keys of other tools that have no counterpart of the same form,
// by the place where they are written.
var foreign = advise([]advised{
	{inFile, "version", "remove it; the language has no versions"},
	{inFile, "language sudo dist os", "remove it; what the commands need comes with the step's image"},
	{inFile, "stages stage steps jobs job pipeline workflows", "write the stages themselves at the beginning of a line: pre_build, build, integration, post_build, deploy"},
	{inFile, "variables env environment", "write it below a step as environment, or set the variables of the project"},
	{inFile, "on only except branches triggers trigger when", "the project's triggers say what starts events; `when` below a step limits that step"},
	{inFile, "before_script before_install install script", "write it below pre_build as commands, beside the image they run in"},
	{inFile, "after_script after_success after_failure", "write it below post_build as commands, beside the image they run in"},
	{inFile, "matrix strategy", "write one named step for each combination below a stage"},
	{inFile, "notify notification notifications email slack", "the project says who is notified"},
	{inFile, "include includes extends import imports", "share text within the file by anchors below a key that begins with x-"},
	{inFile, "clone checkout git", "remove it; the source is there before the first stage begins"},
	{inFile, "networks", "remove it; the containers of an event have a network of their own, where services are reached by name"},
	{inFile, "compose", "write it below integration as services"},
	{inFile, "name", "remove it; the project has the name"},
	{inFile, "caches", "write it below a step as cache"},
	{inFile, "concurrency parallel parallelism resource_class", "remove it; the stages run one after the other"},
	{inFile, "docker kubernetes k8s clusters", "write a list of targets below deploy"},
	{inFile, "timeout retries retry allow_failure interruptible", "write it below a step"},
	{inFile, "default defaults", "share text within the file by anchors below a key that begins with x-"},
	{inFile, "cron schedule schedules", "set a schedule in the project's triggers"},
	{inFile, "services service", "write it below integration"},
	{inFile, "image images", "write it below a stage, for instance pre_build: {image: \"golang:1.26\", commands: [make]}"},
	{inFile, "dockerfile docker_build publish push repo registry", "write it below build: context_dir or dockerfile_name say what is built"},
	{inStep, "net network network_mode networks", "remove it; the containers of an event have a network of their own, where services are reached by name"},
	{inStep, "working_dir workdir working_directory dir", `mount the source where the commands are to run: volumes: [".:/dir"]`},
	{inStep, "user", "remove it; the image says who runs the commands"},
	{inStep, "name", "a step's name is its key: below the stage write the name, and below that the keys"},
	{inStep, "depends_on needs dependencies requires", "remove it; named steps run in the order of the file, and services start before the commands"},
	{inStep, "only except if on rules condition branches", "write when: {branch: ..., tag: ..., event: ..., paths: ...}"},
	{inStep, "before_script install setup", "write it as the first of the commands"},
	{inStep, "after_script", "write it as the last of the commands, or below post_build"},
	{inStep, "restart", "remove it; retries of a step says how often it is run again"},
	{inStep, "detach detached background", "write what is to run beside the step below services of integration"},
	{inStep, "env_file environment_file", "read the file in the commands: . ./file"},
	{inStep, "cap_add cap_drop security_opt sysctls ulimits", "remove it; privileged: true gives all capabilities to steps of trusted projects"},
	{inStep, "tty stdin_open interactive container_name", "remove it; nobody is there to type, and containers are named by Cyclone"},
	{inStep, "parallel parallelism matrix", "write one named step for each; they run one after the other"},
	{inStep, "uses with plugin settings", "name an image and the commands to run in it"},
	{inStep, "memswap_limit mem_swappiness oom_kill_disable", "mem_limit bounds memory and swap together"},
	{inStep, "cpu_shares cpu_quota cpu_period", "cpus says how many processors it may keep busy"},
	{inStep, "shell", "remove it; commands run in the image's /bin/sh"},
	{inStep, "build", "in pre_build, write context_dir and dockerfile_name; images to push are written below the stage build"},
	{inStep, "variables vars", "write it as environment"},
	{inStep, "test_results junit", "write reports: {junit: ...}"},
	{inStep, "token tokens", "keep it as a secret of the project and name that in secrets"},
	{inStep, "shm_size tmpfs", "remove it; /dev/shm and temporary folders are the image's own"},
	{inStep, "expose exposes", "remove it; every port of a service can be reached from the other containers"},
	{inStep, "hostname domainname aliases", "a service is reached by its name; links gives it another"},
	{inStep, "healthcheck", "write wait_for: {port: ..., http: ..., timeout: ...} below the service"},
	{inStep, "store_artifacts upload_artifacts archive archives", "write it as artifacts"},
	{inBuild, "image repo repository", "image_name is the name of the image that is built; its base image is written in the Dockerfile"},
	{inBuild, "no_cache cache_from cache_to cache", "remove it; layers are kept between the project's events"},
	{inBuild, "registry", "write it in front of the name: image_name: registry.example.com/team/app"},
	{inBuild, "tag version", "the event has the version; further tags go to tags"},
	{inBuild, "platform platforms", "remove it; images are built for the platform of the worker"},
	{inBuild, "buildkit squash rm force_rm compress", "remove it; images are built by BuildKit"},
	{inBuild, "when allow_failure", "remove it; later stages use the image, so a build is never left out by itself"},
	{inBuild, "outputs artifacts", "write it below pre_build; build makes nothing but images"},
	{inBuild, "commands command entrypoint script", "write RUN in the Dockerfile, or commands below pre_build"},
	{inBuild, "environment env", "write build_args, or ENV in the Dockerfile"},
	{inBuild, "path dir directory folder", "write it as context_dir"},
	{inBuild, "volumes links services", "remove it; what the build needs is in context_dir, or copied there by outputs of pre_build"},
	{inBuild, "privileged devices mem_limit cpus cpuset dns extra_hosts ports", "remove it; builds are run by BuildKit"},
	{inTarget, "when branch only branches if", "name the stages in the project's trigger of that branch; a target is never left out by itself"},
	{inTarget, "container", "write it as containers, a list"},
	{inTarget, "name", "write it as deployment, the name of the Deployment"},
	{inTarget, "kubeconfig config context credentials", "register the cluster in Cyclone and name it as cluster, or write type: kubernetes with host and token"},
	{inTarget, "username user password auth_config", "write type: kubernetes with host and token, or register the cluster in Cyclone"},
	{inTarget, "server api_server url address", "write it as host, beside type: kubernetes"},
	{inTarget, "replicas strategy", "remove it; the Deployment says it"},
	{inTarget, "certificate certificate_authority ca_cert", "write it as ca"},
	{inTarget, "skip_tls_verify insecure_skip_tls_verify", "write it as insecure"},
	{inTarget, "service services pod pods statefulset", "only Deployments are updated; write deployment and containers"},
	{inTarget, "commands script", "remove it; commands that deploy are written below post_build"},
	{inTarget, "tag version", "remove it; containers get the image of this event by its digest"},
	{inTarget, "retries allow_failure", "remove it; a rollout that fails is rolled back, and the targets after it are left as they are"},
	{inTarget, "wait wait_for", "remove it; the rollout is always watched, at most as long as timeout says"},
	{inAuth, "email", "remove it; registries do not ask for it"},
	{inAuth, "token registry_token identity_token auth", "write it as password"},
	{inAuth, "user login name", "write it as username"},
	{inAuth, "pass secret", "write it as password"},
	{inAuth, "registry server serveraddress server_address url address", "remove it; the name of the image says which registry is meant"},
})

// advise makes a table by place and key.
func advise(rows []advised) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, r := range rows {
		if out[r.place] == nil {
			out[r.place] = map[string]string{}
		}
		for _, key := range strings.Fields(r.keys) {
			out[r.place][key] = r.hint
		}
	}
	return out
}

// unknown reports a key that nobody knows, with what was probably meant: a
// word of another tool, a key with another spelling, or a key that belongs
// elsewhere.
func (v value) unknown(where string, known []string) {
	v.title().errorf(v.advice(where, known), "is not a key of %s", where)
}

// advice is the hint for an unknown key.
func (v value) advice(where string, known []string) string {
	near := spelt(v.name, known)
	if hint := outside(v.name, where); hint != "" && near == "" {
		return hint
	}
	if near == "" {
		near = synonym(v.name, known)
	}
	small := where != inFile && where != inBuild && where != inTarget && roleOf(where) == 0
	if near == "" && small {
		near = suggest(v.name, known) // tags in when are tag, though build knows tags
	}
	if hint := home(v.name, where); hint != "" && near == "" {
		return hint
	}
	if near == "" {
		near = suggest(v.name, known)
	}
	if near == "" && where == inFile && v.node.Kind == yaml.MappingNode && v.holdsKeys() {
		return "steps have their names below a stage: pre_build: {" + clip(v.name) + ": {image: ..., commands: ...}}"
	}
	if near == "" {
		return "known keys: " + strings.Join(known, ", ")
	}
	v.respell(near, known)
	return fmt.Sprintf("did you mean %q?", near)
}

// outside says what to do with a key of other tools; "" for no such key.
func outside(name, where string) string {
	if roleOf(where) != 0 {
		where = inStep
	}
	return foreign[where][strings.ToLower(name)]
}

// roleOf is the role that a message names; 0 for none.
func roleOf(where string) role {
	if i := slices.Index(roleNames, where); i >= 0 {
		return 1 << i
	}
	return 0
}

// home says where a key belongs that is known elsewhere; "" for nowhere.
func home(name, where string) string {
	steps := rolesOf(name)
	switch {
	case where != inFile && slices.Contains(stageNames, name):
		return "it is a stage; write it at the beginning of a line"
	case steps != 0 && where == inFile:
		return "write it below a stage; it is a key of " + steps.names()
	case steps != 0 && (where == inBuild || where == inTarget || roleOf(where) != 0):
		return "it is a key of " + steps.names()
	case where != inBuild && buildPlace.has(name):
		return "it is a key of build"
	case where != inTarget && targetPlace.has(name):
		return "it is a key of a deploy target"
	case where != inAuth && authPlace.has(name):
		return "it is a key of auth_config"
	}
	return ""
}

// rolesOf are the roles in which a key of a step is allowed; none for others.
func rolesOf(name string) role {
	var out role
	for _, e := range stepPlace.keys {
		if e.name == name {
			out |= e.in
		}
	}
	return out
}

// has reports whether a place knows a key.
func (p place) has(name string) bool {
	return slices.ContainsFunc(p.keys, func(e entry) bool { return e.name == name })
}
