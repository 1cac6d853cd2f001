package gitea

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// comment is a comment of a pull request, which Gitea keeps as one of the issue
// of the same number.
type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User user   `json:"user"`
}

// PutComment writes a comment, or over the last one that has the marker on a
// line of its own and was written by the token's user. Anybody can write the
// marker, and a token may change other people's comments: those are left alone.
func (g *API) PutComment(ctx context.Context, a cyclone.ForgeAccess, number int, marker, text string) error {
	c, at, err := g.forge(a)
	if err != nil {
		return fmt.Errorf("write comment: %w", err)
	}
	thing, err := numbered(number)
	if err != nil {
		return fmt.Errorf("write comment: %w", err)
	}
	text = rest.Marked(text, marker, maxCommentRunes)
	old, err := ownComment(ctx, c, at, number, marker)
	if err != nil {
		return fmt.Errorf("find comment: %w", err)
	}
	call := rest.Call{Method: http.MethodPost, Path: at.path("issues", strconv.Itoa(number), "comments")}
	switch {
	case old != nil && old.Body == text:
		return nil
	case old != nil:
		call.Method, call.Path = http.MethodPatch, at.path("issues", "comments", strconv.FormatInt(old.ID, 10))
	}
	var made comment
	call.Body, call.Into, call.Need, call.Thing = map[string]string{"body": text}, &made, needComment, thing
	if _, err := c.Do(ctx, call); err != nil {
		return fmt.Errorf("write comment: %w", err)
	}
	return nil
}

// ownComment is the last comment with the marker that the token's user wrote;
// nil for none. Gitea lists all comments at once.
func ownComment(ctx context.Context, c *rest.Client, at place, number int, marker string) (*comment, error) {
	var all, marked []comment
	_, err := c.Do(ctx, rest.Call{
		Path: at.path("issues", strconv.Itoa(number), "comments"), Into: &all, Max: maxBytes, Need: needComment, Thing: "pull request " + strconv.Itoa(number),
	})
	for _, one := range all {
		if rest.HasMarker(one.Body, marker) {
			marked = append(marked, one)
		}
	}
	if rest.Status(err) == http.StatusInternalServerError {
		// That is also what Gitea says of a pull request that is not there.
		if _, why := readPull(ctx, c, at, number); errors.Is(why, cyclone.ErrNotFound) {
			return nil, why
		}
	}
	if err != nil || len(marked) == 0 {
		return nil, err
	}
	u, err := me(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case u.ID == 0:
		return nil, cyclone.Forbidden("Gitea does not say whose the token is, so that no comment can be known as its own: it needs the permission %s", needUser)
	}
	for i := len(marked) - 1; i >= 0; i-- {
		if marked[i].User.ID == u.ID {
			return &marked[i], nil
		}
	}
	return nil, nil
}
