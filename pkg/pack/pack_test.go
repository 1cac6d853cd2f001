package pack_test

import (
	"bytes"
	"crypto/rand"
	"testing"

	"cyclone/pkg/pack"
)

func TestPack(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 64<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		plain  []byte
		packed bool
	}{
		"nothing": {nil, false},
		"short":   {[]byte(`{"ref":"refs/heads/main"}`), false},
		"text":    {bytes.Repeat([]byte(`{"id":"3f2a1b9"},`), 10_000), true},
		"noise":   {noise, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packed, ok, err := pack.Pack(tt.plain)
			if err != nil || ok != tt.packed {
				t.Fatalf("packed %v (%v); want %v", ok, err, tt.packed)
			}
			if !ok {
				if !bytes.Equal(packed, tt.plain) {
					t.Error("what is not packed is changed")
				}
				return
			}
			if len(packed)*10 > len(tt.plain) {
				t.Errorf("%d bytes became %d", len(tt.plain), len(packed))
			}
			plain, err := pack.Unpack(packed, int64(len(tt.plain)))
			if err != nil || !bytes.Equal(plain, tt.plain) {
				t.Errorf("unpacked %d bytes (%v), not the %d that were packed", len(plain), err, len(tt.plain))
			}
			if _, err := pack.Unpack(packed, int64(len(tt.plain))-1); err == nil {
				t.Error("more than the limit was unpacked")
			}
		})
	}
	if _, err := pack.Unpack([]byte("no such thing"), 1<<20); err == nil {
		t.Error("what Pack did not make was unpacked")
	}
}
