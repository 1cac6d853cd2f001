package cyclone_test

import (
	"encoding/json"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]struct {
		bytes   cyclone.Size
		written string
	}{
		"512m": {512 << 20, "512m"}, "2g": {2 << 30, "2g"}, "1.5 GB": {3 << 29, "1536m"}, "1024": {1024, "1k"},
		"100b": {100, "100"}, "10KiB": {10 << 10, "10k"}, "0": {0, "0"},
	} {
		got, err := cyclone.ParseSize(text)
		if err != nil || got != want.bytes || got.String() != want.written {
			t.Errorf("ParseSize(%q) = %d (%s), %v; want %d (%s)", text, got, got, err, want.bytes, want.written)
		}
	}
	for _, bad := range []string{"", "m", "-1", "1x", "NaN", "1e30g"} {
		if got, err := cyclone.ParseSize(bad); err == nil {
			t.Errorf("ParseSize(%q) = %d", bad, got)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]string{"10m": "10m", "90s": "1m30s", "1h": "1h", "1h30m": "1h30m", "36h": "36h", "0": "0s"} {
		if got, err := cyclone.ParseDuration(text); err != nil || got.String() != want {
			t.Errorf("ParseDuration(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "10", "-1s", "soon"} {
		if got, err := cyclone.ParseDuration(bad); err == nil {
			t.Errorf("ParseDuration(%q) = %s", bad, got)
		}
	}
}

func TestLimitsInJSON(t *testing.T) {
	in := `{"timeout":"10m","memory":"2g"}`
	var l cyclone.Limits
	if err := json.Unmarshal([]byte(in), &l); err != nil {
		t.Fatal(err)
	}
	if l.Timeout != cyclone.Duration(10*time.Minute) || l.Memory != 2<<30 {
		t.Errorf("limits are %+v", l)
	}
	for _, bad := range []string{`{"timeout":10}`, `{"timeout":"soon"}`, `{"memory":"much"}`} {
		if err := json.Unmarshal([]byte(bad), &l); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}
