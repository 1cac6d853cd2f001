package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

// headsLimit bounds what a host may answer: some hundred thousand refs.
const headsLimit = 32 << 20

// Heads reads the branches and tags of a repository. It implements
// cyclone.HeadReader; the errors are those of Clone, and ErrUnavailable for an
// answer that is larger than 32 MiB.
func (c *Cloner) Heads(ctx context.Context, s cyclone.CloneSpec) (*cyclone.Heads, error) {
	// A folder of its own, so that no repository around it has a say.
	own, err := os.MkdirTemp("", "cyclone-heads-")
	if err != nil {
		return nil, fmt.Errorf("read heads: %w", err)
	}
	defer func() { _ = os.RemoveAll(own) }() // it is empty
	s.Dir, s.Ref, s.SHA, s.Merge = own, "", "", false
	r, err := c.start(s, quiet{})
	if err != nil {
		return nil, err
	}
	defer r.end()
	heads, err := r.heads(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("read the heads of %s: %w", r.from.shown, context.Cause(ctx))
	}
	return heads, err
}

func (r *run) heads(ctx context.Context) (*cyclone.Heads, error) {
	var answer *bounded
	f, err := r.persist(ctx, func() (*failure, error) {
		answer = &bounded{limit: headsLimit}
		return r.attempt(ctx, answer, "ls-remote", "--quiet", "--symref", "--", r.spec.URL, "HEAD", "refs/heads/*", "refs/tags/*")
	})
	if answer.over {
		return nil, cyclone.Unavailable("read the heads of %s: the answer is larger than %d MiB", r.from.shown, headsLimit>>20)
	}
	if err != nil {
		return nil, f.explain("read the heads of " + r.from.shown)
	}
	r.learn()
	return parseHeads(answer.text.String()), nil
}

// parseHeads reads what ls-remote prints. An annotated tag has two lines, of
// which the second, refs/tags/v1^{}, names its commit.
func parseHeads(text string) *cyclone.Heads {
	h := &cyclone.Heads{Refs: map[string]string{}}
	for line := range strings.Lines(text) {
		what, ref, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		if target, symbolic := strings.CutPrefix(what, "ref: "); symbolic {
			if branch, ok := strings.CutPrefix(target, "refs/heads/"); ok && ref == "HEAD" {
				h.Default = branch
			}
			continue
		}
		ref = strings.TrimSuffix(ref, "^{}")
		inRefs := strings.HasPrefix(ref, "refs/heads/") || strings.HasPrefix(ref, "refs/tags/")
		if inRefs && whole(what) && hashPattern.MatchString(what) && utf8.ValidString(ref) {
			h.Refs[ref] = what
		}
	}
	return h
}

// bounded takes so many bytes and then fails.
type bounded struct {
	text  bytes.Buffer
	limit int
	over  bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.limit {
		b.over = true
		return 0, errors.New("the answer is too large")
	}
	return b.text.Write(p)
}
