package connect

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"golang.org/x/oauth2"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

const (
	// loginTime is how long somebody may take between asking to log in and
	// coming back from the forge.
	loginTime = 10 * time.Minute
	// loginPrefix begins the names of the marks of states that were used.
	loginPrefix = "login/"
	// statePurpose is what a state is sealed for.
	statePurpose = "oauth/state"
)

// state is what travels to the forge and back, sealed: who asked, and the
// verifier of PKCE, which only this server may know.
type state struct {
	SCM      string    `json:"s"`
	Host     string    `json:"h"`
	User     string    `json:"u"`
	Verifier string    `json:"v"`
	Nonce    string    `json:"n"`
	Until    time.Time `json:"t"`
}

// Begin starts a login for a user of ours: the returned address is to be opened
// in that user's browser. ErrNotFound when there is no OAuth app of the forge.
func (c *Connector) Begin(ctx context.Context, scm, user string) (string, error) {
	app, err := c.app(scm, "")
	if err != nil {
		return "", err
	}
	c.forgetStates(ctx)
	s := state{SCM: scm, Host: app.host(), User: user, Verifier: oauth2.GenerateVerifier(), Nonce: rand.Text(), Until: cyclone.Stamp(c.Now().Add(loginTime))}
	plain, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode state: %w", err)
	}
	sealed, err := c.Sealer.Seal(statePurpose, plain)
	if err != nil {
		return "", fmt.Errorf("seal state: %w", err)
	}
	return c.config(app).AuthCodeURL(base64.RawURLEncoding.EncodeToString(sealed), oauth2.S256ChallengeOption(s.Verifier)), nil
}

// forgetStates drops the marks of states that are too old to be used anyway.
func (c *Connector) forgetStates(ctx context.Context) {
	marks, err := c.Marks.List(ctx, "", loginPrefix)
	if err != nil {
		c.Log.WarnContext(ctx, "old logins could not be listed", "error", err)
		return
	}
	for _, m := range marks {
		until, err := time.Parse(time.RFC3339Nano, string(m.Value))
		if err == nil && until.After(c.Now()) {
			continue
		}
		if err := c.Marks.Delete(ctx, "", m.Name); err != nil && !errors.Is(err, cyclone.ErrNotFound) {
			c.Log.WarnContext(ctx, "old login could not be forgotten", "error", err)
		}
	}
}

// Returned tells, of the state with which a browser comes back from a forge,
// which user of ours began the login, and the host of the forge. ErrInvalid for
// a state that we did not make for that forge, ErrForbidden for one that is too
// old, ErrConflict for one that was used.
func (c *Connector) Returned(ctx context.Context, scm, given string) (user, host string, err error) {
	s, err := c.state(ctx, scm, given)
	if err != nil {
		return "", "", err
	}
	return s.User, s.Host, nil
}

func (c *Connector) state(ctx context.Context, scm, given string) (*state, error) {
	unknown := cyclone.Invalid("state", "this address was not made by a login that began here; begin again with `cyclone scm login`")
	sealed, err := base64.RawURLEncoding.DecodeString(given)
	if err != nil {
		return nil, unknown
	}
	plain, err := c.Sealer.Open(statePurpose, sealed)
	if err != nil {
		return nil, unknown
	}
	s := &state{}
	if err := json.Unmarshal(plain, s); err != nil || s.SCM != scm {
		return nil, unknown
	}
	if !c.Now().Before(s.Until) {
		return nil, cyclone.Forbidden("this login took longer than %s; begin again with `cyclone scm login`", cyclone.Duration(loginTime))
	}
	_, err = c.Marks.Find(ctx, "", loginPrefix+s.Nonce)
	if err == nil {
		return nil, used()
	}
	if !errors.Is(err, cyclone.ErrNotFound) {
		return nil, fmt.Errorf("find login: %w", err)
	}
	return s, nil
}

func used() error {
	return cyclone.Conflict("this login is over already; begin a new one with `cyclone scm login`")
}

// Finish ends a login: it trades the code for a token and keeps the account.
// Each state is good for one call. The errors are those of Returned, then
// ErrForbidden when the forge refuses and ErrUnavailable when it does not work.
func (c *Connector) Finish(ctx context.Context, scm, given, code string) (*cyclone.Account, error) {
	s, err := c.state(ctx, scm, given)
	if err != nil {
		return nil, err
	}
	app, err := c.app(s.SCM, s.Host)
	if err != nil {
		return nil, err
	}
	once := &cyclone.Mark{Name: loginPrefix + s.Nonce, Value: []byte(s.Until.Format(time.RFC3339Nano))}
	err = c.Marks.Put(ctx, once)
	if errors.Is(err, cyclone.ErrConflict) {
		return nil, used()
	}
	if err != nil {
		return nil, fmt.Errorf("use login: %w", err)
	}
	token, err := c.config(app).Exchange(c.calling(ctx), code, oauth2.VerifierOption(s.Verifier))
	if err != nil {
		return nil, app.problem(err, code, s.Verifier)
	}
	login, err := c.whoami(ctx, app, token.AccessToken)
	if err != nil {
		return nil, fmt.Errorf("ask %s whose token this is: %w", app.host(), err)
	}
	return c.keep(ctx, app, login, s.User, token)
}

// loginPattern is what names of accounts look like; they become parts of ids.
var loginPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$`)

// whoami asks the forge whose token it is.
func (c *Connector) whoami(ctx context.Context, app OAuthApp, token string) (string, error) {
	var who struct {
		Login    string `json:"login"`    // GitHub
		Username string `json:"username"` // GitLab
	}
	api := &rest.Client{Forge: app.title(), Base: app.api(), Credential: cyclone.Credential{Username: tokenUser, Password: token},
		Header: forgeForms[app.SCM].header, HTTP: c.client()}
	if _, err := api.Do(ctx, rest.Call{Path: "/user", Into: &who, Thing: "the token's account"}); err != nil {
		return "", err
	}
	name := who.Login
	if name == "" {
		name = who.Username
	}
	if !loginPattern.MatchString(name) {
		return "", cyclone.Unavailable("%s does not tell the name of the account", app.host())
	}
	return name, nil
}

// keep stores the account, over what was kept of it before.
func (c *Connector) keep(ctx context.Context, app OAuthApp, login, owner string, token *oauth2.Token) (*cyclone.Account, error) {
	g := &grant{Login: login, Owner: owner, Access: token.AccessToken, Refresh: token.RefreshToken, Expiry: c.expiry(token), Created: cyclone.Stamp(c.Now())}
	id := accountID(app.SCM, app.host(), login)
	for attempt := 1; ; attempt++ {
		m, err := c.Marks.Find(ctx, "", accountPrefix+id)
		if errors.Is(err, cyclone.ErrNotFound) {
			m = &cyclone.Mark{Name: accountPrefix + id}
		} else if err != nil {
			return nil, fmt.Errorf("find account %s: %w", id, err)
		}
		err = c.put(ctx, m, g)
		if err == nil {
			c.Log.InfoContext(ctx, "account connected", "account", id, "owner", owner)
			a := g.account(m)
			return &a, nil
		}
		if !errors.Is(err, cyclone.ErrConflict) || attempt == saveAttempts {
			return nil, fmt.Errorf("keep account %s: %w", id, err)
		}
	}
}
