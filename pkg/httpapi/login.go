package httpapi

import (
	"bytes"
	"context"
	_ "embed" // for the page's template
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// accounts connects people's accounts at forges by OAuth.
type accounts interface {
	// Begin is the address to open in the browser of a user of ours.
	Begin(ctx context.Context, scm, user string) (string, error)
	// Returned tells which user of ours began the login that a state is of, and
	// the forge's host; Finish ends it.
	Returned(ctx context.Context, scm, state string) (user, host string, err error)
	Finish(ctx context.Context, scm, state, code string) (*cyclone.Account, error)
	Accounts(ctx context.Context) ([]cyclone.Account, error)
	Account(ctx context.Context, id string) (*cyclone.Account, error)
	Forget(ctx context.Context, id string) error
	// AccountOf is the account that a project names.
	AccountOf(ctx context.Context, p *cyclone.Project) (*cyclone.Account, error)
}

// callbackQuery is what forges come back with.
var callbackQuery = []string{"code", "state", "error", "error_description", "error_uri", "iss"}

const (
	// maxLogin is the most bytes that a code, and a state, may have.
	maxLogin = 4096
	// maxForm is the most bytes of the form that confirms a login.
	maxForm = 16 << 10
)

//go:embed login.html
var loginTemplate string

// loginPage is what the page shows: a question when Code is there, the
// connected account, or a problem.
type loginPage struct {
	Title, Problem string
	User, Host     string
	State, Code    string
	Account        *cyclone.Account
}

// beginLogin answers with the address at the forge that the caller is to open.
func (s *Server) beginLogin(w http.ResponseWriter, r *http.Request) error {
	forges, err := s.forges()
	if err != nil {
		return err
	}
	address, err := forges.Begin(r.Context(), mux.Vars(r)["scm"], actor(r))
	if err != nil {
		return err
	}
	return show(w, map[string]string{"url": address})
}

// askLogin is where the forge sends a browser back to. Nothing is done before
// whoever sits there confirms it: a stranger could have sent them the address,
// and would get their token.
func (s *Server) askLogin(w http.ResponseWriter, r *http.Request) error {
	forges, err := s.forges()
	if err != nil {
		return s.loginProblem(w, r, err)
	}
	scm, q := mux.Vars(r)["scm"], r.URL.Query()
	page := &loginPage{Title: "Connect an account", State: q.Get("state"), Code: q.Get("code")}
	if len(page.State) > maxLogin || len(page.Code) > maxLogin || !utf8.ValidString(page.State+page.Code) {
		return s.loginProblem(w, r, cyclone.Invalid("state", "what the forge sent cannot be read"))
	}
	if page.User, page.Host, err = forges.Returned(r.Context(), scm, page.State); err != nil {
		return s.loginProblem(w, r, err)
	}
	if refusal := q.Get("error"); refusal != "" || page.Code == "" {
		return s.loginProblem(w, r, loginRefusal(refusal))
	}
	return s.writeLogin(w, http.StatusOK, page)
}

// refusalPattern is what OAuth's words for errors look like. What else a forge
// says of them is not shown: the address may come from anybody.
var refusalPattern = regexp.MustCompile(`^[a-z_]{1,60}$`)

func loginRefusal(code string) error {
	switch {
	case code == "access_denied":
		return cyclone.Forbidden("you did not give access at the forge, so nothing was connected")
	case refusalPattern.MatchString(code):
		return cyclone.Forbidden("the forge refused the login (%s); nothing was connected", code)
	}
	return cyclone.Forbidden("the forge refused the login; nothing was connected")
}

// finishLogin takes the confirmation.
func (s *Server) finishLogin(w http.ResponseWriter, r *http.Request) error {
	forges, err := s.forges()
	if err != nil {
		return s.loginProblem(w, r, err)
	}
	form, err := readConfirmation(w, r)
	if err != nil {
		return s.loginProblem(w, r, err)
	}
	ctx, cancel := atForge(r)
	defer cancel()
	account, err := forges.Finish(ctx, mux.Vars(r)["scm"], form.Get("state"), form.Get("code"))
	if err != nil {
		return s.loginProblem(w, r, err)
	}
	return s.writeLogin(w, http.StatusOK, &loginPage{Title: "Account connected", Account: account})
}

// readConfirmation reads the form of our own page, and of no other.
func readConfirmation(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return nil, cyclone.Forbidden("a login is confirmed on this server's own page only")
	}
	if err := checkType(r, "application/x-www-form-urlencoded"); err != nil {
		return nil, err
	}
	body, err := readBody(w, r, maxForm)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("code") == "" || form.Get("state") == "" {
		return nil, cyclone.Invalid("code", "the form is not the one of this server's page")
	}
	return form, nil
}

// loginProblem shows an error as a page: a person sees it in a browser.
func (s *Server) loginProblem(w http.ResponseWriter, r *http.Request, err error) error {
	status, detail := describe(err)
	var invalid *cyclone.InvalidError
	if errors.As(err, &invalid) && len(invalid.Fields) == 1 {
		detail.Message = invalid.Fields[0].Message
	}
	if status == http.StatusInternalServerError {
		s.Log.ErrorContext(r.Context(), "login failed", "request", requestID(r), "error", err)
		detail.Message = "something went wrong here; the server's log has more under " + requestID(r)
	}
	return s.writeLogin(w, status, &loginPage{Title: "The account was not connected", Problem: sentence(detail.Message)})
}

// sentence begins a message with a capital letter.
func sentence(message string) string {
	if message == "" {
		return ""
	}
	return strings.ToUpper(message[:1]) + message[1:] + "."
}

func (s *Server) writeLogin(w http.ResponseWriter, status int, page *loginPage) error {
	t, err := template.New("login").Parse(loginTemplate)
	if err != nil {
		return fmt.Errorf("read page template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a caller that has gone is no error
	return nil
}
