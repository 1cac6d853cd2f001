package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"cyclone/pkg/cyclone"
)

// Streams checks that a content passes through a store of which little is in
// memory at any moment. Nothing else may run beside it.
func Streams(t *testing.T, s Stores, size int64) {
	const most = 12 << 20
	before := inUse()
	made := func() io.Reader {
		return io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{2}), size), &frugal{t: t, most: before + most})
	}
	sum := sha256.New()
	must1(io.Copy(sum, made()))(t)
	want := hex.EncodeToString(sum.Sum(nil))
	f := must1(s.Files.Put(t.Context(), artifact("large"), made()))(t)
	same(t, want, f.SHA256, "sum")
	same(t, cyclone.Size(size), f.Size, "size")
	_, content, err := s.Files.Open(t.Context(), "e", cyclone.FileArtifact, "large")
	must(t, err)
	sum.Reset()
	must1(io.Copy(io.MultiWriter(sum, &frugal{t: t, most: before + most}), content))(t)
	must(t, content.Close())
	same(t, want, hex.EncodeToString(sum.Sum(nil)), "sum of what was read")
}

// frugal looks at the memory in use whenever 4 MiB more have come by.
type frugal struct {
	t    *testing.T
	most uint64
	seen int
}

func (f *frugal) Write(p []byte) (int, error) {
	before := f.seen >> 22
	f.seen += len(p)
	if f.seen>>22 > before {
		if used := inUse(); used > f.most {
			f.t.Errorf("after %d MiB there are %d MiB of memory in use, more than %d", f.seen>>20, used>>20, f.most>>20)
		}
	}
	return len(p), nil
}

// inUse is what is in memory and still needed.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
