package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// artifactView is an artifact as it is listed.
type artifactView struct {
	Path      string        `json:"path"`
	Size      int64         `json:"size"` // bytes
	SHA256    string        `json:"sha256"`
	Stage     cyclone.Stage `json:"stage"`
	Step      string        `json:"step"`
	CreatedAt time.Time     `json:"createdAt"`
	URL       string        `json:"url"`
}

func (s *Server) artifactView(f cyclone.File) artifactView {
	parts := strings.Split(f.Path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return artifactView{
		Path: f.Path, Size: int64(f.Size), SHA256: f.SHA256, Stage: f.Stage, Step: f.Step, CreatedAt: f.CreatedAt,
		URL: s.ExternalURL + "/api/v1/events/" + url.PathEscape(string(f.Event)) + "/artifacts/" + strings.Join(parts, "/"),
	}
}

// keptFiles lists an event's files of a kind. What retention has removed is
// not shown as if there had never been any.
func (s *Server) keptFiles(ctx context.Context, e *cyclone.Event, kind cyclone.FileKind) ([]cyclone.File, error) {
	if e.FilesRemovedAt != nil {
		return nil, filesRemoved(e)
	}
	if s.Files == nil {
		return nil, nil
	}
	all, err := s.Files.List(ctx, e.ID, kind)
	if err != nil {
		return nil, fmt.Errorf("list files of kind %s of event %s: %w", kind, e.ID, err)
	}
	return all, nil
}

func (s *Server) listArtifacts(w http.ResponseWriter, r *http.Request) error {
	e, err := s.event(r)
	if err != nil {
		return err
	}
	all, err := s.keptFiles(r.Context(), e, cyclone.FileArtifact)
	if err != nil {
		return err
	}
	views := make([]artifactView, len(all))
	for i, f := range all {
		f.Event = e.ID
		views[i] = s.artifactView(f)
	}
	return writePage(w, r, views, func(v artifactView) string { return v.Path })
}

// showArtifact answers with an artifact. Whatever a step left there, a browser
// stores it and shows none of it as a page of this server's.
func (s *Server) showArtifact(w http.ResponseWriter, r *http.Request) error {
	e, err := s.event(r)
	if err != nil {
		return err
	}
	return s.sendFile(w, r, e, cyclone.FileArtifact, mux.Vars(r)["path"], func(h http.Header, f cyclone.File) {
		h.Set("Content-Type", contentType(f.Path))
		h.Set("Content-Disposition", disposition(path.Base(f.Path)))
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	})
}

// contentTypes are the types that browsers do no more with than show them.
var contentTypes = map[string]string{
	".txt": "text/plain; charset=utf-8", ".log": "text/plain; charset=utf-8", ".out": "text/plain; charset=utf-8",
	".md": "text/plain; charset=utf-8", ".csv": "text/plain; charset=utf-8", ".xml": "text/plain; charset=utf-8",
	".yml": "text/plain; charset=utf-8", ".yaml": "text/plain; charset=utf-8",
	".json": "application/json", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
	".zip": "application/zip", ".gz": "application/gzip", ".tgz": "application/gzip", ".tar": "application/x-tar", ".zst": "application/zstd",
}

// contentType is what a file is said to be by its name: one of a few harmless
// types, or nothing but bytes.
func contentType(name string) string {
	if t := contentTypes[strings.ToLower(path.Ext(name))]; t != "" {
		return t
	}
	return "application/octet-stream"
}

// disposition has a file stored under its name, in letters that every program
// takes and again as it is.
func disposition(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+ ", r) {
			return r
		}
		return '_'
	}, name)
	if strings.HasPrefix(plain, ".") { // would be hidden
		plain = "_" + plain[1:]
	}
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}

// mostNear is how many files are named to who asks for one that is not there.
const mostNear = 5

// noSuchFile says that there is no such file, and what there is near by.
func (s *Server) noSuchFile(ctx context.Context, e *cyclone.Event, kind cyclone.FileKind, name string) error {
	text := fmt.Sprintf("event #%d has no %s %q", e.Number, kind, clip(name, 200))
	var all []cyclone.File
	if s.Files != nil {
		var err error
		if all, err = s.Files.List(ctx, e.ID, kind); err != nil {
			return fmt.Errorf("list files of kind %s of event %s: %w", kind, e.ID, err)
		}
	}
	if len(all) == 0 {
		return cyclone.NotFound("%s; it keeps no %ss", text, kind)
	}
	slices.SortStableFunc(all, func(a, b cyclone.File) int { return nearness(b.Path, name) - nearness(a.Path, name) })
	var near []string
	for _, f := range all[:min(mostNear, len(all))] {
		near = append(near, clip(f.Path, 200))
	}
	if more := len(all) - len(near); more > 0 {
		return cyclone.NotFound("%s; there are %s and %d more", text, strings.Join(near, ", "), more)
	}
	return cyclone.NotFound("%s; there are %s", text, strings.Join(near, ", "))
}

// nearness is the larger the more likely who asked for b meant a: the same
// name elsewhere, or as much of the path as possible.
func nearness(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if path.Base(a) == path.Base(b) {
		n += 1 << 12
	}
	return n
}
