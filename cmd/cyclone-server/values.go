package main

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/client"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/retention"
	"cyclone/pkg/seal"
)

// This file reads single values and says how they fit together. A secret is
// never quoted.

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

func (s *settings) readKey(text string) (err error) {
	s.encryptionKey, err = seal.ParseKey(text)
	return err
}

func (s *settings) readOrigins(text string) error {
	s.corsOrigins = nil
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		var origin string
		if err := absoluteURL(&origin)(part); err != nil {
			return err
		}
		// Browsers send nothing behind the host, so more would never match.
		if u, err := url.Parse(origin); err != nil || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("%q is more than an origin; write for instance https://ci.example.com", part)
		}
		s.corsOrigins = append(s.corsOrigins, origin)
	}
	return nil
}

func (s *settings) readNode(text string) error {
	switch text {
	case "docker", "process":
		s.node = text
		return nil
	case "kubernetes":
		return errors.New(`"kubernetes" is not supported by this version yet; use docker or process`)
	}
	return fmt.Errorf("%q is none of docker, process", text)
}

func (s *settings) readNodeName(text string) error {
	if !cyclone.ValidName(text) {
		return fmt.Errorf("%q is not a name; use lower case letters, digits and . _ - between them, at most 40", text)
	}
	s.nodeName = text
	return nil
}

// keepAs reads how long something is kept.
func keepAs(to **cyclone.Keep) func(string) error {
	return func(text string) (err error) {
		*to, err = retention.ParseKeep(text)
		return err
	}
}

func noWarmWorkers(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n != 0 {
		return fmt.Errorf("%q: workers kept warm are not supported by this version yet; leave it at 0", text)
	}
	return nil
}

func (s *settings) readDockerHost(text string) error {
	if u, err := client.ParseHostURL(text); err != nil || !slices.Contains([]string{"unix", "tcp", "http", "https"}, u.Scheme) {
		return fmt.Errorf("%q is not the address of an engine; write for instance unix:///var/run/docker.sock or tcp://10.0.0.5:2375", text)
	}
	s.dockerHost = text
	return nil
}

// imageName is a registry's host and port with a path: what an image's name
// may begin with.
var imageName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

func (s *settings) readRegistry(text string) error {
	text = strings.TrimSuffix(text, "/")
	if !imageName.MatchString(text) {
		return fmt.Errorf("%q is not a registry; write host[:port][/path] without https://, for instance registry.example.com/team", text)
	}
	s.registry = text
	return nil
}

func (s *settings) readPort(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is not a port; write a number from 1 to 65535", text)
	}
	s.smtpPort = int(n)
	return nil
}

func (s *settings) readFrom(text string) error {
	if _, err := mail.ParseAddress(text); err != nil {
		return fmt.Errorf("%q is not a mail address; write for instance Cyclone <ci@example.com>", text)
	}
	s.smtpFrom = text
	return nil
}

// consistent tells of values that are right alone and wrong together.
func (s *settings) consistent() error {
	var wrong []error
	if s.folder() == "" && s.encryptionKey == nil {
		wrong = append(wrong, errors.New("encryption-key: is needed with MongoDB, the same for all servers of the installation; make one with: openssl rand -base64 32"))
	}
	if s.node == "docker" && strings.HasPrefix(s.workerServerURL, "unix:") {
		wrong = append(wrong, errors.New("worker-server-url: a worker's container has no such socket; leave it empty for the server's own, or write an http:// or https:// URL"))
	}
	if s.timeoutMax > 0 && s.timeout > s.timeoutMax {
		wrong = append(wrong, fmt.Errorf("timeout: %s is more than timeout-max, %s", s.timeout, s.timeoutMax))
	}
	if s.registryUsername != "" && (s.registry == "" || s.registryPassword == "") {
		wrong = append(wrong, errors.New("registry-username: needs registry and registry-password beside it"))
	}
	if s.smtpHost != "" && s.smtpFrom == "" {
		wrong = append(wrong, errors.New("smtp-from: is needed with smtp-host: who sends the mail?"))
	}
	wrong = append(wrong, s.oauthProblems()...)
	return errors.Join(wrong...)
}

// oauthProblems tells what lacks for people to come back from a forge.
func (s *settings) oauthProblems() []error {
	var wrong []error
	for _, app := range []struct {
		name string
		oauthApp
	}{{"github", s.githubOAuth}, {"gitlab", s.gitlabOAuth}} {
		if (app.id == "") != (app.secret == "") {
			wrong = append(wrong, fmt.Errorf("%s-oauth-client-id: needs %s-oauth-client-secret beside it, and the other way round", app.name, app.name))
		}
		if app.id != "" && s.externalURL == "" {
			wrong = append(wrong, fmt.Errorf("%s-oauth-client-id: needs external-url, to which the forge sends people back", app.name))
		}
	}
	return wrong
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
