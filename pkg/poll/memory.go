package poll

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/pack"
)

// The names of the marks: what was seen, and when it was last compared to find
// missed webhooks.
const (
	markHeads    = "heads"
	markCompared = "compared"
)

const (
	// largest is the most bytes of a mark; the stores take 16 MiB in one piece.
	largest = 12 << 20
	// largestText is the most bytes that one is unpacked to.
	largestText = 256 << 20
)

// memory is what was seen of a repository.
type memory struct {
	URL  string            `json:"url"`
	Refs map[string]string `json:"refs"` // full ref -> commit
}

// remembered reads what was seen before; nothing when there is none, or none
// that can be read.
func (r *rounds) remembered(ctx context.Context, name cyclone.ProjectName) (*cyclone.Mark, *memory, error) {
	mark, err := r.Marks.Find(ctx, name, markHeads)
	if errors.Is(err, cyclone.ErrNotFound) {
		return &cyclone.Mark{Project: name, Name: markHeads}, &memory{}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read what was seen before: %w", err)
	}
	seen, err := decode(mark.Value)
	if err != nil {
		r.Log.Warn("what was seen of a repository before cannot be read; it is looked at as for the first time", "project", name, "error", err)
		return mark, &memory{}, nil
	}
	return mark, seen, nil
}

// remember writes what was seen. Another server that wrote meanwhile has made
// the same deliveries; the next look compares with what it saw.
func (r *rounds) remember(ctx context.Context, w *watch, mark *cyclone.Mark, seen *memory) error {
	value, err := encode(seen, largest)
	if err != nil {
		return err
	}
	mark.Value = value
	err = r.Marks.Put(ctx, mark)
	switch {
	case errors.Is(err, cyclone.ErrConflict):
		w.seen = [sha256.Size]byte{}
	case err != nil:
		return fmt.Errorf("remember what was seen: %w", err)
	default:
		w.seen = digestOf(seen.URL, seen.Refs)
	}
	return nil
}

// encode writes JSON, packed when that is large, within a limit.
func encode(seen *memory, limit int) ([]byte, error) {
	text, err := json.Marshal(seen)
	if err != nil {
		return nil, fmt.Errorf("write what was seen: %w", err)
	}
	packed, _, err := pack.Pack(text)
	if err != nil {
		return nil, fmt.Errorf("write what was seen: %w", err)
	}
	if len(packed) > limit {
		return nil, cyclone.Invalid("repository.url", "the repository has too many branches and tags to be looked at: %d", len(seen.Refs))
	}
	return packed, nil
}

func decode(value []byte) (*memory, error) {
	if len(value) > 0 && value[0] != '{' {
		var err error
		if value, err = pack.Unpack(value, largestText); err != nil {
			return nil, err
		}
	}
	seen := &memory{}
	if err := json.Unmarshal(value, seen); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return seen, nil
}

// digestOf is a digest of what was seen.
func digestOf(url string, refs map[string]string) [sha256.Size]byte {
	sum := sha256.New()
	write := func(s string) { _, _ = io.WriteString(sum, s+"\n") } // a hash takes everything
	write(url)
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		write(ref)
		write(refs[ref])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// change is a branch or tag that is new or another.
type change struct{ ref, before, commit string }

// differences lists what is new or another, branches before tags, at most as
// many as one look may deliver, and says whether there are more.
func differences(old, now map[string]string) (all []change, more bool) {
	for ref, commit := range now {
		if before := old[ref]; before != commit && commit != "" && watched(ref) {
			all = append(all, change{ref, before, commit})
		}
	}
	slices.SortFunc(all, func(a, b change) int { return cmp.Compare(a.ref, b.ref) })
	if len(all) > most {
		return all[:most], true
	}
	return all, false
}

// watched leaves out what no delivery can be about.
func watched(ref string) bool {
	return utf8.ValidString(ref) && (strings.HasPrefix(ref, "refs/heads/") || strings.HasPrefix(ref, "refs/tags/"))
}

// advanced is what is to be remembered after changes were delivered: what is
// there now, or as long as there are more changes, what was there with these.
func advanced(old, now map[string]string, changes []change, more bool) map[string]string {
	if !more {
		return now
	}
	refs := map[string]string{}
	for ref, commit := range old {
		if _, there := now[ref]; there {
			refs[ref] = commit
		}
	}
	for _, c := range changes {
		refs[c.ref] = c.commit
	}
	return refs
}
