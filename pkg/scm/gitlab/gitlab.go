// Package gitlab understands GitLab's webhook deliveries: it names them,
// checks their token and turns them into a cyclone.Hook. It also calls
// GitLab's REST API: about repositories and their webhooks, and to set the
// result of an event beside its commit.
//
// Deliveries come from outside: a field that is missing, null or of another
// type counts as not said, and a delivery that lacks what it cannot do without
// is refused. Reading one calls nobody. Whether a hook starts anything is
// trigger's decision; when a status is set, and when again, is progress's.
package gitlab

import (
	"net/http"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// GitLab's headers.
const (
	headerKind  = "X-Gitlab-Event"
	headerPlain = "X-Gitlab-Token"
	headerEvent = "X-Gitlab-Event-UUID"
	headerRetry = "Idempotency-Key"
)

// Forge is the cyclone.Forge of GitLab, gitlab.com and others.
type Forge struct{}

// DeliveryID is the value of Idempotency-Key, which GitLab keeps when it sends
// a delivery again, or else of X-Gitlab-Event-UUID, which is new each time and
// all that GitLab before 17.4 sends; without a usable one a digest of kind and
// body. X-Gitlab-Webhook-UUID is not looked at: it is documented to name the
// webhook, not the delivery.
func (Forge) DeliveryID(header http.Header, body []byte) cyclone.DeliveryID {
	given := header.Get(headerRetry)
	if given == "" {
		given = header.Get(headerEvent)
	}
	return payload.ID(given, []byte(header.Get(headerKind)), body)
}

// Verify compares X-Gitlab-Token with the secret in constant time. The body is
// not signed: whoever reads a delivery on its way can make others, so GitLab
// has to call us by https.
func (Forge) Verify(header http.Header, _, secret []byte) error {
	given := header.Get(headerPlain)
	switch {
	case len(secret) == 0:
		return cyclone.Forbidden("the project has no webhook secret, so no token can be right")
	case given == "":
		return cyclone.Forbidden("%s is missing; set the project's webhook secret as the secret token in GitLab's webhook form", headerPlain)
	case !payload.Same(given, secret):
		return cyclone.Forbidden("%s is wrong; the secret token in GitLab's webhook form is not the project's webhook secret", headerPlain)
	}
	return nil
}

// Parse reads a delivery that Verify accepted.
func (Forge) Parse(header http.Header, body []byte) (*cyclone.Hook, error) {
	kind, media := header.Get(headerKind), header.Get("Content-Type")
	switch kind {
	case "":
		return nil, cyclone.Invalid(headerKind, "the header is missing, so this is no delivery of GitLab")
	case "Push Hook":
		return read(media, body, branchPush)
	case "Tag Push Hook":
		return read(media, body, tagPush)
	case "Merge Request Hook":
		return read(media, body, mergeRequest)
	case "Note Hook":
		return read(media, body, note)
	case "Release Hook":
		return read(media, body, release)
	case "System Hook":
		return read(media, body, ignore("a system hook is about the whole of GitLab; the project needs a webhook of its own"))
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
