// Package github understands GitHub's webhook deliveries: it names them,
// checks their signature and turns them into a cyclone.Hook. It also calls
// GitHub's REST API: about repositories and their webhooks, and to set the
// result of an event beside its commit.
//
// Deliveries come from outside: a field that is missing, null or of another
// type counts as not said, and a delivery that lacks what it cannot do without
// is refused. Reading one calls nobody. Whether a hook starts anything is
// trigger's decision; when a status is set, and when again, is progress's.
package github

import (
	"net/http"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// GitHub's headers.
const (
	headerKind      = "X-GitHub-Event"
	headerDelivery  = "X-GitHub-Delivery"
	headerSignature = "X-Hub-Signature-256"
	headerOldSum    = "X-Hub-Signature" // HMAC-SHA1, not accepted
)

// Forge is the cyclone.Forge of GitHub and of GitHub Enterprise Server.
type Forge struct{}

// DeliveryID is the value of X-GitHub-Delivery, which GitHub keeps when a
// delivery is repeated; without a usable one a digest of kind and body.
func (Forge) DeliveryID(header http.Header, body []byte) cyclone.DeliveryID {
	return payload.ID(header.Get(headerDelivery), []byte(header.Get(headerKind)), body)
}

// Verify checks X-Hub-Signature-256 over the raw body in constant time.
func (Forge) Verify(header http.Header, body, secret []byte) error {
	given := header.Get(headerSignature)
	sum, prefixed := strings.CutPrefix(given, "sha256=")
	switch {
	case len(secret) == 0:
		return cyclone.Forbidden("the project has no webhook secret, so no signature can be right")
	case given == "" && header.Get(headerOldSum) != "":
		return cyclone.Forbidden("only %s (SHA-1) was sent, which is not accepted; %s is needed", headerOldSum, headerSignature)
	case given == "":
		return cyclone.Forbidden("%s is missing; set the project's webhook secret in GitHub's webhook form", headerSignature)
	case !prefixed || !payload.Signed(body, secret, sum):
		return cyclone.Forbidden("%s does not match the body; the secret in GitHub's webhook form is not the project's", headerSignature)
	}
	return nil
}

// Parse reads a delivery that Verify accepted. Both content types that GitHub
// offers are read.
func (Forge) Parse(header http.Header, body []byte) (*cyclone.Hook, error) {
	kind, media := header.Get(headerKind), header.Get("Content-Type")
	switch kind {
	case "":
		return nil, cyclone.Invalid(headerKind, "the header is missing, so this is no delivery of GitHub")
	case "push":
		return read(media, body, push)
	case "pull_request":
		return read(media, body, pullRequest)
	case "issue_comment":
		return read(media, body, issueComment)
	case "release":
		return read(media, body, release)
	case "ping":
		return read(media, body, ignore("ping: the webhook works"))
	case "create", "delete":
		return read(media, body, ignore(kind+": the push delivery says the same"))
	}
	return read(media, body, ignore("deliveries of kind "+shorten(kind)+" start nothing"))
}

// read decodes a body as the kind of delivery that build takes.
func read[T any](media string, body []byte, build func(*T) (*cyclone.Hook, error)) (*cyclone.Hook, error) {
	var delivery T
	if err := payload.Decode(media, body, &delivery); err != nil {
		return nil, err
	}
	return build(&delivery)
}

// ignore is for kinds of delivery that start nothing.
func ignore(why string) func(*common) (*cyclone.Hook, error) {
	return func(c *common) (*cyclone.Hook, error) { return c.ignored("%s", why), nil }
}

// shorten keeps texts from outside short in messages.
func shorten(s string) string { return payload.Short(s) }
