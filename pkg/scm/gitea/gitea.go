// Package gitea understands the webhook deliveries of Gitea and of Forgejo: it
// names them, checks their signature and turns them into a cyclone.Hook. It
// also calls their REST API: about repositories and their webhooks, and to set
// the result of an event beside its commit.
//
// Deliveries come from outside: a field that is missing, null or of another
// type counts as not said, and a delivery that lacks what it cannot do without
// is refused. Reading one calls nobody. Whether a hook starts anything is
// trigger's decision; when a status is set, and when again, is progress's.
package gitea

import (
	"net/http"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// Gitea's headers. It also sends those of GitHub and Gogs, and Forgejo some
// of its own; they say the same.
const (
	headerKind      = "X-Gitea-Event"
	headerDelivery  = "X-Gitea-Delivery"
	headerSignature = "X-Gitea-Signature"
	headerHub       = "X-Hub-Signature-256"
	headerOldSum    = "X-Hub-Signature" // HMAC-SHA1, not accepted
	forgejoKind     = "X-Forgejo-Event"
	forgejoDelivery = "X-Forgejo-Delivery"
	forgejoSign     = "X-Forgejo-Signature"
)

// Forge is the cyclone.Forge of Gitea and of Forgejo.
type Forge struct{}

// first is the value of the first of the headers that has one.
func first(header http.Header, names ...string) string {
	for _, name := range names {
		if value := header.Get(name); value != "" {
			return value
		}
	}
	return ""
}

// DeliveryID is the value of X-Gitea-Delivery; without a usable one a digest
// of kind and body.
func (Forge) DeliveryID(header http.Header, body []byte) cyclone.DeliveryID {
	return payload.ID(first(header, headerDelivery, forgejoDelivery), []byte(first(header, headerKind, forgejoKind)), body)
}

// Verify checks X-Gitea-Signature, or else X-Hub-Signature-256, in constant
// time. Of a form Gitea signs the JSON in it, not the form.
func (Forge) Verify(header http.Header, body, secret []byte) error {
	given := first(header, headerSignature, forgejoSign)
	if given == "" {
		given = strings.TrimPrefix(header.Get(headerHub), "sha256=")
	}
	switch {
	case len(secret) == 0:
		return cyclone.Forbidden("the project has no webhook secret, so no signature can be right")
	case given == "" && header.Get(headerOldSum) != "":
		return cyclone.Forbidden("only %s (SHA-1) was sent, which is not accepted; %s is needed", headerOldSum, headerSignature)
	case given == "":
		return cyclone.Forbidden("%s is missing; set the project's webhook secret in Gitea's webhook form", headerSignature)
	case payload.Signed(body, secret, given):
		return nil
	}
	text, err := payload.JSON(header.Get("Content-Type"), body)
	if err == nil && payload.IsForm(header.Get("Content-Type")) && payload.Signed(text, secret, given) {
		return nil
	}
	return cyclone.Forbidden("%s does not match the body; the secret in Gitea's webhook form is not the project's", headerSignature)
}

// Parse reads a delivery that Verify accepted. Both content types that Gitea
// offers are read.
func (Forge) Parse(header http.Header, body []byte) (*cyclone.Hook, error) {
	kind, media := first(header, headerKind, forgejoKind), header.Get("Content-Type")
	switch kind {
	case "":
		return nil, cyclone.Invalid(headerKind, "the header is missing, so this is no delivery of Gitea")
	case "push":
		return read(media, body, push)
	case "pull_request":
		return read(media, body, pullRequest)
	case "issue_comment":
		return read(media, body, issueComment)
	case "release":
		return read(media, body, release)
	case "create", "delete":
		// Of a new tag or branch Gitea sends a push too, which says more.
		return read(media, body, ignore(kind+": the push delivery says the same"))
	}
	return read(media, body, ignore("deliveries of kind "+payload.Short(kind)+" start nothing"))
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
