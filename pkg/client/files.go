package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// Artifact is a file that an event's steps left for people.
type Artifact struct {
	Path      string        `json:"path"` // relative, with / between folders
	Size      int64         `json:"size"` // bytes
	SHA256    string        `json:"sha256"`
	Stage     cyclone.Stage `json:"stage"`
	Step      string        `json:"step"`
	CreatedAt time.Time     `json:"createdAt"`
	URL       string        `json:"url"`
}

// NodeCache is something that a node keeps between a project's events.
type NodeCache struct {
	Node   string            `json:"node"`
	ID     string            `json:"id"`
	Kind   cyclone.CacheKind `json:"kind"`
	Size   int64             `json:"size"` // bytes
	UsedAt time.Time         `json:"usedAt"`
	InUse  bool              `json:"inUse"`
}

// ArtifactList is a page of an event's artifacts by path.
type ArtifactList = cyclone.List[Object[Artifact]]

// CacheList is a page of what nodes keep of a project.
type CacheList struct {
	cyclone.List[Object[NodeCache]]
	Size int64 `json:"size"` // bytes, on all pages
}

// Artifacts lists a page of an event's artifacts.
func (c *Client) Artifacts(ctx context.Context, id cyclone.EventID, page cyclone.Page) (list ArtifactList, err error) {
	err = c.call(ctx, http.MethodGet, path("events", string(id), "artifacts"), pageQuery(page), nil, &list)
	return list, err
}

// Artifact writes the content of an artifact to w. ErrUnavailable when it
// breaks off.
func (c *Client) Artifact(ctx context.Context, id cyclone.EventID, name string, w io.Writer) error {
	address := path("events", string(id), "artifacts")
	for part := range strings.SplitSeq(name, "/") {
		address += "/" + url.PathEscape(part)
	}
	answer, err := c.send(ctx, http.MethodGet, address, nil, nil, "*/*")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	into := &sink{w: w}
	_, err = io.Copy(into, answer.Body)
	switch {
	case into.err != nil:
		return fmt.Errorf("write artifact: %w", into.err)
	case err != nil:
		return c.away(ctx, err)
	}
	return nil
}

// Report returns what an event's tests found. With a status only the cases
// that ended so are in it; the counts are of all.
func (c *Client) Report(ctx context.Context, id cyclone.EventID, status cyclone.TestStatus) (Object[cyclone.TestReport], error) {
	query := url.Values{}
	setIf(query, "status", string(status))
	return get[cyclone.TestReport](ctx, c, path("events", string(id), "reports"), query)
}

// Cache lists a page of what nodes keep between a project's events.
func (c *Client) Cache(ctx context.Context, project string, page cyclone.Page) (list CacheList, err error) {
	err = c.call(ctx, http.MethodGet, path("projects", project, "cache"), pageQuery(page), nil, &list)
	return list, err
}

// ClearCache has all nodes forget what they keep between a project's events.
func (c *Client) ClearCache(ctx context.Context, project string) error {
	return c.call(ctx, http.MethodDelete, path("projects", project, "cache"), nil, nil, nil)
}
