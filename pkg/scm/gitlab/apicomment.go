package gitlab

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// remark is a note of a merge request.
type remark struct {
	ID     int64  `json:"id"`
	Body   string `json:"body"`
	System bool   `json:"system"` // written by GitLab itself
	Author user   `json:"author"`
}

// maxNotePages is how many pages of notes are read.
const maxNotePages = 50

// PutComment writes a note to a merge request, or over the last one that has
// the marker on a line of its own and was written by the token's user. Anybody
// can write the marker, and a maintainer's token may change other people's
// notes: those are left alone.
func (g *API) PutComment(ctx context.Context, a cyclone.ForgeAccess, number int, marker, text string) error {
	c, at, err := g.project(a)
	if err != nil {
		return fmt.Errorf("write comment: %w", err)
	}
	thing, err := numbered(number)
	if err != nil {
		return fmt.Errorf("write comment: %w", err)
	}
	text = rest.Marked(quiet(text), marker, maxNoteRunes)
	old, err := ownNote(ctx, c, at, number, marker)
	if err != nil {
		return fmt.Errorf("find comment: %w", err)
	}
	call := rest.Call{Method: http.MethodPost, Path: at.request(number, "notes")}
	switch {
	case old != nil && old.Body == text:
		return nil
	case old != nil:
		call.Method, call.Path = http.MethodPut, at.request(number, "notes", fmt.Sprint(old.ID))
	}
	var made remark
	call.Body, call.Into, call.Need, call.Thing = map[string]string{"body": text}, &made, needNote, thing
	if _, err := c.Do(ctx, call); err != nil {
		return fmt.Errorf("write comment: %w", err)
	}
	return nil
}

// request is a path below a merge request.
func (p place) request(number int, segments ...string) string {
	return p.below(append([]string{"merge_requests", fmt.Sprint(number)}, segments...)...)
}

// quiet keeps GitLab from taking a line for a command such as /close: those
// begin in the first column.
func quiet(text string) string {
	if strings.HasPrefix(text, "/") {
		text = " " + text
	}
	return strings.ReplaceAll(text, "\n/", "\n /")
}

// ownNote is the last note with the marker that the token's user wrote; nil for
// none.
func ownNote(ctx context.Context, c *rest.Client, at place, number int, marker string) (*remark, error) {
	marked, _, err := rest.All(maxNotePages, func(p rest.Place) ([]remark, *rest.Answer, error) {
		var some []remark
		query := p.Query("per_page")
		query.Set("sort", "asc")
		query.Set("order_by", "created_at")
		answer, err := c.Do(ctx, rest.Call{
			Path: at.request(number, "notes"), Query: query, Into: &some, Max: maxDiffs, Need: needNote, Thing: fmt.Sprintf("merge request %d", number),
		})
		some = slices.DeleteFunc(some, func(n remark) bool { return n.System || !rest.HasMarker(n.Body, marker) })
		return some, answer, err
	})
	if err != nil || len(marked) == 0 {
		return nil, err
	}
	u, err := me(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case u.ID == 0:
		return nil, cyclone.Forbidden("GitLab does not say whose the token is, so that no comment can be known as its own: it needs the scope api")
	}
	for i := len(marked) - 1; i >= 0; i-- {
		if marked[i].Author.ID == u.ID {
			return &marked[i], nil
		}
	}
	return nil, nil
}
