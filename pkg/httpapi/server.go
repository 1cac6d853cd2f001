// Package httpapi is the server's face: the REST interface, the websockets
// that carry logs to viewers and workers' output to the server, and the
// address where forges deliver their hooks.
//
// What may be asked for is the table in routes.go; a handler reads the request,
// calls one store or one room through an interface and writes the answer. One
// function (writeError) turns kinds of error into statuses.
//
// It is not where decisions are made: which delivery starts an event is
// trigger's matter, what a worker's report means is progress's.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
	"cyclone/pkg/metrics"
)

// Server answers the API. All fields without "optional" must be set before
// Handler is called.
type Server struct {
	Projects   cyclone.ProjectStore
	Secrets    cyclone.SecretStore
	Clusters   cyclone.ClusterStore
	Events     cyclone.EventStore
	Queue      cyclone.Queue
	Deliveries cyclone.DeliveryStore
	Logs       cyclone.LogStore
	// Files keeps artifacts, reports and outputs; without it none are kept.
	// FileLimit bounds those of one event; 0 is no limit.
	Files     cyclone.FileStore
	FileLimit cyclone.Size
	Sealer    cyclone.Sealer
	Live      *livelog.Hub
	Trigger   trigger
	Progress  progress
	// Forges are the drivers by the name in the hooks' address: "github", ...
	Forges map[string]cyclone.Forge
	Auth   Authenticator
	// Nodes are the places where workers are started. Without them (a test,
	// say) nothing is known of any node.
	Nodes cyclone.NodeStore
	// Wake tells the dispatcher that there may be something to do; optional.
	Wake func()
	// Connector connects projects with their forges; optional.
	Connector connector
	// Retention removes what is no longer kept; optional.
	Retention retention
	// Metrics and Census are what /metrics shows; optional.
	Metrics *metrics.Metrics
	Census  cyclone.Census
	// CheckCluster reaches for a cluster with its credentials; optional.
	CheckCluster func(ctx context.Context, access cyclone.ClusterAccess) error
	// Ready are the conditions of /readyz.
	Ready   []Check
	Version Version
	Log     *slog.Logger
	// ExternalURL is how users and forges reach the server, without a slash at
	// the end.
	ExternalURL string
	// Registry is the host (and path) that a project's default image begins
	// with; optional.
	Registry string
	// Origins are the web applications on other origins that may call the API
	// ("https://ci.example.com"); optional.
	Origins []string

	sockets  sockets
	frames   frameCache
	lookouts lookouts
	rejected atomic.Int64
	handling tally // deliveries
	moving   moving
}

// Check is one condition of readiness.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// Version is what /api/v1/version answers.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// trigger turns deliveries and requests into events.
type trigger interface {
	Deliver(ctx context.Context, d *cyclone.Delivery) error
	Start(ctx context.Context, p *cyclone.Project, r cyclone.StartRequest) (*cyclone.Event, error)
	Rerun(ctx context.Context, parent *cyclone.Event, actor string, from cyclone.Stage) (*cyclone.Event, error)
}

// progress is told what workers report and what users decide.
type progress interface {
	attempts
	recorder
	Cancel(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error)
	Approve(ctx context.Context, id cyclone.EventID, actor string) (*cyclone.Event, error)
}

// retention removes what is no longer kept, or only says what it would remove.
type retention interface {
	Apply(ctx context.Context, dry bool) (cyclone.RetentionReport, error)
}

// attempts lets a worker in and tells it when to stop.
type attempts interface {
	Attach(ctx context.Context, worker cyclone.WorkerID, token, session string) (cyclone.Fence, cyclone.EngineConfig, error)
	Job(ctx context.Context, f cyclone.Fence) (*cyclone.Job, error)
	Renew(ctx context.Context, f cyclone.Fence) (*cyclone.Cancellation, error)
	Cancels(f cyclone.Fence) (<-chan cyclone.Cancellation, func())
}

// recorder takes what a worker's event yields.
type recorder interface {
	Append(ctx context.Context, f cyclone.Fence, c cyclone.Chunk) error
	Partial(f cyclone.Fence, l cyclone.Line)
	Report(ctx context.Context, f cyclone.Fence, r cyclone.Report) error
	Finish(ctx context.Context, f cyclone.Fence, r cyclone.Result) error
}

// Handler returns the handler of every route.
func (s *Server) Handler() http.Handler {
	h := s.router()
	h = s.allowOrigins(h)
	h = secureHeaders(h)
	h = s.recoverPanics(h)
	h = s.logAccess(h)
	return identifyRequests(h)
}

// RejectedHooks counts the deliveries that were refused because of their
// signature since the start. Nothing else is kept of them.
func (s *Server) RejectedHooks() int64 { return s.rejected.Load() }

// Drain closes every websocket in a way that makes the other side connect
// again (code 1012) and refuses new ones. It returns when all have ended and
// the deliveries that were accepted are handled, or with the cause of ctx.
func (s *Server) Drain(ctx context.Context) error {
	return errors.Join(s.sockets.drain(ctx), s.handling.wait(ctx))
}
