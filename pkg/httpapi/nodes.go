package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// nodeView is a node as it is shown: with what runs on it now.
type nodeView struct {
	cyclone.Node
	// Running counts the events whose worker is on the node.
	Running int `json:"running"`
	// Gone is true when no server dispatches for the node any more.
	Gone bool `json:"gone"`
}

// viewNode shows a node as it is now: what its last server saw of it is no
// news once that server is silent.
func viewNode(n *cyclone.Node, running map[string]int, now time.Time) nodeView {
	view := nodeView{Node: *n, Running: running[n.Name], Gone: n.Gone(now)}
	if view.Gone {
		view.Ready = false
		view.Reason = "no server dispatches for it since " + n.SeenAt.UTC().Format(time.RFC3339) + " (" + n.Server + ")"
	}
	return view
}

// runningByNode counts the running events of each node.
func (s *Server) runningByNode(ctx context.Context) (map[string]int, error) {
	running, err := s.Queue.Running(ctx)
	if err != nil {
		return nil, fmt.Errorf("list running events: %w", err)
	}
	count := map[string]int{}
	for _, e := range running {
		count[e.Worker.Node]++
	}
	return count, nil
}

func (s *Server) listNodes(w http.ResponseWriter, r *http.Request) error {
	if s.Nodes == nil {
		return writePage(w, r, []nodeView{}, nodeKey)
	}
	nodes, err := s.Nodes.List(r.Context())
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	running, err := s.runningByNode(r.Context())
	if err != nil {
		return err
	}
	var views []nodeView
	for _, n := range nodes {
		views = append(views, viewNode(n, running, time.Now()))
	}
	return writePage(w, r, views, nodeKey)
}

func nodeKey(v nodeView) string { return v.Name }

// node finds the node of the address.
func (s *Server) node(r *http.Request) (nodeView, error) {
	name := mux.Vars(r)["node"]
	missing := cyclone.NotFound("node %q does not exist", clip(name, 60))
	if s.Nodes == nil {
		return nodeView{}, missing
	}
	n, err := s.Nodes.Find(r.Context(), name)
	if err != nil {
		return nodeView{}, notFound(err, "%s", missing)
	}
	running, err := s.runningByNode(r.Context())
	if err != nil {
		return nodeView{}, err
	}
	return viewNode(n, running, time.Now()), nil
}

func (s *Server) showNode(w http.ResponseWriter, r *http.Request) error {
	view, err := s.node(r)
	if err != nil {
		return err
	}
	return show(w, view)
}

// patchNode keeps new work away from a node, or lets it come again.
func (s *Server) patchNode(w http.ResponseWriter, r *http.Request) error {
	patch, err := readPatch(w, r)
	if err != nil {
		return err
	}
	drain, err := wantedDrain(patch)
	if err != nil {
		return err
	}
	view, err := s.node(r)
	if err != nil {
		return err
	}
	if drain == nil {
		return show(w, view)
	}
	n, err := s.Nodes.Drain(r.Context(), view.Name, *drain)
	if err != nil {
		return notFound(err, "node %q does not exist", view.Name)
	}
	view.Drain = n.Drain
	return show(w, view)
}

// wantedDrain reads the one field of a node that people change; nil when the
// patch has none. All others are what the node's server says of it.
func wantedDrain(patch map[string]any) (*bool, error) {
	var bad cyclone.InvalidError
	fields := jsonFields(reflect.TypeFor[nodeView]())
	var drain *bool
	for _, name := range sortedKeys(patch) {
		_, known := fields[name]
		on, isBool := patch[name].(bool)
		switch {
		case name == "drain" && isBool:
			drain = &on
		case name == "drain":
			bad.Add(name, "must be true or false")
		case known:
			bad.Add(name, "cannot be changed here: the server that dispatches for the node says it; only drain can be changed")
		default:
			bad.Add(clip(name, 60), "unknown field; only drain can be changed")
		}
	}
	return drain, bad.OrNil()
}

// deleteNode forgets a node that nobody serves and on which nothing runs. One
// that is served would be back with its server's next sign of life.
func (s *Server) deleteNode(w http.ResponseWriter, r *http.Request) error {
	view, err := s.node(r)
	if err != nil {
		return err
	}
	if !view.Gone {
		return cyclone.Conflict("server %s dispatches for node %s (seen at %s): stop that server first, and wait for %s",
			view.Server, view.Name, view.SeenAt.UTC().Format(time.RFC3339), cyclone.Duration(cyclone.NodeTimeout))
	}
	if view.Running > 0 {
		verb := "run"
		if view.Running == 1 {
			verb = "runs"
		}
		return cyclone.Conflict("%s still %s on node %s: cancel what runs there, or wait until it is given up",
			counted(view.Running, "event"), verb, view.Name)
	}
	if err := s.Nodes.Delete(r.Context(), view.Name); err != nil {
		return notFound(err, "node %q does not exist", view.Name)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
