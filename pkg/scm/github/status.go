package github

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

const (
	// statusTime bounds one call of GitHub.
	statusTime = 30 * time.Second
	// maxDescription is the most characters that GitHub takes.
	maxDescription = 140
	// maxAnswer is how much of an answer is read to find out what it says.
	maxAnswer = 64 << 10
	// apiVersion is the version of GitHub's API that this is written for.
	apiVersion = "2022-11-28"
)

// Statuses sets the result of an event beside its commit. Its methods are safe
// for concurrent use.
type Statuses struct {
	Secrets cyclone.SecretStore
	Sealer  cyclone.Sealer
	// EventURL is the address of an event's page; nil for none.
	EventURL func(*cyclone.Event) string
	// Client makes the calls; nil means one with a time limit of its own.
	Client *http.Client
}

// Wanted reports whether the result can be set: the event is over and its
// commit known, and the project is on GitHub and names a credential.
func (s *Statuses) Wanted(p *cyclone.Project, e *cyclone.Event) bool {
	_, ok := placeOf(p.Repository.URL)
	return ok && p.Repository.Type == "github" && p.Repository.Credential != "" &&
		e.Status.Final() && payload.IsHash(e.Commit.SHA)
}

// Notify sets the status of a final event's commit under the context
// "cyclone/<project>"; it does nothing when that is not Wanted. To do it twice
// is harmless: GitHub shows the last status of a commit and context, and that
// is the same one then.
//
// ErrForbidden, ErrNotFound and ErrInvalid mean that trying again changes
// nothing before somebody changes the token, the project or the commit;
// ErrUnavailable that it may.
func (s *Statuses) Notify(ctx context.Context, p *cyclone.Project, e *cyclone.Event) error {
	if !s.Wanted(p, e) {
		return nil
	}
	at, _ := placeOf(p.Repository.URL) // Wanted says that there is one
	token, err := s.token(ctx, p)
	if err != nil {
		return fmt.Errorf("set commit status: %w", err)
	}
	ctx, stop := context.WithTimeout(ctx, statusTime)
	defer stop()
	if err := s.post(ctx, p, at, e.Commit.SHA, token, s.status(p, e)); err != nil {
		return fmt.Errorf("set commit status: %w", err)
	}
	return nil
}

// token opens the project's repository credential: "user:token", or a bare
// token.
func (s *Statuses) token(ctx context.Context, p *cyclone.Project) (string, error) {
	name := p.Repository.Credential
	secret, err := s.Secrets.Find(ctx, p.Name, name)
	if errors.Is(err, cyclone.ErrNotFound) {
		return "", cyclone.NotFound("project %q names the secret %q as its repository's credential, but has no such secret", p.Name, name)
	}
	if err != nil {
		return "", fmt.Errorf("find secret %q: %w", name, err)
	}
	value, err := s.Sealer.Open(secret.Purpose(), secret.Value)
	if err != nil {
		return "", cyclone.Invalid("repository.credential", "the secret %q cannot be opened: %v", name, err)
	}
	user, token, pair := strings.Cut(string(value), ":")
	if !pair {
		token = user
	}
	token = strings.TrimSpace(token)
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", cyclone.Invalid("repository.credential", "the secret %q does not hold a token of GitHub's", name)
	}
	return token, nil
}

// status is what GitHub is told.
type status struct {
	State       string `json:"state"`
	TargetURL   string `json:"target_url,omitempty"`
	Description string `json:"description"`
	Context     string `json:"context"`
}

// states are GitHub's words. A skipped event is a success: nothing is wrong,
// and a commit that asked for no run must not be kept from being merged.
var states = map[cyclone.Status]string{
	cyclone.StatusSuccess: "success", cyclone.StatusSkipped: "success", cyclone.StatusFailure: "failure",
}

func (s *Statuses) status(p *cyclone.Project, e *cyclone.Event) status {
	told := status{State: cmp.Or(states[e.Status], "error"), Description: describe(e), Context: "cyclone/" + string(p.Name)}
	if s.EventURL != nil {
		told.TargetURL = s.EventURL(e)
	}
	return told
}

// describe says how an event ended, how long it took and why, as far as there
// is room.
func describe(e *cyclone.Event) string {
	text := string(e.Status)
	if e.StartedAt != nil && e.FinishedAt != nil {
		if took := e.FinishedAt.Sub(*e.StartedAt); took > 0 {
			text += " after " + cyclone.Duration(max(took.Round(time.Second), time.Second)).String()
		}
	}
	if why := strings.TrimSpace(strings.Map(printable, e.Reason)); why != "" {
		text += ": " + why
	}
	if all := []rune(text); len(all) > maxDescription {
		text = string(all[:maxDescription-3]) + "..."
	}
	return text
}

// printable keeps a text from outside in one line.
func printable(r rune) rune {
	if unicode.IsSpace(r) {
		return ' '
	}
	if !unicode.IsPrint(r) {
		return -1
	}
	return r
}

func (s *Statuses) post(ctx context.Context, p *cyclone.Project, at place, sha, token string, told status) error {
	body, err := json.Marshal(told)
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at.api()+"/repos/"+at.owner+"/"+at.name+"/statuses/"+sha, bytes.NewReader(body))
	if err != nil {
		return cyclone.Invalid("repository.url", "makes no address: %v", err)
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "cyclone")
	request.Header.Set("X-GitHub-Api-Version", apiVersion)
	answer, err := s.client().Do(request)
	if err != nil {
		return cyclone.Unavailable("%s cannot be reached: %v", at.api(), err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil && answer.StatusCode != http.StatusCreated {
		return cyclone.Unavailable("%s broke off its answer: %v", at.api(), err)
	}
	return judge(answer, text, p, at)
}

// client follows only what keeps the request as it is: of a 301 or 302 Go would
// make a GET, whose answer looks like a success.
func (s *Statuses) client() *http.Client {
	c := http.Client{Timeout: statusTime}
	if s.Client != nil {
		c = *s.Client
	}
	c.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if len(via) > 3 || next.Method != via[0].Method || next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &c
}
