package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cyclone/pkg/cyclone"
)

// Project is a project as the server shows it.
type Project struct {
	cyclone.Project
	// WebhookSecret is in the answer to the creation only, when the server
	// made it.
	WebhookSecret string            `json:"webhookSecret,omitempty"`
	WebhookURLs   map[string]string `json:"webhookUrls"`
	// Connection is in the answer to what connected the project.
	Connection *cyclone.Connection `json:"connection,omitempty"`
}

// ClusterCheck is what came of asking a cluster.
type ClusterCheck struct {
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

// Lists of the server, one page each.
type (
	// ProjectList is a page of projects by name.
	ProjectList = cyclone.List[Object[Project]]
	// EventList is a page of events, newest first.
	EventList = cyclone.List[Object[cyclone.Event]]
	// ClusterList is a page of clusters by name.
	ClusterList = cyclone.List[Object[cyclone.Cluster]]
	// SecretList is all secrets of a project, without values.
	SecretList = cyclone.List[Object[cyclone.Secret]]
)

// SecretValue is a secret to be stored.
type SecretValue struct {
	Value  string                `json:"value"`
	Events []cyclone.TriggerKind `json:"events,omitempty"` // empty: all but pull requests of forks
	Masked bool                  `json:"masked"`
}

// Version returns what the server says of its build.
func (c *Client) Version(ctx context.Context) (Object[map[string]any], error) {
	return get[map[string]any](ctx, c, path("version"), nil)
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (o Object[T], err error) {
	err = c.call(ctx, http.MethodGet, path, query, nil, &o)
	return o, err
}

func post[T any](ctx context.Context, c *Client, path string, in any) (o Object[T], err error) {
	err = c.call(ctx, http.MethodPost, path, nil, in, &o)
	return o, err
}

// CreateProject creates a project from its JSON form: a struct, a map or a
// json.RawMessage.
func (c *Client) CreateProject(ctx context.Context, project any) (Object[Project], error) {
	return post[Project](ctx, c, path("projects"), project)
}

// Project returns a project.
func (c *Client) Project(ctx context.Context, name string) (Object[Project], error) {
	return get[Project](ctx, c, path("projects", name), nil)
}

// Projects lists a page of projects.
func (c *Client) Projects(ctx context.Context, page cyclone.Page) (list ProjectList, err error) {
	err = c.call(ctx, http.MethodGet, path("projects"), pageQuery(page), nil, &list)
	return list, err
}

// DeleteProject removes a project with its events, logs and secrets.
func (c *Client) DeleteProject(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, path("projects", name), nil, nil, nil)
}

// StartEvent starts a manual event.
func (c *Client) StartEvent(ctx context.Context, project string, r cyclone.StartRequest) (Object[cyclone.Event], error) {
	return post[cyclone.Event](ctx, c, path("projects", project, "events"), r)
}

// Event returns an event.
func (c *Client) Event(ctx context.Context, id cyclone.EventID) (Object[cyclone.Event], error) {
	return get[cyclone.Event](ctx, c, path("events", string(id)), nil)
}

// Events lists a page of events: the project's, or all when q names none.
func (c *Client) Events(ctx context.Context, q cyclone.EventQuery) (list EventList, err error) {
	values := pageQuery(q.Page)
	for _, status := range q.Statuses {
		values.Add("status", string(status))
	}
	setIf(values, "branch", q.Branch)
	setIf(values, "kind", string(q.Kind))
	if !q.Since.IsZero() {
		values.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		values.Set("until", q.Until.UTC().Format(time.RFC3339Nano))
	}
	p := path("events")
	if q.Project != "" {
		p = path("projects", string(q.Project), "events")
	}
	err = c.call(ctx, http.MethodGet, p, values, nil, &list)
	return list, err
}

// CancelEvent cancels an event that is not over. The reason may be empty.
func (c *Client) CancelEvent(ctx context.Context, id cyclone.EventID, reason string) (Object[cyclone.Event], error) {
	var body any
	if reason != "" {
		body = map[string]string{"reason": reason}
	}
	return post[cyclone.Event](ctx, c, path("events", string(id), "cancel"), body)
}

// RerunEvent makes a new event of the same commit and file, which begins at a
// stage when one is given.
func (c *Client) RerunEvent(ctx context.Context, id cyclone.EventID, from cyclone.Stage) (Object[cyclone.Event], error) {
	var body any
	if from != "" {
		body = map[string]cyclone.Stage{"from": from}
	}
	return post[cyclone.Event](ctx, c, path("events", string(id), "rerun"), body)
}

// LogQuery selects a part of a log; zero fields select all.
type LogQuery struct {
	Stage      cyclone.Stage
	Step       string
	From       int64 // the first line
	Tail       int64 // the last so many lines
	Timestamps bool
	NDJSON     bool // one JSON object a line instead of text
}

// Log writes an event's log as far as it is stored now.
func (c *Client) Log(ctx context.Context, id cyclone.EventID, q LogQuery, w io.Writer) error {
	values := url.Values{}
	setIf(values, "stage", string(q.Stage))
	setIf(values, "step", q.Step)
	setNumber(values, "from", q.From)
	setNumber(values, "tail", q.Tail)
	accept := "text/plain"
	if q.NDJSON {
		accept = "application/x-ndjson"
	} else if q.Timestamps {
		values.Set("timestamps", "true")
	}
	answer, err := c.send(ctx, http.MethodGet, path("events", string(id), "logs"), values, nil, accept)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	into := &sink{w: w}
	_, err = io.Copy(into, answer.Body)
	switch {
	case into.err != nil:
		return fmt.Errorf("write log: %w", into.err)
	case err != nil:
		return c.away(ctx, err)
	}
	return nil
}

// sink tells errors of the writer from those of the connection.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// CreateCluster registers a deployment target from its JSON form.
func (c *Client) CreateCluster(ctx context.Context, cluster any) (Object[cyclone.Cluster], error) {
	return post[cyclone.Cluster](ctx, c, path("clusters"), cluster)
}

// Cluster returns a cluster, without its credentials.
func (c *Client) Cluster(ctx context.Context, name string) (Object[cyclone.Cluster], error) {
	return get[cyclone.Cluster](ctx, c, path("clusters", name), nil)
}

// Clusters lists a page of clusters.
func (c *Client) Clusters(ctx context.Context, page cyclone.Page) (list ClusterList, err error) {
	err = c.call(ctx, http.MethodGet, path("clusters"), pageQuery(page), nil, &list)
	return list, err
}

// DeleteCluster removes a cluster.
func (c *Client) DeleteCluster(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, path("clusters", name), nil, nil, nil)
}

// CheckCluster has the server ask a cluster whether it answers and takes the token.
func (c *Client) CheckCluster(ctx context.Context, name string) (Object[ClusterCheck], error) {
	return post[ClusterCheck](ctx, c, path("clusters", name, "check"), nil)
}

// Secrets lists a project's secrets, without values.
func (c *Client) Secrets(ctx context.Context, project string) (list SecretList, err error) {
	err = c.call(ctx, http.MethodGet, path("projects", project, "secrets"), nil, nil, &list)
	return list, err
}

// PutSecret stores a secret, over one of the same name.
func (c *Client) PutSecret(ctx context.Context, project, name string, s SecretValue) (o Object[cyclone.Secret], err error) {
	err = c.call(ctx, http.MethodPut, path("projects", project, "secrets", name), nil, s, &o)
	return o, err
}

// DeleteSecret removes a secret.
func (c *Client) DeleteSecret(ctx context.Context, project, name string) error {
	return c.call(ctx, http.MethodDelete, path("projects", project, "secrets", name), nil, nil, nil)
}

func pageQuery(p cyclone.Page) url.Values {
	values := url.Values{}
	setNumber(values, "limit", int64(p.Limit))
	setIf(values, "cursor", p.Cursor)
	return values
}

func setIf(values url.Values, name, value string) {
	if value != "" {
		values.Set(name, value)
	}
}

func setNumber(values url.Values, name string, n int64) {
	if n > 0 {
		values.Set(name, strconv.FormatInt(n, 10))
	}
}
