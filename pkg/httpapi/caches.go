package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cyclone/pkg/cyclone"
)

// cacheView is something that a node keeps between a project's events.
type cacheView struct {
	Node   string            `json:"node"`
	ID     string            `json:"id"`
	Kind   cyclone.CacheKind `json:"kind"`
	Size   int64             `json:"size"` // bytes
	UsedAt time.Time         `json:"usedAt"`
	InUse  bool              `json:"inUse"`
}

// cachesView is a page of them, with the size of all.
type cachesView struct {
	cyclone.List[cacheView]
	Size int64 `json:"size"` // bytes, on all pages
}

// showCache lists what nodes keep of a project, as they last saw it.
func (s *Server) showCache(w http.ResponseWriter, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	caches, err := s.caches(r.Context(), p.Name)
	if err != nil {
		return err
	}
	list, err := pageOf(r, caches, func(c cacheView) string { return c.Node + "\x00" + string(c.Kind) + "\x00" + c.ID })
	if err != nil {
		return err
	}
	view := cachesView{List: list}
	for _, c := range caches {
		view.Size += c.Size
	}
	return show(w, view)
}

func (s *Server) caches(ctx context.Context, project cyclone.ProjectName) ([]cacheView, error) {
	if s.Nodes == nil {
		return nil, nil
	}
	nodes, err := s.Nodes.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var views []cacheView
	for _, n := range nodes {
		for _, c := range n.Caches {
			if c.Project == project {
				views = append(views, cacheView{n.Name, c.ID, c.Kind, int64(c.Size), c.UsedAt, c.InUse})
			}
		}
	}
	return views, nil
}

// clearCache makes everything that nodes keep of a project unusable. The nodes
// remove it when nobody uses it any more.
func (s *Server) clearCache(w http.ResponseWriter, r *http.Request) error {
	for attempt := 1; ; attempt++ {
		p, err := s.project(r)
		if err != nil {
			return err
		}
		p.CacheEpoch++
		err = s.Projects.Replace(r.Context(), p)
		if err == nil {
			break
		}
		if !errors.Is(err, cyclone.ErrConflict) || attempt == writeAttempts {
			return fmt.Errorf("save project: %w", err)
		}
	}
	if s.Wake != nil {
		s.Wake()
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
