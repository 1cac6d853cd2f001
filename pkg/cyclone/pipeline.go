package cyclone

// Pipeline is a parsed caicloud.yml. Nothing past manifest ever sees YAML.
// A nil stage is absent from the file.
type Pipeline struct {
	PreBuild    []Step       `json:"preBuild,omitempty"`
	Build       []Build      `json:"build,omitempty"`
	Integration *Integration `json:"integration,omitempty"`
	PostBuild   []Step       `json:"postBuild,omitempty"`
	Deploy      []Target     `json:"deploy,omitempty"`
}

// Empty reports whether the pipeline does nothing.
func (p *Pipeline) Empty() bool {
	return len(p.PreBuild) == 0 && len(p.Build) == 0 && p.Integration == nil &&
		len(p.PostBuild) == 0 && len(p.Deploy) == 0
}

// BuiltImage in an image field stands for the image that this event built;
// BuiltImage + "." + name for a named build.
const BuiltImage = "BUILT_IMAGE"

// Step is one container run.
type Step struct {
	// Name is the stage's name for a lone step ("pre_build"), else its key in
	// the file; services are "integration/<name>".
	Name        string            `json:"name"`
	Image       string            `json:"image"`
	Commands    []string          `json:"commands,omitempty"`
	Environment []Variable        `json:"environment,omitempty"` // in file order
	Volumes     []Volume          `json:"volumes,omitempty"`
	Links       []Link            `json:"links,omitempty"`
	Entrypoint  []string          `json:"entrypoint,omitempty"`
	Command     []string          `json:"command,omitempty"`
	Ports       []string          `json:"ports,omitempty"`
	ExtraHosts  []string          `json:"extraHosts,omitempty"`
	DNS         []string          `json:"dns,omitempty"`
	Privileged  bool              `json:"privileged,omitempty"`
	Devices     []string          `json:"devices,omitempty"`
	Memory      Size              `json:"memory,omitempty"`
	CPUs        float64           `json:"cpus,omitempty"`
	CPUSet      string            `json:"cpuset,omitempty"`
	Pull        PullPolicy        `json:"pull,omitempty"`
	Auth        *RegistryAuth     `json:"auth,omitempty"`
	Secrets     map[string]string `json:"secrets,omitempty"` // variable -> project secret

	Timeout      Duration `json:"timeout,omitempty"`
	Retries      int      `json:"retries,omitempty"`
	AllowFailure bool     `json:"allowFailure,omitempty"`
	When         *Match   `json:"when,omitempty"`

	// Cache are paths in the container that are kept between the project's
	// events; relative ones are below the working directory.
	Cache []string `json:"cache,omitempty"`
	// Artifacts are globs of files that are kept with the event; relative ones
	// are below the working directory.
	Artifacts []string `json:"artifacts,omitempty"`
	Reports   *Reports `json:"reports,omitempty"`

	// ContextDir and Dockerfile: the container is made from this Dockerfile
	// instead of Image (pre_build only).
	ContextDir string   `json:"contextDir,omitempty"`
	Dockerfile string   `json:"dockerfile,omitempty"`
	Outputs    []string `json:"outputs,omitempty"` // "path", "glob" or "from:to"
	WaitFor    *WaitFor `json:"waitFor,omitempty"` // services only

	Line int `json:"line"` // in the file
}

// Reports names the files in which a step leaves what its tests found.
type Reports struct {
	JUnit []string `json:"junit,omitempty"` // globs, below the working directory
}

// Variable is one environment variable.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Volume mounts Source (".", "./x" in the source tree, or an absolute path of
// the worker for trusted projects) at Target.
type Volume struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Link makes a service reachable as Alias too.
type Link struct {
	Service string `json:"service"`
	Alias   string `json:"alias"`
}

// PullPolicy says when an image is pulled.
type PullPolicy string

// The pull policies; empty means PullMissing.
const (
	PullMissing PullPolicy = "missing"
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
)

// Match limits a step to some events. Lists are globs; ! excludes.
type Match struct {
	Branch []string `json:"branch,omitempty"`
	Tag    []string `json:"tag,omitempty"`
	Event  []string `json:"event,omitempty"`
	Paths  []string `json:"paths,omitempty"`
}

// WaitFor says when a service is ready.
type WaitFor struct {
	Port    int      `json:"port,omitempty"`
	HTTP    string   `json:"http,omitempty"` // path on Port
	Timeout Duration `json:"timeout,omitempty"`
}

// Build is one image to build.
type Build struct {
	Name       string            `json:"name"` // "build" for a lone one
	ContextDir string            `json:"contextDir"`
	Dockerfile string            `json:"dockerfile"` // within ContextDir
	ImageName  string            `json:"imageName,omitempty"`
	Args       map[string]string `json:"args,omitempty"`
	Target     string            `json:"target,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Tags       []string          `json:"tags,omitempty"` // pushed only after integration passed
	NoPush     bool              `json:"noPush,omitempty"`
	Pull       PullPolicy        `json:"pull,omitempty"`
	Auth       *RegistryAuth     `json:"auth,omitempty"`
	Secrets    map[string]string `json:"secrets,omitempty"`
	Timeout    Duration          `json:"timeout,omitempty"`
	Retries    int               `json:"retries,omitempty"`
	Line       int               `json:"line"`
}

// Integration is the test container and the services it needs.
type Integration struct {
	Step
	Services []Step `json:"services,omitempty"` // in file order
}

// Target is one Deployment to roll the built image out to.
type Target struct {
	Type       string   `json:"type,omitempty"` // kubernetes, or empty for a registered cluster
	Host       string   `json:"host,omitempty"`
	Token      string   `json:"token,omitempty"`
	CA         string   `json:"ca,omitempty"` // PEM, or base64 of it
	Insecure   bool     `json:"insecure,omitempty"`
	Cluster    string   `json:"cluster"`
	Namespace  string   `json:"namespace"`
	Deployment string   `json:"deployment"`
	Containers []string `json:"containers"`
	Image      string   `json:"image,omitempty"`    // BuiltImage by default
	Manifest   string   `json:"manifest,omitempty"` // creates a missing Deployment
	Timeout    Duration `json:"timeout,omitempty"`  // 5m by default
	NoRollback bool     `json:"noRollback,omitempty"`
	Line       int      `json:"line"`

	// Secrets are those that ${NAME} may name in the target: variable ->
	// project secret. Nothing of them is given to the cluster.
	Secrets map[string]string `json:"secrets,omitempty"`
}

// Severity of a Problem: an error stops the event, a warning does not.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Problem is one thing that is wrong with a caicloud.yml.
type Problem struct {
	// File is the path in the repository; empty where one file is looked at
	// that has no name (lint).
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line"`   // from 1
	Column   int      `json:"column"` // from 1, in characters
	Path     string   `json:"path"`   // of the key: "pre_build.volumes"
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint"` // what to write instead
}
