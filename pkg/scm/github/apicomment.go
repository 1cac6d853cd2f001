package github

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// maxCommentPages is how many pages of comments are read: GitHub takes 2,500
// comments on a pull request.
const maxCommentPages = 25

// comment is a comment of a pull request, which GitHub keeps as one of the
// issue of the same number.
type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User *struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"user"` // null when the user is gone
}

// PutComment writes a comment, or over the last one that has the marker on a
// line of its own and was written by the token's user. Anybody can write the
// marker, and a token may change other people's comments: those are left alone.
// An app's token has no user; it takes the comment of a bot for its own.
func (g *API) PutComment(ctx context.Context, a cyclone.ForgeAccess, number int, marker, text string) error {
	c, at, err := g.forge(a)
	if err != nil {
		return fmt.Errorf("write comment: %w", err)
	}
	thing, err := pull(number)
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
// nil for none.
func ownComment(ctx context.Context, c *rest.Client, at place, number int, marker string) (*comment, error) {
	all, _, err := rest.All(maxCommentPages, func(p rest.Place) ([]comment, *rest.Answer, error) {
		var some []comment
		answer, err := c.Do(ctx, rest.Call{
			Path: at.path("issues", strconv.Itoa(number), "comments"), Query: p.Query("per_page"),
			Into: &some, Max: maxPatches, Need: needComment, Thing: fmt.Sprintf("pull request %d", number),
		})
		return withMarker(some, marker), answer, err
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	login, err := account(ctx, c)
	if err != nil {
		return nil, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		user := all[i].User
		if user != nil && (strings.EqualFold(user.Login, login) || login == "" && user.Type == "Bot") {
			return &all[i], nil
		}
	}
	return nil, nil
}

func withMarker(some []comment, marker string) []comment {
	var those []comment
	for _, c := range some {
		if rest.HasMarker(c.Body, marker) {
			those = append(those, c)
		}
	}
	return those
}
