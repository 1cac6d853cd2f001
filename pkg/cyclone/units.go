package cyclone

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span that is written as text ("1h", "10m", "90s") in
// JSON and YAML.
type Duration time.Duration

// ParseDuration reads "10m", "1h30m" or "90s". Negative spans are refused.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration; write for instance 90s, 10m or 1h30m", s)
	}
	return Duration(d), nil
}

// String writes the shortest form: "10m", not "10m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalJSON writes the text form, and "" for zero.
func (d Duration) MarshalJSON() ([]byte, error) {
	if d == 0 {
		return []byte(`""`), nil
	}
	return json.Marshal(d.String())
}

// UnmarshalJSON reads the text form; "" is zero.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a duration; write for instance \"10m\"", b)
	}
	if s == "" {
		*d = 0
		return nil
	}
	v, err := ParseDuration(s)
	*d = v
	return err
}

// Size is a number of bytes that is written as text ("512m", "2g") or as a
// plain number.
type Size int64

var sizeUnits = []struct {
	suffix string
	factor float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"tb", 1 << 40},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, {"b", 1},
}

// ParseSize reads "512m", "2g", "1.5gb" or plain bytes, as Docker does:
// every unit is a power of 1024.
func ParseSize(s string) (Size, error) {
	text, factor := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*factor > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is not a size; write for instance 512m, 2g or a number of bytes", s)
	}
	return Size(n * factor), nil
}

// String writes the largest unit that divides the size evenly.
func (s Size) String() string {
	for _, u := range []struct {
		suffix string
		factor Size
	}{{"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}} {
		if s != 0 && s%u.factor == 0 {
			return strconv.FormatInt(int64(s/u.factor), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalJSON writes the text form, and "" for zero.
func (s Size) MarshalJSON() ([]byte, error) {
	if s == 0 {
		return []byte(`""`), nil
	}
	return json.Marshal(s.String())
}

// UnmarshalJSON reads the text form or a number of bytes.
func (s *Size) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "" {
		*s = 0
		return nil
	}
	v, err := ParseSize(text)
	*s = v
	return err
}
