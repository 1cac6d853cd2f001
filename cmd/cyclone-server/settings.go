package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

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
	workerImage      string
	workerBinary     string
	workerPrivileged string
	workers          int
	warmWorkers      int
	workerServerURL  string
	workerCPUs       float64
	workerMemory     cyclone.Size
	timeout          cyclone.Duration
	dockerHost       string

	registry, registryUsername, registryPassword string
	registryMirror                               string
	insecureRegistries                           []string

	smtpHost, smtpUsername, smtpPassword, smtpFrom, smtpTLS string
	smtpPort                                                int

	logLevel, logFormat string
}

// read fills s from flags and environment; its error names every wrong value.
func (s *settings) read(args []string, lookup func(string) (string, bool), out io.Writer) error {
	set := &config.Set{Program: "cyclone-server", Lookup: lookup}
	s.server(set)
	s.worker(set)
	s.registries(set)
	s.mail(set)
	set.Check(s.consistent)
	return set.Parse(args, out)
}

func (s *settings) server(set *config.Set) {
	set.Text(&s.listen, "listen", ":7099", "address of the HTTP interface")
	set.Var("external-url", "", "how people and forges reach this server, for links (default: from --listen)", absoluteURL(&s.externalURL))
	set.List(&s.corsOrigins, "cors-origins", "web applications on other origins that may use the API")
	set.Var("store", "embedded:./data", "embedded:<folder> or a mongodb:// URI", s.readStore)
	set.Secret(&s.adminToken, "admin-token", "the first administrator's token (made and printed once without it)")
	set.Var("encryption-key", "", "32 bytes in base64 that encrypt stored credentials (embedded store: made and kept in the folder)", s.readKey)
	set.Choice(&s.logLevel, "log-level", "least severe messages to log", "info", "debug", "warn", "error")
	set.Choice(&s.logFormat, "log-format", "form of the log", "text", "json")
}

func (s *settings) worker(set *config.Set) {
	set.Choice(&s.node, "node", "where workers run", "docker", "process", "kubernetes")
	set.Text(&s.workerImage, "worker-image", "cyclone-worker:dev", "image of the worker (--node docker)")
	set.Text(&s.workerBinary, "worker-binary", "", "cyclone-worker's path (--node process; default: beside this program)")
	set.Choice(&s.workerPrivileged, "worker-privileged", "run worker containers privileged; auto finds out", "auto", "true", "false")
	set.Int(&s.workers, "workers", 2, 0, "events handled at once; 0 accepts and queues only")
	set.Int(&s.warmWorkers, "warm-workers", 0, 0, "workers started ahead of events")
	set.Var("worker-server-url", "", "how workers reach this server (default: a unix socket in the worker)", workerURL(&s.workerServerURL))
	set.Number(&s.workerCPUs, "worker-cpus", "CPUs of a worker when its project does not say, for instance 1.5 (default: no limit)")
	set.Size(&s.workerMemory, "worker-memory", "", "memory of a worker when its project does not say, for instance 4g (default: no limit)")
	set.Duration(&s.timeout, "timeout", "1h", "how long an event may run when its project does not say")
	set.Text(&s.dockerHost, "docker-host", "unix:///var/run/docker.sock", "Docker engine that runs the workers")
	set.Check(func() error {
		if s.node == "kubernetes" {
			return errors.New(`node: "kubernetes" is not supported by this version yet; use docker or process`)
		}
		if s.warmWorkers > 0 {
			return errors.New("warm-workers: workers kept warm are not supported by this version yet; leave it at 0")
		}
		return nil
	})
}

func (s *settings) registries(set *config.Set) {
	set.Text(&s.registry, "registry", "", "registry and path that images go to when a project names none, for instance registry.example.com/team")
	set.Text(&s.registryUsername, "registry-username", "", "login at that registry")
	set.Secret(&s.registryPassword, "registry-password", "its password")
	set.Var("registry-mirror", "", "mirror of Docker Hub for workers", absoluteURL(&s.registryMirror))
	set.List(&s.insecureRegistries, "insecure-registries", "registries that workers may reach over plain HTTP or with unknown certificates")
}

func (s *settings) mail(set *config.Set) {
	set.Text(&s.smtpHost, "smtp-host", "", "mail server; without it no mail is sent")
	set.Int(&s.smtpPort, "smtp-port", 587, 1, "its port")
	set.Text(&s.smtpUsername, "smtp-username", "", "login at the mail server")
	set.Secret(&s.smtpPassword, "smtp-password", "its password")
	set.Text(&s.smtpFrom, "smtp-from", "", "sender, for instance Cyclone <ci@example.com>")
	set.Choice(&s.smtpTLS, "smtp-tls", "encryption of mail", "starttls", "tls", "none")
	set.Check(func() error {
		if s.smtpHost != "" && s.smtpFrom == "" {
			return errors.New("smtp-from: is needed with smtp-host: who sends the mail?")
		}
		return nil
	})
}

func (s *settings) readStore(text string) error {
	folder, embedded := strings.CutPrefix(text, "embedded:")
	switch {
	case embedded && folder == "":
		return errors.New(`"embedded:" lacks the folder; write for instance embedded:./data`)
	case !embedded && !strings.HasPrefix(text, "mongodb://") && !strings.HasPrefix(text, "mongodb+srv://"):
		return errors.New("is neither embedded:<folder> nor a mongodb:// URI")
	}
	s.store = text
	return nil
}

// folder is where the embedded store keeps its files; empty with MongoDB.
func (s *settings) folder() string {
	folder, embedded := strings.CutPrefix(s.store, "embedded:")
	if !embedded {
		return ""
	}
	return filepath.Clean(folder)
}

func (s *settings) readKey(text string) error {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != 32 {
		// The text is a secret: it is not quoted.
		return errors.New("is not 32 bytes in base64; make one with: head -c 32 /dev/urandom | base64")
	}
	s.encryptionKey = key
	return nil
}

func (s *settings) consistent() error {
	if s.folder() == "" && s.encryptionKey == nil {
		return errors.New("encryption-key: is needed with MongoDB, the same for all servers of the installation; make one with: head -c 32 /dev/urandom | base64")
	}
	return nil
}

func absoluteURL(to *string) func(string) error {
	return func(text string) error {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("%q is not an http:// or https:// URL", text)
		}
		*to = strings.TrimSuffix(text, "/")
		return nil
	}
}

func workerURL(to *string) func(string) error {
	return func(text string) error {
		if path, ok := strings.CutPrefix(text, "unix://"); ok {
			if !filepath.IsAbs(path) {
				return fmt.Errorf("%q: the socket's path must be absolute", text)
			}
			*to = text
			return nil
		}
		return absoluteURL(to)(text)
	}
}
