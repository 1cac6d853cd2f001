package payload

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/url"
	"strings"
	"unicode"

	"cyclone/pkg/cyclone"
)

const (
	maxID   = 100  // bytes; those of forges are UUIDs of 36
	maxName = 1024 // bytes; forges take 255
	maxLine = 1024 // bytes
	maxURL  = 2048 // bytes
)

// IsHash reports whether s is a commit's hash, of SHA-1 or SHA-256.
func IsHash(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// IsZero reports whether s is the hash of zeros that stands for no commit.
func IsZero(s string) bool { return s != "" && strings.Trim(s, "0") == "" }

// Hash is s, which becomes an argument of git: ErrInvalid about the field when
// it is anything else than the hash of a commit.
func Hash(field, s string) (string, error) {
	if !IsHash(s) || IsZero(s) {
		return "", cyclone.Invalid(field, "%q is not a commit hash", Short(s))
	}
	return s, nil
}

// Before is s when it names the commit that a push replaced, or nothing: zeros
// stand for none, and what is no hash is not handed on.
func Before(s string) string {
	if !IsHash(s) || IsZero(s) {
		return ""
	}
	return s
}

// Name is s, the name of a branch or tag: ErrInvalid about the field when git
// would not take it as one. Shells' characters, quotes and all of Unicode are
// fine for git.
func Name(field, s string) (string, error) {
	if !validName(s) {
		return "", cyclone.Invalid(field, "%q is not a name that git takes", Short(s))
	}
	return s, nil
}

func validName(s string) bool {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }
	if s == "" || len(s) > maxName || s[0] == '-' || strings.HasSuffix(s, ".") ||
		strings.Contains(s, "..") || strings.Contains(s, "@{") || strings.ContainsFunc(s, bad) {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// Line is a text that people are shown as one line of at most 1024 bytes: line
// breaks and other control characters, also those that turn the direction of
// text, become spaces. It can stand in a header.
func Line(s string) string {
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "..."
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s))
}

// Link is the address of a page, or nothing when s is no plain http address:
// people click on it.
func Link(s string) string {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.String()
}

// URLs are those of the texts that can be the URL of a repository.
func URLs(all ...string) []string {
	var urls []string
	for _, u := range all {
		if u != "" && len(u) <= maxURL && u == Line(u) {
			urls = append(urls, u)
		}
	}
	return urls
}

// Short keeps texts from outside short in messages, and in one line.
func Short(s string) string {
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "..."
	}
	return Line(s)
}

// ID is the id that a forge gave a delivery or, when it gave none that can be
// used, a digest of the parts.
func ID(given string, parts ...[]byte) cyclone.DeliveryID {
	if given != "" && len(given) <= maxID && !strings.ContainsFunc(given, unfitForID) {
		return cyclone.DeliveryID(given)
	}
	sum := sha256.New()
	for _, part := range parts {
		// A hash never fails to write.
		_, _ = sum.Write(part)
		_, _ = sum.Write([]byte("\n"))
	}
	return cyclone.DeliveryID("sha256-" + hex.EncodeToString(sum.Sum(nil)))
}

func unfitForID(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}

// Signed reports, in constant time, whether sum is the HMAC-SHA256 of text
// under the secret, in hex. Under no secret nothing is signed.
func Signed(text, secret []byte, sum string) bool {
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write(text)
	given, err := hex.DecodeString(sum)
	return err == nil && len(secret) > 0 && hmac.Equal(given, mac.Sum(nil))
}

// Same reports, in a time that tells nothing about the secret, whether what
// was given is it. Nothing is never right.
func Same(given string, secret []byte) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256(secret)
	return len(secret) > 0 && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
