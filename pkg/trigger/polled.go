package trigger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"cyclone/pkg/cyclone"
)

// Polled understands the deliveries that polling writes: the body is a
// cyclone.Hook as JSON. Nobody can send one from outside.
type Polled struct{}

// DeliveryID is a digest of the body.
func (Polled) DeliveryID(_ http.Header, body []byte) cyclone.DeliveryID {
	sum := sha256.Sum256(body)
	return cyclone.DeliveryID("poll-" + hex.EncodeToString(sum[:]))
}

// Verify refuses everything.
func (Polled) Verify(http.Header, []byte, []byte) error {
	return cyclone.Forbidden("deliveries of polling do not come from outside")
}

// Parse reads the hook, which must say how it was noticed.
func (Polled) Parse(_ http.Header, body []byte) (*cyclone.Hook, error) {
	h := &cyclone.Hook{}
	if err := json.Unmarshal(body, h); err != nil {
		return nil, cyclone.Invalid("body", "is not what polling writes: %v", err)
	}
	if h.Via == "" {
		return nil, cyclone.Invalid("via", "is missing")
	}
	return h, nil
}
