package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// maxSecret is the most bytes that a secret's value may have.
const maxSecret = 64 << 10

// secretBody is a secret in a request. Answers never hold a value.
type secretBody struct {
	Value  string                `json:"value"`
	Events []cyclone.TriggerKind `json:"events"`
	Masked *bool                 `json:"masked"` // true by default
}

func (b *secretBody) check(name string) error {
	var bad cyclone.InvalidError
	if !secretPattern.MatchString(name) {
		bad.Add("name", "must be 1 to 100 letters, digits, '_', '.' and '-', beginning with a letter or _")
	}
	if b.Value == "" || len(b.Value) > maxSecret {
		bad.Add("value", "is required and must be at most %d bytes long", maxSecret)
	}
	for i, kind := range b.Events {
		if !slices.Contains(kinds, kind) {
			bad.Add("events["+strconv.Itoa(i)+"]", "is not a kind of trigger%s", oneOf(texts(kinds)))
		}
	}
	return bad.OrNil()
}

func secretName(r *http.Request) string { return mux.Vars(r)["secret"] }

func (s *Server) listSecrets(w http.ResponseWriter, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	all, err := s.Secrets.List(r.Context(), p.Name)
	if err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	return writePage(w, r, all, func(s *cyclone.Secret) string { return s.Name })
}

// secret finds the secret of the address.
func (s *Server) secret(r *http.Request) (*cyclone.Secret, error) {
	p, err := s.project(r)
	if err != nil {
		return nil, err
	}
	secret, err := s.Secrets.Find(r.Context(), p.Name, secretName(r))
	if err != nil {
		return nil, notFound(err, "project %q has no secret %q", p.Name, clip(secretName(r), 100))
	}
	return secret, nil
}

func (s *Server) showSecret(w http.ResponseWriter, r *http.Request) error {
	secret, err := s.secret(r)
	if err != nil {
		return err
	}
	return show(w, secret)
}

func (s *Server) putSecret(w http.ResponseWriter, r *http.Request) error {
	var body secretBody
	err := allWrong(readJSON(w, r, &body), func() error { return body.check(secretName(r)) })
	if err != nil {
		return err
	}
	p, err := s.project(r)
	if err != nil {
		return err
	}
	secret := &cyclone.Secret{Project: p.Name, Name: secretName(r), Events: body.Events, Masked: body.Masked == nil || *body.Masked}
	fresh, err := s.storeSecret(r.Context(), secret, body.Value)
	if err != nil {
		return err
	}
	if fresh {
		return created(w, r.URL.EscapedPath(), secret)
	}
	return show(w, secret)
}

// storeSecret seals a value into a secret and stores it, over one of the same
// name; it reports whether there was none.
func (s *Server) storeSecret(ctx context.Context, secret *cyclone.Secret, value string) (fresh bool, err error) {
	old, err := s.Secrets.Find(ctx, secret.Project, secret.Name)
	fresh = errors.Is(err, cyclone.ErrNotFound)
	if err != nil && !fresh {
		return false, fmt.Errorf("find secret: %w", err)
	}
	secret.UpdatedAt = cyclone.Stamp(time.Now())
	secret.CreatedAt = secret.UpdatedAt
	if !fresh {
		secret.CreatedAt = old.CreatedAt
	}
	if secret.Events == nil {
		secret.Events = []cyclone.TriggerKind{}
	}
	if secret.Value, err = s.Sealer.Seal(secret.Purpose(), []byte(value)); err != nil {
		return false, fmt.Errorf("seal secret: %w", err)
	}
	if err := s.Secrets.Put(ctx, secret); err != nil {
		return false, fmt.Errorf("save secret: %w", err)
	}
	return fresh, nil
}

func (s *Server) deleteSecret(w http.ResponseWriter, r *http.Request) error {
	secret, err := s.secret(r)
	if err != nil {
		return err
	}
	if err := s.Secrets.Delete(r.Context(), secret.Project, secret.Name); err != nil {
		return fmt.Errorf("delete secret: %w", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
