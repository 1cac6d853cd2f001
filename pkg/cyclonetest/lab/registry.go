package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Registry is a real image registry (Debian's docker-registry) over plain HTTP.
type Registry struct {
	// Local is its address for the machine's own engine, Addr for workers.
	Local, Addr string

	dir     string
	process *process
	forward *Forward
}

// RegistryOptions says how a registry is started.
type RegistryOptions struct {
	Bind     string // address that workers reach
	Port     int    // 0: any
	Dir      string // where images are kept
	ReadOnly bool   // refuses every push
}

const registryConfig = `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: %t}}
http: {addr: %q}
`

// StartRegistry starts a registry and waits until it answers.
func StartRegistry(ctx context.Context, o RegistryOptions) (*Registry, error) {
	local, err := freeAddress("127.0.0.1", o.Port)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the registry's folder: %w", err)
	}
	file := filepath.Join(o.Dir, fmt.Sprintf("config-%t.yml", o.ReadOnly))
	if err := os.WriteFile(file, fmt.Appendf(nil, registryConfig, o.Dir, o.ReadOnly, local), 0o600); err != nil {
		return nil, fmt.Errorf("write the registry's configuration: %w", err)
	}
	r := &Registry{Local: local, dir: o.Dir}
	if r.process, err = startProcess("docker-registry", []string{"serve", file}, os.Environ(), nil); err != nil {
		return nil, err
	}
	if err := r.process.waitFor(ctx, "the registry", func() error { return answers(ctx, "http://"+local+"/v2/") }); err != nil {
		r.Stop()
		return nil, err
	}
	_, port, _ := net.SplitHostPort(local) // made by freeAddress
	if r.forward, err = StartForward(net.JoinHostPort(o.Bind, port), local); err != nil {
		r.Stop()
		return nil, err
	}
	r.Addr = r.forward.Addr()
	return r, nil
}

// Stop ends the registry; its images stay on disk.
func (r *Registry) Stop() {
	if r.forward != nil {
		r.forward.Stop()
	}
	r.process.stop()
}

// Upload pushes an image of the machine's engine as name ("library/golang:1.26").
func (r *Registry) Upload(ctx context.Context, image, name string) error {
	as := r.Local + "/" + name
	for _, args := range [][]string{{"tag", image, as}, {"push", "-q", as}, {"rmi", as}} {
		if out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("docker %v: %w: %s", args, err, out)
		}
	}
	return nil
}

// UploadNew brings images of the machine's engine ("cyclone/golang:demo" ->
// "library/golang:1.26") that the registry does not have in this form yet.
func (r *Registry) UploadNew(ctx context.Context, images map[string]string, say func(format string, args ...any)) error {
	for image, name := range images {
		id, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", image).Output()
		if err != nil {
			return fmt.Errorf("image %s is not there: %w", image, stderrOf(err))
		}
		mark := filepath.Join(r.dir, "uploaded-"+strings.NewReplacer("/", "_", ":", "_").Replace(name))
		if known, err := os.ReadFile(mark); err == nil && string(known) == string(id) {
			continue
		}
		say("pushing %s to the registry", name)
		if err := r.Upload(ctx, image, name); err != nil {
			return err
		}
		if err := os.WriteFile(mark, id, 0o600); err != nil {
			return fmt.Errorf("note what was uploaded: %w", err)
		}
	}
	return nil
}

// Digest asks the registry for the digest of repository:tag; empty when it has none.
func (r *Registry) Digest(ctx context.Context, repository, tag string) (string, error) {
	url := "http://" + r.Local + "/v2/" + repository + "/manifests/" + tag
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask the registry for %s:%s: %w", repository, tag, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return "", nil
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask the registry for %s:%s: %s", repository, tag, answer.Status)
	}
	return answer.Header.Get("Docker-Content-Digest"), nil
}

// answers reports an error unless a GET of the URL is answered with success.
func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body) // only so that the connection is used again
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return nil
}

// freeAddress asks the kernel for a free port and releases it at once.
func freeAddress(host string, port int) (string, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
