package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"

	"cyclone/pkg/cyclone"
)

// How BuildKit says that a RUN instruction's command failed: since 0.9, and
// before (engine 20.10).
var runFailed = regexp.MustCompile(`(?s)(?:process "(.*)" did not complete successfully|executor failed running \[(.*)\]): (exit code: \d+|.*)`)

// stageMark is what BuildKit puts before an instruction: "[build 2/5] ".
var stageMark = regexp.MustCompile(`^\[[^\]]*\] `)

// registryHost finds the registry in an error of BuildKit's.
var registryHost = regexp.MustCompile(`https?://([^/"]+)|from host (\S+)`)

// wrappings are what BuildKit puts around the error that matters.
var wrappings = []string{"failed to solve: ", "failed to solve with frontend dockerfile.v0: ", "failed to create LLB definition: "}

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
	text := unwrapped(err.Error())
	at := log.failing(text)
	where := position(err, spec.Dockerfile, at)
	if m := runFailed.FindStringSubmatch(text); m != nil {
		return &engineError{cyclone.ErrInvalid,
			fmt.Errorf("%s: %s: %s: %s%s", what, where, instruction(at, "RUN "+m[1]+m[2]), m[3], quoted(at))}
	}
	if f, known := faultIn(text); known && !errors.Is(f.kind, cyclone.ErrNotFound) {
		return &engineError{f.kind, fmt.Errorf("%s: %s: %s (%s)", what, where, f.advice(registryIn(text)), text)}
	}
	if _, absent := faultIn(text); absent || len(errdefs.Sources(err)) > 0 || mistake(text) {
		return &engineError{cyclone.ErrInvalid, fmt.Errorf("%s: %s: %s", what, where, text)}
	}
	if grpcerrors.Code(err) == codes.Unavailable {
		return &engineError{cyclone.ErrUnavailable, fmt.Errorf("%s: the engine went away: %w", what, err)}
	}
	return failed(ctx, err, "%s", what)
}

func unwrapped(text string) string {
	for _, w := range wrappings {
		text = strings.TrimPrefix(text, w)
	}
	return text
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

// registryIn is the registry that a text is about.
func registryIn(text string) string {
	if m := registryHost.FindStringSubmatch(text); m != nil {
		return m[1] + m[2]
	}
	return "of the base image"
}

// position is where the Dockerfile is wrong: "Dockerfile:7", or the file's
// name alone. BuildKit says so; engine 20.10 does not hand it on, and then the
// failing instruction is looked up in the file.
func position(err error, path string, at *vertex) string {
	file := filepath.Base(path)
	if sources := errdefs.Sources(err); len(sources) > 0 {
		if ranges := sources[len(sources)-1].Ranges; len(ranges) > 0 {
			return fmt.Sprintf("%s:%d", file, ranges[0].Start.Line)
		}
	}
	text, rerr := os.ReadFile(path)
	if rerr != nil || at == nil {
		return file
	}
	parsed, perr := parser.Parse(bytes.NewReader(text))
	if perr != nil {
		return file
	}
	for _, node := range parsed.AST.Children {
		if squeezed(node.Original) == squeezed(instruction(at, "")) {
			return fmt.Sprintf("%s:%d", file, node.StartLine)
		}
	}
	return file
}

func squeezed(s string) string { return strings.Join(strings.Fields(s), " ") }

// instruction is the failing instruction as the Dockerfile has it.
func instruction(at *vertex, unknown string) string {
	if at == nil || at.name == "" {
		return unknown
	}
	return stageMark.ReplaceAllString(at.name, "")
}

// quoted is the end of what the failing instruction printed.
func quoted(at *vertex) string {
	if at == nil || len(at.tail) == 0 {
		return ""
	}
	return "\n  " + strings.Join(at.tail, "\n  ")
}
