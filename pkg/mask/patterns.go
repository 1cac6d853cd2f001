package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// MinLength is the length in bytes below which a secret is not hidden: masking
// every "a" would make a log unreadable and would hide nothing.
const MinLength = 4

// shiftedMin is the length from which a secret is also looked for in the
// middle of a longer base64 text. Shorter ones leave too few characters there
// to be told from chance.
const shiftedMin = 8

// Set is a compiled list of secrets. It never changes, so any number of
// writers may share one.
type Set struct {
	longest int
	// first holds the first byte of every pattern, pairs the first two bytes
	// as a bit set: what is not in it needs no further look.
	first [256]bool
	pairs [1 << 16 / 64]uint64
	// byPair lists the patterns by their first two bytes, longest first.
	byPair map[uint16][][]byte
}

// Compile prepares the secrets together with the forms in which they commonly
// turn up: every line of one with several lines, without surrounding blanks,
// in base64, URL encoded and as JSON text. Secrets (and lines) shorter than
// MinLength are left out.
func Compile(secrets []string) *Set {
	s := &Set{byPair: map[uint16][][]byte{}}
	seen := map[string]bool{}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if len(form) >= MinLength && !seen[form] {
				seen[form] = true
				s.add([]byte(form))
			}
		}
	}
	for _, patterns := range s.byPair {
		slices.SortFunc(patterns, func(a, b []byte) int { return len(b) - len(a) })
	}
	return s
}

func (s *Set) add(p []byte) {
	pair := pairOf(p[0], p[1])
	s.first[p[0]] = true
	s.pairs[pair>>6] |= 1 << (pair & 63)
	s.byPair[pair] = append(s.byPair[pair], p)
	s.longest = max(s.longest, len(p))
}

func pairOf(a, b byte) uint16 { return uint16(a)<<8 | uint16(b) }

// Empty reports whether there is nothing to hide.
func (s *Set) Empty() bool { return s.longest == 0 }

// String returns text with every secret replaced.
func (s *Set) String(text string) string {
	if s.Empty() {
		return text
	}
	var out bytes.Buffer
	w := s.Writer(&out)
	// A bytes.Buffer takes everything.
	_, _ = w.Write([]byte(text))
	_ = w.Flush()
	return out.String()
}

// forms lists the texts under which a secret is hidden.
func forms(secret string) []string {
	list := []string{secret, strings.TrimSpace(secret)}
	if strings.ContainsAny(secret, "\r\n") {
		for _, line := range strings.FieldsFunc(secret, func(r rune) bool { return r == '\r' || r == '\n' }) {
			list = append(list, line, strings.TrimSpace(line))
		}
	}
	var all []string
	for _, plain := range list {
		if len(plain) >= MinLength {
			all = append(all, plain)
			all = append(all, encoded(plain)...)
		}
	}
	return all
}

func encoded(plain string) []string {
	raw := []byte(plain)
	query := url.QueryEscape(plain)
	var list []string
	for _, form := range []string{query, strings.ReplaceAll(query, "+", "%20"), url.PathEscape(plain), escapeAll(plain)} {
		list = append(list, form, lowerEscapes(form))
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		list = append(list, e.EncodeToString(raw), e.WithPadding(base64.NoPadding).EncodeToString(raw))
		if len(raw) >= shiftedMin {
			list = append(list, shifted(e, raw)...)
		}
	}
	if text, err := json.Marshal(plain); err == nil {
		list = append(list, string(text[1:len(text)-1]))
	}
	return list
}

// shifted returns the characters that raw has in any longer base64 text, for
// each of the three places at which it may begin in a group. Characters that
// depend on a neighbour are left out.
func shifted(e *base64.Encoding, raw []byte) []string {
	var list []string
	for lead := range 3 {
		padded := append(make([]byte, lead), raw...)
		text := e.WithPadding(base64.NoPadding).EncodeToString(padded)
		from := (lead*8 + 5) / 6
		to := len(padded) * 8 / 6
		list = append(list, text[from:to])
	}
	return list
}

// escapeAll is the form of URL encoding that leaves only letters and digits.
func escapeAll(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// lowerEscapes writes %2f for %2F, as some programs do.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}
