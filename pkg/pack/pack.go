// Package pack makes large texts small before they are stored: the bodies of
// webhooks, the heads of a repository. JSON becomes a tenth of itself, which
// costs less than writing the rest to a disk.
//
// It is not for logs, whose chunks have a form of their own (logchunk), nor for
// the contents of files, which mostly are packed already.
package pack

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// worthwhile is from how many bytes on packing saves more than it costs.
const worthwhile = 4 << 10

// window bounds the memory that packing takes.
const window = 1 << 20

// Pack packs with zstd. It reports false, and returns plain itself, when that is
// too short or does not become smaller.
func Pack(plain []byte) (packed []byte, ok bool, err error) {
	if len(plain) < worthwhile {
		return plain, false, nil
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return nil, false, fmt.Errorf("pack: %w", err)
	}
	defer func() { _ = w.Close() }() // it writes nowhere
	packed = w.EncodeAll(plain, make([]byte, 0, len(plain)/4))
	if len(packed) >= len(plain) {
		return plain, false, nil
	}
	return packed, true, nil
}

// Unpack undoes Pack. What would become larger than limit, in bytes, is an
// error, as is what Pack did not make.
func Unpack(packed []byte, limit int64) ([]byte, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(max(limit, 1)))) //#nosec G115 -- it is positive
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	defer r.Close()
	plain, err := r.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return plain, nil
}
