package docker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"

	"cyclone/pkg/cyclone"
)

// How BuildKit says that a RUN instruction's command failed: since 0.9, and
// before (engine 20.10).
var runFailed = regexp.MustCompile(`(?s)(?:process "(.*)" did not complete successfully|executor failed running \[(.*)\]): (exit code: \d+|.*)`)

// Texts of mistakes in a Dockerfile for which BuildKit names no line.
var dockerfileMistakes = []string{
	"dockerfile parse error", "failed to parse", "unknown instruction", "target stage", "no build stage",
	"the dockerfile cannot be empty", "file with no instructions", "circular dependency", "invalid reference format",
	"failed to compute cache key", "failed to calculate checksum", "failed to process", "dockerfile.v0", "secret",
	"invalid user index", "unable to find user",
}

// buildFailed gives the error of a build its kind and says where it comes from.
func buildFailed(ctx context.Context, err error, spec cyclone.BuildSpec, log *buildLog) error {
	if err == nil {
		return nil
	}
	what := "build image " + spec.Image
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	text := strings.TrimPrefix(err.Error(), "failed to solve: ")
	where, quoted := position(err, filepath.Base(spec.Dockerfile))
	if m := runFailed.FindStringSubmatch(text); m != nil {
		return &engineError{cyclone.ErrInvalid,
			fmt.Errorf("%s: %s: %s: %s%s", what, where, orElse(quoted, "RUN "+m[1]+m[2]), m[3], tail(err, log))}
	}
	if f, known := faultIn(text); known && !errors.Is(f.kind, cyclone.ErrNotFound) {
		return &engineError{f.kind, fmt.Errorf("%s: %s: %s (%s)", what, where, f.advice("of the build"), text)}
	}
	if quoted != "" || mistake(text) {
		return &engineError{cyclone.ErrInvalid, fmt.Errorf("%s: %s: %s", what, where, joined(quoted, text))}
	}
	if grpcerrors.Code(err) == codes.Unavailable {
		return &engineError{cyclone.ErrUnavailable, fmt.Errorf("%s: the engine went away: %w", what, err)}
	}
	return failed(ctx, err, "%s", what)
}

func mistake(text string) bool {
	text = strings.ToLower(text)
	for _, m := range dockerfileMistakes {
		if strings.Contains(text, m) {
			return true
		}
	}
	return false
}

// position finds the failing line of the Dockerfile: "Dockerfile:7", and the
// instruction there. Without a line it is the file's name alone.
func position(err error, file string) (where, instruction string) {
	sources := errdefs.Sources(err)
	if len(sources) == 0 {
		return file, ""
	}
	s := sources[len(sources)-1]
	if s.Info == nil || len(s.Ranges) == 0 {
		return file, ""
	}
	lines := strings.Split(string(s.Info.Data), "\n")
	at := int(s.Ranges[0].Start.Line)
	if at < 1 || at > len(lines) {
		return file, ""
	}
	return fmt.Sprintf("%s:%d", file, at), strings.TrimSpace(lines[at-1])
}

// tail quotes the end of what the failing instruction printed.
func tail(err error, log *buildLog) string {
	var at *errdefs.VertexError
	var d digest.Digest
	if errors.As(err, &at) {
		d = digest.Digest(at.Digest)
	}
	v := log.failing(d)
	if v == nil || len(v.tail) == 0 {
		return ""
	}
	return "\n  " + strings.Join(v.tail, "\n  ")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func joined(instruction, text string) string {
	if instruction == "" {
		return text
	}
	return instruction + ": " + text
}
