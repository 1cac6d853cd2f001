package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclonetest/kubetest"
)

//go:embed hand.sh
var handScript string

const workerImage = "cyclone-worker:dev"

// hand runs the script.
type hand struct {
	docker   []string // arguments of docker run but for the commit
	image    string
	dir      string
	buildkit bool
}

// newHand prepares what the script's container is started with.
func (b *bench) newHand(ctx context.Context, cluster *kubetest.Cluster, p *project) (*hand, error) {
	docker, buildkit, err := client(ctx)
	if err != nil {
		return nil, err
	}
	h := &hand{image: b.system.Registry.Addr + "/hand-shop", buildkit: buildkit}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if h.dir, err = os.MkdirTemp("", "cyclone-bench-"); err != nil {
		return nil, err
	}
	script := filepath.Join(h.dir, "hand.sh")
	if err := os.WriteFile(script, []byte(handScript), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(h.dir))
	}
	access := cluster.Access()
	h.docker = append([]string{"run", "--rm", "--name", "cyclone-bench-hand", "--entrypoint", "/bin/sh", "-v", "/var/lib/docker"}, rights(ctx)...)
	for from, to := range map[string]string{docker: "/usr/bin/docker", self: "/bench/bench", script: "/bench/hand.sh"} {
		h.docker = append(h.docker, "-v", from+":"+to+":ro")
	}
	for name, value := range map[string]string{
		"URL": p.url, "REGISTRY": b.system.Registry.Addr, "NAMESPACE": "hand", "DOCKER_BUILDKIT": map[bool]string{true: "1", false: "0"}[buildkit],
		"KUBE_HOST": access.Host, "KUBE_TOKEN": access.Token, "KUBE_CA": access.CA,
	} {
		h.docker = append(h.docker, "-e", name+"="+value)
	}
	return h, nil
}

func (h *hand) remove() { _ = os.RemoveAll(h.dir) } // a temporary folder

// client is the docker client for the script: one on the PATH that builds with
// BuildKit by itself, which those up to 20.10 do (later ones need a plugin),
// else the first one.
func client(ctx context.Context) (path string, buildkit bool, err error) {
	first, err := exec.LookPath("docker")
	if err != nil {
		return "", false, err
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, "docker")
		out, err := exec.CommandContext(ctx, path, "version", "--format", "{{.Client.Version}}").Output()
		if err != nil {
			continue // not there
		}
		major, _, _ := strings.Cut(strings.TrimSpace(string(out)), ".")
		if n, err := strconv.Atoi(major); err == nil && n <= 20 {
			path, err = filepath.EvalSymlinks(path)
			return path, true, err
		}
	}
	first, err = filepath.EvalSymlinks(first)
	return first, false, err
}

// rights are those that the launcher gives a worker on this host.
func rights(ctx context.Context) []string {
	if exec.CommandContext(ctx, "docker", "run", "--rm", "--privileged", "--entrypoint", "/bin/true", workerImage).Run() == nil {
		return []string{"--privileged"}
	}
	return []string{
		"--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--security-opt", "systempaths=unconfined", "-v", "/sys/fs/cgroup:/sys/fs/cgroup",
	}
}

// run runs the script on a commit and returns when its parts began, in seconds
// from the start of its container; the last is the end, and removing the
// container comes after that.
func (h *hand) run(ctx context.Context, sha string) (begins, error) {
	args := append(append([]string{}, h.docker...), "-e", "SHA="+sha, "-e", "IMAGE="+h.image+":ci-"+sha[:7], workerImage, "/bench/hand.sh")
	cmd := exec.CommandContext(ctx, "docker", args...)
	// Killing the client would leave the container.
	cmd.Cancel = func() error { return exec.Command("docker", "rm", "-f", "-v", "cyclone-bench-hand").Run() }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	parts := begins{}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if part, ok := strings.CutPrefix(lines.Text(), "== "); ok {
			parts[part] = time.Since(begun).Seconds()
		}
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("the script by hand: %w:\n%s%s", err, said.String(), complaints.String())
	}
	if !strings.Contains(said.String(), "PASS: TestIntegration") || parts["end"] == 0 {
		return nil, fmt.Errorf("the script by hand did not do everything:\n%s", said.String())
	}
	return parts, nil
}
