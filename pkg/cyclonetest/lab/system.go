package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// System is a registry, a git server, a mailbox and a Cyclone server that know
// each other: all that an event needs but a Kubernetes API server.
type System struct {
	Bridge   string // address that worker containers reach this machine by
	Registry *Registry
	Git      *Git
	Mail     *Mailbox
	Server   *Server

	dir string
}

// SystemOptions says how a system is started.
type SystemOptions struct {
	Bin   string // folder of the programs
	Cache string // folder that outlives the system, for the registry's images
	// Images go into the registry before anything starts:
	// "cyclone/golang:demo" -> "library/golang:1.26".
	Images map[string]string
	Env    map[string]string // further settings of the server
	Log    io.Writer         // the server's own log; may be nil
	Say    func(format string, args ...any)
}

// BaseImages are what scripts/images.sh example makes, under the names by
// which caicloud.yml files know them.
var BaseImages = map[string]string{
	"cyclone/busybox:demo":  "library/busybox:1",
	"cyclone/golang:demo":   "library/golang:1.26",
	"cyclone/postgres:demo": "library/postgres:17",
}

// StartSystem starts everything. Stop must be called, also after an error.
func StartSystem(ctx context.Context, o SystemOptions) (*System, error) {
	s := &System{}
	var err error
	if s.dir, err = os.MkdirTemp("", "cyclone-lab-"); err != nil {
		return s, fmt.Errorf("make a folder: %w", err)
	}
	if s.Bridge, err = BridgeAddress(ctx); err != nil {
		return s, err
	}
	if s.Registry, err = StartRegistry(ctx, RegistryOptions{Bind: s.Bridge, Dir: filepath.Join(o.Cache, "registry")}); err != nil {
		return s, err
	}
	if err := s.Registry.UploadNew(ctx, o.Images, o.Say); err != nil {
		return s, err
	}
	if s.Git, err = StartGit(s.Bridge, filepath.Join(s.dir)); err != nil {
		return s, err
	}
	if s.Mail, err = StartMailbox(); err != nil {
		return s, err
	}
	s.Server, err = StartServer(ctx, ServerOptions{Bin: o.Bin, Dir: filepath.Join(s.dir, "data"), Env: merged(s.Env(), o.Env), Log: o.Log})
	return s, err
}

// Env are the settings by which a server works with the parts of the system.
func (s *System) Env() map[string]string {
	return map[string]string{
		"CYCLONE_REGISTRY": s.Registry.Addr, "CYCLONE_REGISTRY_MIRROR": "http://" + s.Registry.Addr, "CYCLONE_INSECURE_REGISTRIES": s.Registry.Addr,
		"CYCLONE_SMTP_HOST": "127.0.0.1", "CYCLONE_SMTP_PORT": fmt.Sprint(s.Mail.Port()), "CYCLONE_SMTP_TLS": "none", "CYCLONE_SMTP_FROM": "Cyclone <cyclone@example.com>",
	}
}

func merged(a, b map[string]string) map[string]string {
	for name, value := range b {
		a[name] = value
	}
	return a
}

// Stop ends everything and removes what it kept on disk, but the cache.
func (s *System) Stop() error {
	var left error
	if s.Server != nil && s.Server.process != nil {
		s.Server.Stop()
		left = s.Server.RemoveCaches()
	}
	if s.Mail != nil {
		s.Mail.Stop()
	}
	if s.Git != nil {
		s.Git.Stop()
	}
	if s.Registry != nil && s.Registry.process != nil {
		s.Registry.Stop()
	}
	if s.dir == "" {
		return left
	}
	return errors.Join(left, os.RemoveAll(s.dir))
}

// Refused is an address of the bridge on which nobody listens.
func (s *System) Refused() (string, error) {
	l, err := net.Listen("tcp", s.Bridge+":0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// LeftoversOf lists what carries the label of one event on the machine's
// engine: containers, networks and volumes.
func LeftoversOf(ctx context.Context, event string) ([]string, error) {
	label := cyclone.LabelEvent + "=" + event
	var found []string
	var failed error
	for _, args := range [][]string{
		{"ps", "-a", "--filter", "label=" + label, "--format", "container {{.ID}} {{.Names}}"},
		{"network", "ls", "--filter", "label=" + label, "--format", "network {{.Name}}"},
		{"volume", "ls", "--filter", "label=" + label, "--format", "volume {{.Name}}"},
	} {
		out, err := exec.CommandContext(ctx, "docker", args...).Output()
		failed = errors.Join(failed, stderrOf(err))
		for line := range strings.Lines(string(out)) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found, failed
}

// Gone waits until nothing of an event is left on the machine's engine: the
// release of a worker follows the result, so it may still be under way.
func Gone(ctx context.Context, event string) error {
	for {
		left, err := LeftoversOf(ctx, event)
		if err == nil && len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("left behind: %s", strings.Join(left, ", ")), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
