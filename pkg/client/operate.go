package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"cyclone/pkg/cyclone"
)

// DeliveryOutcome is what became of a delivery that was handled once more.
// With nothing but its id it is not known yet.
type DeliveryOutcome struct {
	Delivery cyclone.DeliveryID `json:"delivery"`
	Events   []cyclone.EventID  `json:"events"`
	Ignored  string             `json:"ignored"`
	Error    string             `json:"error"`
}

// Node is a node as the server shows it.
type Node struct {
	cyclone.Node
	// Running counts the events whose worker is on the node.
	Running int `json:"running"`
	// Gone is true when no server dispatches for the node any more.
	Gone bool `json:"gone"`
}

// RunningWorker is a worker and the event that it runs.
type RunningWorker struct {
	ID         cyclone.WorkerID    `json:"id"`
	Node       string              `json:"node"`
	Attempt    int                 `json:"attempt"`
	Event      cyclone.EventID     `json:"event"`
	Project    cyclone.ProjectName `json:"project"`
	Number     int64               `json:"number"`
	StartedAt  *time.Time          `json:"startedAt"`
	LeaseUntil time.Time           `json:"leaseUntil"`
	// LastSeen is nil while the worker starts.
	LastSeen *time.Time `json:"lastSeen"`
}

// Lists of what runs a server, one page each.
type (
	// DeliveryList is a page of a project's deliveries, newest first.
	DeliveryList = cyclone.List[Object[cyclone.Delivery]]
	// NodeList is a page of nodes by name.
	NodeList = cyclone.List[Object[Node]]
	// WorkerList is a page of running workers by id.
	WorkerList = cyclone.List[Object[RunningWorker]]
)

// Deliveries lists a page of a project's deliveries.
func (c *Client) Deliveries(ctx context.Context, project string, page cyclone.Page) (list DeliveryList, err error) {
	err = c.call(ctx, http.MethodGet, path("projects", project, "deliveries"), pageQuery(page), nil, &list)
	return list, err
}

// Delivery returns one delivery of a project.
func (c *Client) Delivery(ctx context.Context, project string, id cyclone.DeliveryID) (Object[cyclone.Delivery], error) {
	return get[cyclone.Delivery](ctx, c, path("projects", project, "deliveries", string(id)), nil)
}

// Redeliver has a delivery handled once more, also one that was given up.
func (c *Client) Redeliver(ctx context.Context, project string, id cyclone.DeliveryID) (Object[DeliveryOutcome], error) {
	return post[DeliveryOutcome](ctx, c, path("projects", project, "deliveries", string(id), "redeliver"), nil)
}

// ApproveEvent lets a blocked event run.
func (c *Client) ApproveEvent(ctx context.Context, id cyclone.EventID) (Object[cyclone.Event], error) {
	return post[cyclone.Event](ctx, c, path("events", string(id), "approve"), nil)
}

// Nodes lists a page of nodes.
func (c *Client) Nodes(ctx context.Context, page cyclone.Page) (list NodeList, err error) {
	err = c.call(ctx, http.MethodGet, path("nodes"), pageQuery(page), nil, &list)
	return list, err
}

// Node returns a node.
func (c *Client) Node(ctx context.Context, name string) (Object[Node], error) {
	return get[Node](ctx, c, path("nodes", name), nil)
}

// DrainNode keeps new work away from a node, or lets it come again.
func (c *Client) DrainNode(ctx context.Context, name string, drain bool) (o Object[Node], err error) {
	err = c.call(ctx, http.MethodPatch, path("nodes", name), nil, map[string]bool{"drain": drain}, &o)
	return o, err
}

// DeleteNode has the server forget a node that nobody serves any more.
func (c *Client) DeleteNode(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, path("nodes", name), nil, nil, nil)
}

// Workers lists a page of the workers that run now.
func (c *Client) Workers(ctx context.Context, page cyclone.Page) (list WorkerList, err error) {
	err = c.call(ctx, http.MethodGet, path("workers"), pageQuery(page), nil, &list)
	return list, err
}

// Retention removes what is no longer kept, or only says what it would remove.
// That takes as long as it takes; only ctx bounds it.
func (c *Client) Retention(ctx context.Context, dry bool) (o Object[cyclone.RetentionReport], err error) {
	query := url.Values{}
	if dry {
		query.Set("dryRun", "true")
	}
	err = c.patient().call(ctx, http.MethodPost, path("retention"), query, nil, &o)
	return o, err
}

// patient is c without the limit to how long an answer may take to begin.
func (c *Client) patient() *Client {
	p := *c
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t = t.Clone()
		t.ResponseHeaderTimeout = 0
		p.http = &http.Client{Transport: t}
	}
	return &p
}
