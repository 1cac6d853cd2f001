// Package kubetest starts a throw-away Kubernetes API for tests and for the
// demo: a real etcd, kube-apiserver and the workload controllers as child
// processes, from the one binary that scripts/kubeapi.sh builds, and a node
// that only pretends to run pods. Deployments roll out and fail as they do on
// a cluster; an image whose name contains "missing" never gets ready, one
// whose name contains "crashing" keeps crashing.
//
// It is not a cluster: no container is ever run.
package kubetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"cyclone/pkg/cyclone"
)

// Options says where and how to start.
type Options struct {
	// BindAddress is the IP address the API server listens on and has in its
	// certificate; 127.0.0.1 when empty. Give the address of Docker's bridge
	// to let containers reach it.
	BindAddress string
	// Dir is a folder for data, keys and logs; empty for a temporary one that
	// Stop removes.
	Dir string
	// Binary is the path that scripts/kubeapi.sh prints; empty to call it,
	// which builds the binary when it is not there yet: minutes, with progress
	// on stderr.
	Binary string
}

// Cluster is a running API server. Its methods are safe for concurrent use.
type Cluster struct {
	host, token string
	ca          []byte
	dir         string
	ownDir      bool
	client      kubernetes.Interface
	processes   []*process
	endNode     context.CancelFunc
	node        sync.WaitGroup
	stop        sync.Once
}

// startTimeout bounds the start once the binary is there; a few seconds are
// usual.
const startTimeout = 90 * time.Second

// Start starts everything and returns when the API is ready and the namespace
// "default" is usable. The cluster lives until Stop, or until this process
// ends in whatever way; ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.BindAddress == "" {
		o.BindAddress = "127.0.0.1"
	}
	if o.Binary == "" {
		binary, err := Binary(ctx, os.Stderr)
		if err != nil {
			return nil, err
		}
		o.Binary = binary
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// The ports are found free a moment before they are used, so another
	// process can be quicker: then everything starts anew.
	var failed error
	for range 3 {
		c, err := start(ctx, o)
		if err == nil {
			return c, nil
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil || !errors.Is(err, errEnded) {
			break
		}
	}
	return nil, fmt.Errorf("start test Kubernetes API: %w", failed)
}

func start(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{dir: o.Dir, token: rand.Text()}
	if c.dir == "" {
		dir, err := os.MkdirTemp("", "cyclone-kubetest-")
		if err != nil {
			return nil, err
		}
		c.dir, c.ownDir = dir, true
	}
	if err := c.bringUp(ctx, o); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) bringUp(ctx context.Context, o Options) error {
	ports, err := freePorts(o.BindAddress, 3)
	if err != nil {
		return err
	}
	c.host = "https://" + net.JoinHostPort(o.BindAddress, fmt.Sprint(ports[0]))
	files, err := c.writeFiles(o.BindAddress)
	if err != nil {
		return err
	}
	for _, p := range commands(o.BindAddress, ports, files) {
		if err := c.run(o.Binary, p); err != nil {
			return err
		}
	}
	if c.client, err = kubernetes.NewForConfig(c.Config()); err != nil {
		return err
	}
	if err := c.await(ctx, "the API server to be ready", c.ready); err != nil {
		return err
	}
	if err := c.run(o.Binary, controllers(files)); err != nil {
		return err
	}
	return c.usable(ctx)
}

// usable adds the node and waits for the namespace "default".
func (c *Cluster) usable(ctx context.Context) error {
	nodeCtx, end := context.WithCancel(context.WithoutCancel(ctx))
	c.endNode = end
	n := &node{client: c.client, name: "test"}
	if err := n.register(ctx); err != nil {
		return err
	}
	c.node.Go(func() { n.run(nodeCtx) })
	return c.await(ctx, "the namespace default", func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// ready asks the API server whether all its parts are up.
func (c *Cluster) ready(ctx context.Context) error {
	_, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

// await polls until probe succeeds, ctx ends or a process has died.
func (c *Cluster) await(ctx context.Context, what string, probe func(context.Context) error) error {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		for _, p := range c.processes {
			if p.ended() {
				return fmt.Errorf("%w: %s\n%s", errEnded, p.name, p.logTail())
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %v)", what, ctx.Err(), err)
		}
	}
}

// Stop kills the processes and returns when they are gone.
func (c *Cluster) Stop() {
	c.stop.Do(func() {
		if c.endNode != nil {
			c.endNode()
			c.node.Wait()
		}
		for _, p := range c.processes {
			p.kill()
		}
		if c.ownDir {
			_ = os.RemoveAll(c.dir) // a leftover in the temporary folder harms nobody
		}
	})
}

// Host is the API server's URL.
func (c *Cluster) Host() string { return c.host }

// Token is an administrator's token.
func (c *Cluster) Token() string { return c.token }

// CA is the certificate, in PEM, that vouches for the API server's.
func (c *Cluster) CA() string { return string(c.ca) }

// Access is the administrator's way in, as a deployment target has it.
func (c *Cluster) Access() cyclone.ClusterAccess {
	return cyclone.ClusterAccess{Host: c.host, Token: c.token, CA: c.CA()}
}

// Config is the administrator's way in for client-go.
func (c *Cluster) Config() *rest.Config {
	return &rest.Config{
		Host: c.host, BearerToken: c.token, QPS: 200, Burst: 400,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca},
	}
}

// Client is an administrator's client.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Kubeconfig is the path of a file that kubectl understands.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// Namespace makes a fresh namespace and returns its name once pods can be
// made in it. It is not removed: that takes long, and Stop forgets it anyway.
func (c *Cluster) Namespace(ctx context.Context) (string, error) {
	ns, err := c.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("create namespace: %w", err)
	}
	err = c.await(ctx, "the service account of "+ns.Name, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return ns.Name, err
}
