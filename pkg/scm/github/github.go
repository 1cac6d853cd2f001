// Package github understands GitHub's webhook deliveries: it names them,
// checks their signature and turns them into a cyclone.Hook. It also sets the
// result of an event beside its commit.
//
// Deliveries come from outside: a field that is missing, null or of another
// type counts as not said, and a delivery that lacks what it cannot do without
// is refused. Only Statuses calls GitHub. Hooks are not managed here, and
// whether one starts anything is trigger's decision; when a status is set, and
// when again, is progress's.
package github

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"cyclone/pkg/cyclone"
)

// GitHub's headers.
const (
	headerKind      = "X-GitHub-Event"
	headerDelivery  = "X-GitHub-Delivery"
	headerSignature = "X-Hub-Signature-256"
	headerOldSum    = "X-Hub-Signature" // HMAC-SHA1, not accepted
)

// maxID is the longest delivery id that is taken as it is; GitHub's own are
// UUIDs of 36 characters.
const maxID = 100

// Forge is the cyclone.Forge of GitHub and of GitHub Enterprise Server.
type Forge struct{}

// DeliveryID is the value of X-GitHub-Delivery, which GitHub keeps when a
// delivery is repeated; without a usable one a digest of kind and body.
func (Forge) DeliveryID(header http.Header, body []byte) cyclone.DeliveryID {
	id := header.Get(headerDelivery)
	if id != "" && len(id) <= maxID && !strings.ContainsFunc(id, unfitForID) {
		return cyclone.DeliveryID(id)
	}
	sum := sha256.New()
	// A hash never fails to write.
	_, _ = sum.Write([]byte(header.Get(headerKind) + "\n"))
	_, _ = sum.Write(body)
	return cyclone.DeliveryID("sha256-" + hex.EncodeToString(sum.Sum(nil)))
}

func unfitForID(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}

// Verify checks X-Hub-Signature-256 over the raw body in constant time.
func (Forge) Verify(header http.Header, body, secret []byte) error {
	if len(secret) == 0 {
		return cyclone.Forbidden("the project has no webhook secret, so no signature can be right")
	}
	given := header.Get(headerSignature)
	if given == "" && header.Get(headerOldSum) != "" {
		return cyclone.Forbidden("only %s (SHA-1) was sent, which is not accepted; %s is needed", headerOldSum, headerSignature)
	}
	if given == "" {
		return cyclone.Forbidden("%s is missing; set the project's webhook secret in GitHub's webhook form", headerSignature)
	}
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write(body)
	sum, err := hex.DecodeString(strings.TrimPrefix(given, "sha256="))
	if err != nil || !strings.HasPrefix(given, "sha256=") || !hmac.Equal(sum, mac.Sum(nil)) {
		return cyclone.Forbidden("%s does not match the body; the secret in GitHub's webhook form is not the project's", headerSignature)
	}
	return nil
}

// Parse reads a delivery that Verify accepted. Both content types that GitHub
// offers are read.
func (Forge) Parse(header http.Header, body []byte) (*cyclone.Hook, error) {
	kind := header.Get(headerKind)
	if kind == "" {
		return nil, cyclone.Invalid(headerKind, "the header is missing, so this is no delivery of GitHub")
	}
	payload, err := decode(header.Get("Content-Type"), body)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "push":
		return push(payload)
	case "pull_request":
		return pullRequest(payload)
	case "release":
		return release(payload)
	case "ping":
		return ignored(payload, "ping: the webhook works"), nil
	case "create", "delete":
		return ignored(payload, kind+": the push delivery says the same"), nil
	}
	return ignored(payload, "deliveries of kind "+shorten(kind)+" start nothing"), nil
}

// decode reads the payload out of a JSON or a form-encoded body.
func decode(contentType string, body []byte) (node, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err == nil && media == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return node{}, cyclone.Invalid("body", "cannot be read as a form")
		}
		if !form.Has("payload") {
			return node{}, cyclone.Invalid("payload", "is missing from the form")
		}
		body = []byte(form.Get("payload"))
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil || v == nil {
		return node{}, cyclone.Invalid("body", "is not a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return node{}, cyclone.Invalid("body", "goes on after the JSON object")
	}
	return node{v}, nil
}

// ignored is a hook that starts nothing.
func ignored(p node, why string) *cyclone.Hook {
	return &cyclone.Hook{Ignored: why, Actor: actor(p), Repositories: repositories(p)}
}

// shorten keeps texts from outside short in messages.
func shorten(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}
