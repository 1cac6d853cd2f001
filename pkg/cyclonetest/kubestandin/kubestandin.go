// Package kubestandin stands in for a Kubernetes API server where the real
// one of kubetest is not built yet: an HTTPS server with token authentication
// that keeps Deployments, ReplicaSets, pods and what belongs to them in
// client-go's object tracker, and rolls Deployments out by itself. It says what
// it is: its version ends in "+cyclone-standin". An image whose name contains
// "missing" never gets ready.
//
// It is not Kubernetes: it validates little, knows no roles, no defaults but
// the number of replicas, and no progress deadline. Tests that matter run on
// the real one.
package kubestandin

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/testcert"
)

// Version is what the server answers at /version.
const Version = "v1.37.2+cyclone-standin"

// Options says where to listen.
type Options struct {
	// BindAddress is the IP address to listen on; 127.0.0.1 when empty.
	BindAddress string
	// Log receives failures of the HTTP server; nil discards them.
	Log *slog.Logger
}

// Server is a running stand-in. Its methods are safe for concurrent use.
type Server struct {
	host, token string
	ca          []byte
	client      kubernetes.Interface
	http        *http.Server
	stop        context.CancelFunc
	running     sync.WaitGroup

	mu       sync.Mutex // held while objects are changed
	tracker  clienttesting.ObjectTracker
	versions int64
	changed  chan struct{} // wakes the controller
}

// Start starts a server with the namespace "default". It lives until Stop.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.BindAddress == "" {
		o.BindAddress = "127.0.0.1"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	made, err := testcert.New(o.BindAddress)
	if err != nil {
		return nil, fmt.Errorf("start Kubernetes stand-in: %w", err)
	}
	pair, err := tls.X509KeyPair(made.Cert, made.Key)
	if err != nil {
		return nil, fmt.Errorf("start Kubernetes stand-in: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(o.BindAddress, "0"))
	if err != nil {
		return nil, fmt.Errorf("start Kubernetes stand-in: %w", err)
	}
	s := &Server{
		host: "https://" + listener.Addr().String(), token: rand.Text(), ca: made.CA,
		tracker: clienttesting.NewObjectTracker(scheme.Scheme, scheme.Codecs.UniversalDecoder()),
		changed: make(chan struct{}, 1),
	}
	if s.client, err = kubernetes.NewForConfig(s.Config()); err != nil {
		return nil, errors.Join(fmt.Errorf("start Kubernetes stand-in: %w", err), listener.Close())
	}
	s.serve(context.WithoutCancel(ctx), tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	}), o.Log)
	if err := s.createNamespace("default"); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) serve(ctx context.Context, listener net.Listener, log *slog.Logger) {
	ctx, s.stop = context.WithCancel(ctx)
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.handle), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	s.running.Go(func() { s.control(ctx) })
	s.running.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("Kubernetes stand-in has ended", "error", err)
		}
	})
}

// Stop closes all connections and returns when nothing is left running.
func (s *Server) Stop() {
	s.stop()
	_ = s.http.Close() // what was open is to be cut off
	s.running.Wait()
}

// Host is the server's URL.
func (s *Server) Host() string { return s.host }

// Token is the one token that the server accepts.
func (s *Server) Token() string { return s.token }

// CA is the certificate, in PEM, that vouches for the server's.
func (s *Server) CA() string { return string(s.ca) }

// Access is the way in as a deployment target has it.
func (s *Server) Access() cyclone.ClusterAccess {
	return cyclone.ClusterAccess{Host: s.host, Token: s.token, CA: s.CA()}
}

// Config is the way in for client-go.
func (s *Server) Config() *rest.Config {
	return &rest.Config{
		Host: s.host, BearerToken: s.token, QPS: 200, Burst: 400,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.ca},
	}
}

// Client is a client of this server.
func (s *Server) Client() kubernetes.Interface { return s.client }

// Namespace makes a fresh namespace and returns its name.
func (s *Server) Namespace(context.Context) (string, error) {
	s.mu.Lock()
	s.versions++
	name := "test-" + strconv.FormatInt(s.versions, 36)
	s.mu.Unlock()
	return name, s.createNamespace(name)
}

func (s *Server) createNamespace(name string) error {
	_, err := s.create(resources["namespaces"], "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	return err
}
