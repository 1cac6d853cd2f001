package cyclonetest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"cyclone/pkg/cyclone"
)

// Source is a cyclone.Cloner of one commit: its files by path. A content that
// begins with "-> " makes a symbolic link.
type Source struct {
	Commit cyclone.Commit
	Files  map[string]string
	Err    error
}

var _ cyclone.Cloner = (*Source)(nil)

// Clone implements cyclone.Cloner.
func (s *Source) Clone(ctx context.Context, spec cyclone.CloneSpec, out cyclone.Output) (cyclone.Commit, error) {
	if s.Err != nil {
		return cyclone.Commit{}, s.Err
	}
	if ctx.Err() != nil {
		return cyclone.Commit{}, context.Cause(ctx)
	}
	for name, content := range s.Files {
		p := filepath.Join(spec.Dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
			return cyclone.Commit{}, err
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, p); err != nil {
				return cyclone.Commit{}, err
			}
			continue
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			return cyclone.Commit{}, err
		}
	}
	out.Write(cyclone.Stderr, []byte("HEAD is now at "+s.Commit.SHA+"\n"))
	return s.Commit, nil
}

// Cluster is a cyclone.Deployer that notes its rollouts.
type Cluster struct {
	// Err is what every rollout ends with, Status what it then says.
	Err    error
	Status cyclone.Status

	mu       sync.Mutex
	rollouts []cyclone.Rollout
}

var _ cyclone.Deployer = (*Cluster)(nil)

// Rollouts are those that were asked for, in order.
func (c *Cluster) Rollouts() []cyclone.Rollout {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]cyclone.Rollout(nil), c.rollouts...)
}

// Deploy implements cyclone.Deployer.
func (c *Cluster) Deploy(_ context.Context, r cyclone.Rollout, out io.Writer) (cyclone.Deployment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rollouts = append(c.rollouts, r)
	d := cyclone.Deployment{
		Cluster: r.Cluster, Namespace: r.Namespace, Deployment: r.Deployment, Containers: r.Containers,
		Image: r.Image, Status: cyclone.StatusSuccess,
	}
	if c.Err != nil {
		d.Status, d.Error = c.Status, c.Err.Error()
		return d, c.Err
	}
	_, err := fmt.Fprintf(out, "Deployment %s has rolled out\n", r.Deployment)
	return d, err
}
