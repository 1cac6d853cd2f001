package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// Identity is whom a token belongs to.
type Identity struct {
	Name string `json:"name"`
	Role string `json:"role"` // RoleAdmin or RoleUser
}

// The roles.
const (
	RoleAdmin = "admin"
	RoleUser  = "user"
)

// Authenticator knows whose token it is.
type Authenticator interface {
	// Authenticate returns ErrForbidden for a token that is not known.
	Authenticate(ctx context.Context, token string) (Identity, error)
}

// AdminToken is the SHA-256 of the one administrator's token. It is an
// Authenticator that knows nobody else.
type AdminToken [sha256.Size]byte

// HashToken returns what may be kept of a token.
func HashToken(token string) AdminToken { return sha256.Sum256([]byte(token)) }

// Authenticate compares hashes in constant time.
func (a AdminToken) Authenticate(_ context.Context, token string) (Identity, error) {
	given := HashToken(token)
	if subtle.ConstantTimeCompare(a[:], given[:]) != 1 {
		return Identity{}, cyclone.Forbidden("token is not known")
	}
	return Identity{Name: "admin", Role: RoleAdmin}, nil
}

// subprotocol is what browsers ask for beside their token, because they cannot
// send headers with a websocket.
const (
	subprotocol  = "cyclone.v1"
	bearerPrefix = "bearer."
)

// admit checks that the caller may use the route and notes who it is.
func (s *Server) admit(access Access, r *http.Request) (*http.Request, error) {
	if access == Open || access == Worker {
		return r, nil
	}
	token := bearer(r)
	if access == Socket {
		if err := s.checkOrigin(r); err != nil {
			return r, err
		}
		if token == "" {
			token = subprotocolToken(r)
		}
	}
	who, err := s.authenticate(r.Context(), token)
	if err != nil {
		return r, err
	}
	if a := visitOf(r.Context()); a != nil {
		a.who = who
	}
	if access == Admin && who.Role != RoleAdmin {
		return r, cyclone.Forbidden("only administrators may do this")
	}
	return r, nil
}

func (s *Server) authenticate(ctx context.Context, token string) (Identity, error) {
	if token == "" {
		return Identity{}, unauthenticated("a token is needed; send it as \"Authorization: Bearer <token>\"")
	}
	who, err := s.Auth.Authenticate(ctx, token)
	if errors.Is(err, cyclone.ErrForbidden) {
		return who, unauthenticated("the token is not known or no longer valid")
	}
	return who, err
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func subprotocolToken(r *http.Request) string {
	asked := websocket.Subprotocols(r)
	if !slices.Contains(asked, subprotocol) {
		return ""
	}
	for _, p := range asked {
		if token, ok := strings.CutPrefix(p, bearerPrefix); ok {
			return token
		}
	}
	return ""
}

// checkOrigin keeps pages of strangers from opening websockets with a user's
// browser. Programs send no Origin.
func (s *Server) checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(s.Origins, origin) {
		return nil
	}
	u, err := url.Parse(origin)
	if err == nil && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	own, ownErr := url.Parse(s.ExternalURL)
	if err == nil && ownErr == nil && u.Scheme == own.Scheme && u.Host != "" && strings.EqualFold(u.Host, own.Host) {
		return nil
	}
	return cyclone.Forbidden("pages of this origin may not connect; the server's administrator allows origins with CYCLONE_CORS_ORIGINS")
}

// actor is the name of who asks.
func actor(r *http.Request) string { return identity(r).Name }

func identity(r *http.Request) Identity {
	if a := visitOf(r.Context()); a != nil {
		return a.who
	}
	return Identity{}
}
