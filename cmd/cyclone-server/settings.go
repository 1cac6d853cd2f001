package main

import (
	"io"

	"cyclone/pkg/config"
	"cyclone/pkg/cyclone"
)

// settings is everything an operator can say; docs/configuration.md
// says what each means.
type settings struct {
	listen, externalURL string
	corsOrigins         []string
	store               string
	adminToken          string
	encryptionKey       []byte

	node             string
	nodeName         string
	workerImage      string
	workerBinary     string
	workerPrivileged string
	workers          int
	workerServerURL  string
	workerCPUs       float64
	workerMemory     cyclone.Size
	minFreeDisk      cyclone.Size
	dockerHost       string

	timeout, timeoutMax, pendingTimeout cyclone.Duration
	userConcurrency                     int
	logLimit, artifactLimit             cyclone.Size

	cache                  string
	cacheLimit, cacheTotal cyclone.Size

	keep cyclone.Retention

	registry, registryUsername, registryPassword string
	registryMirror                               string
	insecureRegistries                           []string

	smtpHost, smtpUsername, smtpPassword, smtpFrom, smtpTLS string
	smtpPort                                                int

	githubOAuth, gitlabOAuth oauthApp

	logLevel, logFormat string
}

// oauthApp is an application that was registered at a forge.
type oauthApp struct{ url, id, secret string }

// read fills s from flags and environment; its error names every wrong value.
func (s *settings) read(args []string, lookup func(string) (string, bool), out io.Writer) error {
	set := &config.Set{Program: "cyclone-server", Lookup: lookup}
	s.server(set)
	s.worker(set)
	s.limits(set)
	s.caches(set)
	s.retention(set)
	s.registries(set)
	s.forges(set)
	s.mail(set)
	set.Check(s.consistent)
	return set.Parse(args, out)
}

func (s *settings) server(set *config.Set) {
	set.Text(&s.listen, "listen", ":7099", "address of the HTTP interface")
	set.Var("external-url", "", "how people and forges reach this server, for links (default: from --listen)", absoluteURL(&s.externalURL))
	set.Var("cors-origins", "", "web applications on other origins that may use the API (several: with commas)", s.readOrigins)
	set.Var("store", "embedded:./data", "embedded:<folder> or a mongodb:// URI", s.readStore)
	set.Secret(&s.adminToken, "admin-token", "the first administrator's token (made and printed once without it)")
	set.Var("encryption-key", "", "32 bytes in base64 that encrypt stored credentials (embedded store: made and kept in the folder)", s.readKey)
	set.Choice(&s.logLevel, "log-level", "least severe messages to log", "info", "debug", "warn", "error")
	set.Choice(&s.logFormat, "log-format", "form of the log", "text", "json")
}

func (s *settings) worker(set *config.Set) {
	set.Var("node", "docker", "where workers run (docker, process)", s.readNode)
	set.Var("node-name", "local", "name of that place; servers that share an engine give it the same name, others their own", s.readNodeName)
	set.Text(&s.workerImage, "worker-image", "cyclone-worker:dev", "image of the worker (--node docker)")
	set.Text(&s.workerBinary, "worker-binary", "", "cyclone-worker's path (--node process; default: beside this program)")
	set.Choice(&s.workerPrivileged, "worker-privileged", "run worker containers privileged; auto finds out", "auto", "true", "false")
	set.Int(&s.workers, "workers", 2, 0, "events handled at once; 0 accepts and queues only")
	set.Var("warm-workers", "0", "workers started ahead of events; this version knows only 0", noWarmWorkers)
	set.Var("worker-server-url", "", "how workers reach this server (default: a unix socket in the worker)", workerURL(&s.workerServerURL))
	set.Number(&s.workerCPUs, "worker-cpus", "CPUs of a worker when its project does not say, for instance 1.5 (default: no limit)")
	set.Size(&s.workerMemory, "worker-memory", "", "memory of a worker when its project does not say, for instance 4g (default: no limit)")
	set.Size(&s.minFreeDisk, "min-free-disk", "2g", "free space that a node needs to take work; 0 is no limit")
	set.Var("docker-host", "unix:///var/run/docker.sock", "Docker engine that runs the workers", s.readDockerHost)
}

func (s *settings) limits(set *config.Set) {
	set.Duration(&s.timeout, "timeout", "1h", "how long an event may run when its project does not say")
	set.Duration(&s.timeoutMax, "timeout-max", "24h", "how long an event may run whatever its project says; 0s is no limit")
	set.Duration(&s.pendingTimeout, "pending-timeout", "24h", "how long an event may wait for a worker; 0s is no limit")
	set.Int(&s.userConcurrency, "user-concurrency", 0, 0, "events of one owner's projects that run at once; 0 is no limit")
	set.Size(&s.logLimit, "log-limit", "1g", "size of an event's log; of a longer one head and tail are kept, 0 is no limit")
	set.Size(&s.artifactLimit, "artifact-limit", "1g", "size of all artifacts, reports and outputs kept with an event; 0 is no limit")
}

func (s *settings) caches(set *config.Set) {
	set.Choice(&s.cache, "cache", "keep images, layers and the paths of cache on the node between a project's events", "on", "off")
	set.Size(&s.cacheLimit, "cache-limit", "10g", "size of each of a project's caches on a node; what was not used for longest goes first, 0 is no limit")
	set.Size(&s.cacheTotal, "cache-total", "50g", "size of all caches on a node; 0 is no limit")
}

func (s *settings) retention(set *config.Set) {
	s.keep = cyclone.Retention{Minimum: new(int)}
	set.Var("keep-events", "forever", "how long final events are kept, by age or number per project: 365d, 5000, \"365d,5000\" or forever", keepAs(&s.keep.Events))
	set.Var("keep-logs", "forever", "the same for their logs", keepAs(&s.keep.Logs))
	set.Var("keep-artifacts", "30d", "the same for artifacts, reports and outputs", keepAs(&s.keep.Files))
	set.Var("keep-deliveries", "30d", "the same for webhook deliveries", keepAs(&s.keep.Deliveries))
	set.Int(s.keep.Minimum, "keep-minimum", 10, 0, "newest of each that are kept whatever their age")
}

func (s *settings) registries(set *config.Set) {
	set.Var("registry", "", "registry and path that images go to when a project names none, for instance registry.example.com/team", s.readRegistry)
	set.Text(&s.registryUsername, "registry-username", "", "login at that registry")
	set.Secret(&s.registryPassword, "registry-password", "its password")
	set.Var("registry-mirror", "", "mirror of Docker Hub for workers", absoluteURL(&s.registryMirror))
	set.List(&s.insecureRegistries, "insecure-registries", "registries that workers may reach over plain HTTP or with unknown certificates")
}

func (s *settings) forges(set *config.Set) {
	for _, app := range []struct {
		to         *oauthApp
		name, home string
	}{{&s.githubOAuth, "github", "https://github.com"}, {&s.gitlabOAuth, "gitlab", "https://gitlab.com"}} {
		set.Text(&app.to.id, app.name+"-oauth-client-id", "", "client id of an OAuth app there, by which people connect their accounts")
		set.Secret(&app.to.secret, app.name+"-oauth-client-secret", "its client secret")
		set.Var(app.name+"-oauth-url", app.home, "the forge where that app is", absoluteURL(&app.to.url))
	}
}

func (s *settings) mail(set *config.Set) {
	set.Text(&s.smtpHost, "smtp-host", "", "mail server; without it no mail is sent")
	set.Var("smtp-port", "587", "its port", s.readPort)
	set.Text(&s.smtpUsername, "smtp-username", "", "login at the mail server")
	set.Secret(&s.smtpPassword, "smtp-password", "its password")
	set.Var("smtp-from", "", "sender, for instance Cyclone <ci@example.com>", s.readFrom)
	set.Choice(&s.smtpTLS, "smtp-tls", "encryption of mail", "starttls", "tls", "none")
}
