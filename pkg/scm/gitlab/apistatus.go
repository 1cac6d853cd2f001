package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// commitState are GitLab's words.
var commitState = map[cyclone.CommitState]string{
	cyclone.CommitPending: "pending", cyclone.CommitRunning: "running",
	cyclone.CommitSuccess: "success", cyclone.CommitSkipped: "skipped",
	cyclone.CommitFailure: "failed", cyclone.CommitError: "failed", cyclone.CommitCanceled: "canceled",
}

// commitStatus is what GitLab is told of a commit.
type commitStatus struct {
	State       string `json:"state"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	TargetURL   string `json:"target_url,omitempty"`
	// Ref is a branch or a tag; without it GitLab takes a branch that has the
	// commit.
	Ref string `json:"ref,omitempty"`
}

// SetStatus sets a commit's status. GitLab keeps it as a job that goes from
// pending to running to its end, and refuses to go back or to stay: what is so
// already, or further on, is fine. Hence the description of a job that runs
// stays the first one until its end.
func (g *API) SetStatus(ctx context.Context, a cyclone.ForgeAccess, sha string, s cyclone.CommitStatus) error {
	c, at, err := g.project(a)
	if err != nil {
		return fmt.Errorf("set commit status: %w", err)
	}
	state, known := commitState[s.State]
	switch {
	case !known:
		return fmt.Errorf("set commit status: %w", cyclone.Invalid("state", "%q is no state of a commit", s.State))
	case !isHash(sha):
		return fmt.Errorf("set commit status: %w", cyclone.Invalid("commit", "%q is not the full hash of a commit", rest.Line(sha, 100)))
	}
	body := commitStatus{State: state, Name: s.Context, Description: rest.Line(s.Description, maxDescriptionRunes), TargetURL: s.URL}
	if body.Ref, err = statusRef(ctx, c, at, s.Ref); err != nil {
		return fmt.Errorf("set commit status: %w", err)
	}
	if utf8.RuneCountInString(s.URL) > maxURLRunes {
		body.TargetURL = "" // a status without a link is better than none
	}
	err = tell(ctx, c, at, sha, body)
	if state == "skipped" && rest.Status(err) == http.StatusBadRequest {
		// GitLab before 17.6 has no such state, and none takes it for a job that
		// runs, which must not run for ever.
		body.State = "success"
		err = tell(ctx, c, at, sha, body)
	}
	return wrap("set commit status", err)
}

func tell(ctx context.Context, c *rest.Client, at place, sha string, body commitStatus) error {
	var made struct {
		Status string `json:"status"`
	}
	_, err := c.Do(ctx, rest.Call{
		Method: http.MethodPost, Path: at.below("statuses", sha), Body: body, Into: &made, Need: needStatus, Thing: "commit " + sha[:7],
	})
	switch status := rest.Status(err); {
	case status == http.StatusBadRequest && beyond(err.Error(), body.State):
		return nil
	case status == http.StatusConflict && strings.Contains(err.Error(), "in progress"):
		return cyclone.Unavailable("GitLab is busy with another status of the commit (%v)", err)
	}
	return err
}

// statusRef is what GitLab is told of a ref. It decides to which pipeline the
// status belongs: the page of a merge request shows that of the source branch.
// The commits of a fork are on no branch of the project; of those GitLab takes
// the merge request's own ref. Empty leaves it to GitLab.
func statusRef(ctx context.Context, c *rest.Client, at place, ref string) (string, error) {
	number := 0
	if n, err := fmt.Sscanf(ref, "refs/merge-requests/%d/head", &number); err != nil || n != 1 || ref != headRef(int64(number)) || number < 1 {
		return shortRef(ref), nil
	}
	request, err := readRequest(ctx, c, at, number)
	switch {
	case errors.Is(err, cyclone.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case request.fork():
		return ref, nil
	}
	return shortRef("refs/heads/" + request.Source), nil
}

// shortRef is the name of a branch or a tag; empty for another ref, such as
// that of a merge request.
func shortRef(ref string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if name, ok := strings.CutPrefix(ref, prefix); ok && utf8.RuneCountInString(name) <= 255 {
			return name
		}
	}
	return ""
}

// refusedStep is GitLab's word for a step that a job cannot take: "Cannot
// transition status via :run from :running".
var refusedStep = regexp.MustCompile(`Cannot transition status via :\w+ from :(\w+)`)

// beyond reports whether GitLab refused a state because the job has it or is
// further on.
func beyond(says, wanted string) bool {
	m := refusedStep.FindStringSubmatch(says)
	if m == nil {
		return false
	}
	order := []string{"pending", "running"}
	is, want := slices.Index(order, m[1]), slices.Index(order, wanted)
	if is < 0 {
		is = len(order) // one of the ends
	}
	return m[1] == wanted || want >= 0 && is > want
}
