package worker

import (
	"context"
	"io"
	"log/slog"
	"os"

	"cyclone/pkg/cyclone"
)

// Journal opens the log pipeline to its tests.
type Journal struct{ j *journal }

// NewJournal returns a journal that sends to a sink.
func NewJournal(sink lineSink, last int64, secrets []string) *Journal {
	return &Journal{newJournal(sink, last, secrets, slog.New(slog.DiscardHandler))}
}

// Run sends until ctx ends.
func (j *Journal) Run(ctx context.Context) { j.j.run(ctx) }

// Flush sends everything.
func (j *Journal) Flush(ctx context.Context) error { return j.j.flush(ctx) }

// Output is a step's output, and what ends it.
func (j *Journal) Output(stage cyclone.Stage, step string) (out cyclone.Output, end func()) {
	o := j.j.output(stage, step)
	return o, o.close
}

// Extract writes a tar into a folder as outputs do.
func Extract(dir, to, glob string, archive io.Reader) (int, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }()
	x := extraction{root: root, to: to, glob: glob}
	err = x.extract(archive)
	return x.count, err
}

// Limits of the log pipeline.
const (
	MaxLine   = maxLine
	Continued = continued
)
