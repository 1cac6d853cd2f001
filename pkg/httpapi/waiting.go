package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// queueView is what is known of nodes and running events at one moment: enough
// to say what a pending event waits for. It is read once per request.
type queueView struct {
	server  *Server
	at      time.Time
	nodes   []*cyclone.Node
	running map[string]int // by node
	busy    map[cyclone.ProjectName]int
	limits  map[cyclone.ProjectName]int // of projects that were asked for
	// blind is set when the store did not say; then no reason is made up.
	blind bool
}

func (s *Server) viewQueue(ctx context.Context) *queueView {
	v := &queueView{server: s, at: time.Now(), running: map[string]int{},
		busy: map[cyclone.ProjectName]int{}, limits: map[cyclone.ProjectName]int{}}
	if s.Nodes == nil {
		v.blind = true
		return v
	}
	nodes, err := s.Nodes.List(ctx)
	if err == nil {
		v.nodes = nodes
		err = v.count(ctx)
	}
	if err != nil {
		v.giveUp(ctx, err)
	}
	return v
}

func (v *queueView) count(ctx context.Context) error {
	running, err := v.server.Queue.Running(ctx)
	for _, e := range running {
		v.running[e.Worker.Node]++
		v.busy[e.Project]++
	}
	return err
}

// giveUp shows events without what they wait for: they were asked for, not
// this.
func (v *queueView) giveUp(ctx context.Context, err error) {
	v.blind = true
	if ctx.Err() == nil {
		v.server.Log.WarnContext(ctx, "cannot say what pending events wait for", "error", err)
	}
}

// reason says what a pending event waits for, or nothing when that is not
// known.
func (v *queueView) reason(ctx context.Context, e *cyclone.Event) string {
	if v.blind {
		return ""
	}
	limit := v.limit(ctx, e.Project)
	switch {
	case v.blind:
		return ""
	case limit > 0 && v.busy[e.Project] >= limit:
		return fmt.Sprintf("waits: the project runs %s at a time", counted(limit, "event"))
	}
	return v.nodesReason()
}

// limit is how many events of the project run at once; 0 for no limit.
func (v *queueView) limit(ctx context.Context, name cyclone.ProjectName) int {
	limit, known := v.limits[name]
	if known {
		return limit
	}
	p, err := v.server.Projects.Find(ctx, name)
	switch {
	case err == nil:
		limit = p.Limits.Concurrency
	case !errors.Is(err, cyclone.ErrNotFound): // that it is being deleted is no news
		v.giveUp(ctx, err)
	}
	v.limits[name] = limit
	return limit
}

// mostNodes bounds how many nodes a reason names.
const mostNodes = 5

// nodesReason says why no node takes the event now.
func (v *queueView) nodesReason() string {
	var why []string
	full := 0
	for _, n := range v.nodes {
		running := v.running[n.Name]
		switch {
		case n.Gone(v.at):
			continue // no news of it; what others say is better
		case n.Drain:
			why = append(why, "node "+n.Name+" is drained")
		case n.Capacity == 0:
			why = append(why, "node "+n.Name+" only queues (its capacity is 0)")
		case !n.Ready:
			why = append(why, "node "+n.Name+" takes no work: "+n.Reason)
		case running >= n.Capacity:
			full++
			why = append(why, fmt.Sprintf("node %s is full (%d of %d)", n.Name, running, n.Capacity))
		default:
			return "waits for its turn: node " + n.Name + " has room"
		}
	}
	switch {
	case len(why) == 0:
		return "waits: no server dispatches for any node"
	case len(why) > mostNodes:
		why = append(why[:mostNodes], fmt.Sprintf("%d more nodes take no work", len(why)-mostNodes))
	}
	begin := "waits: "
	if full > 0 {
		begin = "waits for a free worker: "
	}
	return begin + strings.Join(why, "; ")
}

// counted is a number with its noun: "1 event", "2 events".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
