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

// NewBoundJournal is NewJournal with a limit; what is kept of the rest goes
// to dir.
func NewBoundJournal(sink lineSink, size cyclone.Size, dir string, secrets []string) *Journal {
	j := NewJournal(sink, 0, secrets)
	j.j.bound(size, dir)
	return j
}

// Settle ends the log.
func (j *Journal) Settle(ctx context.Context) error { return j.j.settle(ctx) }

// Place says where lines are in the end.
func (j *Journal) Place(first, last int64) (from, to int64) { return j.j.place(first, last) }

// Last is the number of the last line.
func (j *Journal) Last() int64 { return j.j.last() }

// Run sends until ctx ends.
func (j *Journal) Run(ctx context.Context) { j.j.run(ctx) }

// Flush sends everything.
func (j *Journal) Flush(ctx context.Context) error { return j.j.flush(ctx) }

// Output is a step's output, and what ends it.
func (j *Journal) Output(stage cyclone.Stage, step string) (out cyclone.Output, end func()) {
	o := j.j.output(stage, step)
	return o, o.close
}

// Unfinished is how many bytes of unfinished lines are held.
func (j *Journal) Unfinished() int {
	j.j.mu.Lock()
	defer j.j.mu.Unlock()
	n := 0
	for s := range j.j.open {
		n += len(s.rest)
	}
	return n
}

// ResolveOutput says where an output of a step is and where it goes; the
// source tree is mounted at /src, and its folder sub at /mnt.
func ResolveOutput(text, base string) (from, to, tree string, inTree bool, err error) {
	r := &run{tree: "/tree"}
	spec := cyclone.ContainerSpec{Mounts: []cyclone.Mount{{Source: "/tree", Target: "/src"}, {Source: "/tree/sub", Target: "/mnt"}, {Source: "/etc", Target: "/etc"}}}
	w, err := r.resolve(&step{stage: cyclone.StagePreBuild, name: "pre_build"}, text, base, spec)
	return w.from, w.to, w.tree, w.inTree, err
}

// GlobMatch reports whether a path matches a glob.
func GlobMatch(glob, value string) bool { return globMatch(glob, value) }

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

// UnpackOutput writes a zstd-compressed tar of outputs into a folder.
func UnpackOutput(dir string, archive io.Reader) (int, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }()
	return unpackOutput(root, archive)
}

// Limits of the log pipeline.
const (
	MaxLine   = maxLine
	Continued = continued
)

// SetSpace makes up what the worker's disk has free.
func (w *Worker) SetSpace(space func(path string) (free, size uint64, err error)) { w.space = space }
