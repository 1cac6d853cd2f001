package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"cyclone/pkg/cron"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/deploy/kubernetes"
	"cyclone/pkg/dispatch"
	enginedocker "cyclone/pkg/engine/docker"
	"cyclone/pkg/httpapi"
	launchdocker "cyclone/pkg/launch/docker"
	launchprocess "cyclone/pkg/launch/process"
	"cyclone/pkg/lead"
	"cyclone/pkg/livelog"
	"cyclone/pkg/metrics"
	"cyclone/pkg/notify/mail"
	"cyclone/pkg/poll"
	"cyclone/pkg/progress"
	"cyclone/pkg/retention"
	"cyclone/pkg/trigger"
)

// rooms are the parts of a server, put together.
type rooms struct {
	settings   *settings
	log        *slog.Logger
	socket     string // where workers connect, or empty
	metrics    *metrics.Metrics
	holder     string // of leases
	storeDisk  func(context.Context) (cyclone.Disk, error)
	trigger    *trigger.Trigger
	progress   *progress.Progress
	dispatcher *dispatch.Dispatcher
	retention  *retention.Retention
	cron       *cron.Cron
	poll       *poll.Poll
	api        *httpapi.Server
}

func build(s *settings, st *stores, in *installation, counts *metrics.Metrics, log *slog.Logger) (*rooms, error) {
	r := &rooms{settings: s, log: log, metrics: counts, holder: holder(s), storeDisk: st.disk}
	if err := r.chooseSocket(in.id); err != nil {
		return nil, err
	}
	launcher, err := r.chooseLauncher(in.id)
	if err != nil {
		return nil, err
	}
	if st.shared && s.workerServerURL == "" {
		log.Warn("workers will know no other server than this one; with several servers set worker-server-url to an address that leads to all of them")
	}
	wake := func() { r.dispatcher.Wake() }
	forges := hookDrivers()
	hub, connector := livelog.New(), r.connector(st, in)
	statuses := r.statuses(st, connector)
	comments := statuses.Comments()
	r.progress = &progress.Progress{
		Events: st.events, Queue: st.queue, Projects: st.projects, Secrets: st.secrets, Clusters: st.clusters, Logs: st.logs, Files: st.files,
		Sealer: in.sealer, Hub: hub, Launcher: launcher, Node: s.nodeName, Nodes: st.nodes,
		Mail: r.mail(st), Status: statuses, StatusWanted: statuses.Wanted, Comment: comments, CommentWanted: comments.Wanted, Credentials: connector,
		Engine:     cyclone.EngineConfig{RegistryMirror: s.registryMirror, InsecureRegistries: s.insecureRegistries},
		Registries: r.registries(), Timeout: time.Duration(s.timeout), MaxTimeout: time.Duration(s.timeoutMax),
		PendingTimeout: time.Duration(s.pendingTimeout), LogLimit: s.logLimit, FileLimit: s.artifactLimit, CacheLimit: s.cacheLimit, EventURL: r.eventURL,
		Lease: r.lease(st, "overdue"), Metrics: counts, Log: log, Now: time.Now, Wake: wake,
	}
	r.trigger = &trigger.Trigger{
		Projects: st.projects, Events: st.events, Files: st.files, Deliveries: st.deliveries, Forges: withPolled(forges), Progress: r.progress, Asks: connector,
		Registry: s.registry, Lease: r.lease(st, "deliveries"), StatusWanted: statuses.Wanted, Metrics: counts, Log: log, Now: time.Now,
		Wake: func() { wake(); r.progress.Kick() },
	}
	r.cron = &cron.Cron{Projects: st.projects, Marks: st.marks, Trigger: r.trigger, Lease: r.lease(st, "cron"), Metrics: counts, Log: log, Now: time.Now}
	r.poll = &poll.Poll{
		Projects: st.projects, Marks: st.marks, Deliveries: st.deliveries, Heads: connector.Heads, Credentials: connector,
		Lease: r.lease(st, "poll"), Metrics: counts, Log: log, Now: time.Now, Kick: r.trigger.Kick,
	}
	r.retention = &retention.Retention{
		Projects: st.projects, Events: st.events, Logs: st.logs, Files: st.files, Deliveries: st.deliveries, Defaults: s.keep,
		Lease: r.lease(st, "retention"), Metrics: counts, Log: log, Now: time.Now,
	}
	r.dispatcher = r.dispatch(st, launcher)
	r.api = &httpapi.Server{
		Projects: st.projects, Secrets: st.secrets, Clusters: st.clusters, Events: st.events, Queue: st.queue, Deliveries: st.deliveries,
		Logs: st.logs, Files: st.files, FileLimit: s.artifactLimit, Sealer: in.sealer, Live: hub, Trigger: r.trigger, Progress: r.progress, Forges: forges, Auth: in.admin,
		CheckCluster: (&kubernetes.Deployer{}).Check,
		Nodes:        st.nodes, Retention: r.retention, Metrics: counts, Census: st.census,
		Ready:   []httpapi.Check{{Name: "store", Run: st.ping}, {Name: "node " + s.nodeName, Run: r.dispatcher.Ready}},
		Version: httpapi.Version{Version: version, Commit: commit, Go: runtime.Version()},
		Wake:    wake, Connector: connector,
		Log: log, ExternalURL: s.external(), Registry: s.registry, Origins: s.corsOrigins,
	}
	return r, nil
}

// chooseSocket finds a place for the workers' unix socket: alone in a folder,
// with a path that is the same after a restart and fits a socket address.
func (r *rooms) chooseSocket(id string) error {
	if r.settings.workerServerURL != "" {
		return nil
	}
	place := filepath.Join(os.TempDir(), "cyclone-"+id+"-"+strings.Map(letters, r.settings.listen))
	if folder := r.settings.folder(); folder != "" {
		absolute, err := filepath.Abs(filepath.Join(folder, "run"))
		if err != nil {
			return fmt.Errorf("find a place for the workers' socket: %w", err)
		}
		if len(absolute) < 90 {
			place = absolute
		}
	}
	if err := os.MkdirAll(place, 0o700); err != nil {
		return fmt.Errorf("make a folder for the workers' socket: %w", err)
	}
	r.socket = filepath.Join(place, "server.sock")
	return nil
}

func letters(c rune) rune {
	if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' {
		return c
	}
	return '-'
}

func (r *rooms) chooseLauncher(id string) (cyclone.Launcher, error) {
	s := r.settings
	if s.node == "docker" {
		return &launchdocker.Launcher{
			Host: s.dockerHost, Image: s.workerImage, ServerID: id, ServerURL: s.workerServerURL, SocketPath: r.socket,
			Privileged: launchdocker.Privileged(s.workerPrivileged), Node: s.nodeName, Log: r.log,
		}, nil
	}
	binary := s.workerBinary
	if binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find cyclone-worker: %w; say where it is with --worker-binary", err)
		}
		binary = filepath.Join(filepath.Dir(self), "cyclone-worker")
	}
	url, folder := s.workerServerURL, s.folder()
	if url == "" {
		url = "unix://" + r.socket
	}
	if folder == "" {
		folder = filepath.Join(os.TempDir(), "cyclone-"+id)
	}
	engine, err := enginedocker.New(s.dockerHost)
	if err != nil {
		return nil, err
	}
	return &launchprocess.Launcher{
		Binary: binary, Dir: filepath.Join(folder, "workers"), ServerURL: url, EngineHost: s.dockerHost, Engine: engine, Node: s.nodeName,
	}, nil
}

func (r *rooms) dispatch(st *stores, launcher cyclone.Launcher) *dispatch.Dispatcher {
	s := r.settings
	return &dispatch.Dispatcher{
		Queue: st.queue, Projects: st.projects, Launcher: launcher, Progress: r.progress, Nodes: st.nodes,
		Node: s.nodeName, Kind: s.node, Server: r.holder, Capacity: s.workers, UserLimit: s.userConcurrency, MinFree: s.minFreeDisk,
		NoCache: s.cache == "off", CacheTotal: s.cacheTotal,
		CPUs: s.workerCPUs, Memory: s.workerMemory,
		Lease: r.lease(st, "dispatch/"+s.nodeName), Metrics: r.metrics, Log: r.log, Now: time.Now,
	}
}

// lease is this server's wish to lead something; nil where it is alone.
func (r *rooms) lease(st *stores, name string) *lead.Lease {
	if !st.shared {
		return nil
	}
	return &lead.Lease{Store: st.leases, Name: name, Holder: r.holder, Now: time.Now}
}

// holder names this server among all that share a store. It is the same after
// a restart, so that the server has its leases back at once: while an address
// of a machine is taken, no other server listens there.
func holder(s *settings) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	// Tells machines apart that have one name.
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		machine = nil
	}
	_, port, err := net.SplitHostPort(s.listen)
	if err != nil || port == "0" {
		return host + "/" + rand.Text()[:8]
	}
	sum := sha256.Sum256(machine)
	return host + "/" + hex.EncodeToString(sum[:4]) + "/" + s.listen
}

func (r *rooms) mail(st *stores) cyclone.Notifier {
	s := r.settings
	if s.smtpHost == "" {
		return nil
	}
	return &mail.Notifier{
		Host: s.smtpHost, Port: s.smtpPort, Username: s.smtpUsername, Password: s.smtpPassword, From: s.smtpFrom, Security: mail.Security(s.smtpTLS),
		Logs: st.logs, EventURL: r.eventURL, Log: r.log,
	}
}

// registries are the configured logins: one, at the host of --registry.
func (r *rooms) registries() map[string]cyclone.RegistryAuth {
	if r.settings.registryUsername == "" {
		return nil
	}
	host, _, _ := strings.Cut(r.settings.registry, "/")
	return map[string]cyclone.RegistryAuth{host: {Username: r.settings.registryUsername, Password: r.settings.registryPassword}}
}

// eventURL is where a person finds an event.
func (r *rooms) eventURL(e *cyclone.Event) string {
	return r.settings.external() + "/api/v1/events/" + string(e.ID)
}

// external is how the server is reached from outside, as far as it is known.
func (s *settings) external() string {
	if s.externalURL != "" {
		return s.externalURL
	}
	host, port, err := net.SplitHostPort(s.listen)
	if err != nil || host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
