package worker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"cyclone/pkg/cyclone"
)

// outputKeeper keeps what the steps of pre_build left for Build, so that the
// event can be run again from there. It works beside the stages that follow.
type outputKeeper struct {
	mu  sync.Mutex
	all []*keptOutput
}

// keptOutput is what one step left, on its way to the server.
type keptOutput struct {
	step   string
	cancel context.CancelFunc
	packed chan struct{} // closed once the source tree is not needed any more
	done   chan struct{} // closed once err is set
	err    error
}

// errNotKept: the outputs are too large.
var errNotKept = errors.New("are not kept")

// keepOutputs begins to keep what a step of pre_build left at the places of the
// source tree.
func (r *run) keepOutputs(ctx context.Context, s *step, places []string) {
	if s.stage != cyclone.StagePreBuild || len(places) == 0 {
		return
	}
	// Neither the step's time nor the end of the run cuts it off.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k := &keptOutput{step: s.name, cancel: cancel, packed: make(chan struct{}), done: make(chan struct{})}
	r.outputs.mu.Lock()
	r.outputs.all = append(r.outputs.all, k)
	r.outputs.mu.Unlock()
	go func() {
		defer close(k.done)
		k.err = r.keepOutput(ctx, k, places)
	}()
}

// keepOutput packs the places and sends them.
func (r *run) keepOutput(ctx context.Context, k *keptOutput, places []string) error {
	file, err := newSpool(r.Dir)
	if err != nil {
		close(k.packed)
		return err
	}
	defer func() { _ = file.Close() }() // nothing of it is needed any more
	size, err := r.pack(ctx, file, places)
	close(k.packed)
	if err != nil {
		return err
	}
	f := cyclone.File{Kind: cyclone.FileOutput, Path: k.step, Stage: cyclone.StagePreBuild, Step: k.step, Size: size}
	return r.send(ctx, f, func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(file, 0, int64(size))), nil
	})
}

// packed waits until nobody reads the source tree for outputs: whoever may
// change it comes after that.
func (o *outputKeeper) packed(ctx context.Context) error {
	o.mu.Lock()
	all := slices.Clone(o.all)
	o.mu.Unlock()
	for _, k := range all {
		select {
		case <-k.packed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// settleOutputs waits until all outputs are kept, and says of which that was
// not to be. A run that was ended waits for a short time only.
func (r *run) settleOutputs(ctx context.Context) {
	for _, k := range r.outputs.all {
		var late <-chan time.Time
		ended, gone := ctx.Done(), r.Server.Done()
		for waiting := true; waiting; {
			select {
			case <-k.done:
				waiting = false
			case <-ended:
				timer := time.NewTimer(keepLate)
				defer timer.Stop()
				late, ended = timer.C, nil
			case <-late:
				k.cancel()
				late = nil
			case <-gone:
				k.cancel()
				gone = nil
			}
		}
		k.cancel()
		r.tellOutput(k)
	}
}

func (r *run) tellOutput(k *keptOutput) {
	if k.err == nil || over(r.Server.Done()) {
		return
	}
	o := r.log.output(cyclone.StagePreBuild, k.step)
	defer o.close()
	const advice = "a rerun of this event has to begin at pre_build"
	if errors.Is(k.err, errNotKept) {
		o.say("The outputs of %s %v: %s", k.step, k.err, advice)
		return
	}
	o.say("The outputs of %s are not kept: %v; %s", k.step, k.err, advice)
}

// outputRoom is the most bytes that the outputs of a step may take up: half of
// what may be kept at all, so that artifacts have the other half at least.
func (r *run) outputRoom() cyclone.Size {
	left, limited := r.room()
	if !limited {
		return 0
	}
	return max(1, min(left, r.job.FileLimit/2))
}

// pack writes the places of the source tree into a compressed tar and returns
// its size.
func (r *run) pack(ctx context.Context, file *os.File, places []string) (cyclone.Size, error) {
	out := &boundedWriter{ctx: ctx, to: file, most: r.outputRoom()}
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return 0, fmt.Errorf("pack outputs: %w", err)
	}
	p := &packer{run: r, tar: tar.NewWriter(z), known: map[string]bool{}}
	for _, place := range places {
		if err := p.add(place); err != nil {
			_ = z.Close() // what failed is not finished
			return 0, err
		}
	}
	if err := errors.Join(p.tar.Close(), z.Close()); err != nil {
		return 0, err
	}
	return out.size, nil
}

// packer adds files of the source tree to a tar.
type packer struct {
	run   *run
	tar   *tar.Writer
	known map[string]bool
}

// add adds a place with all that is below it.
func (p *packer) add(place string) error {
	root := p.run.root
	info, err := root.Lstat(place)
	if err != nil {
		return fmt.Errorf("pack %s: %w", place, pathReason(err))
	}
	if !info.IsDir() {
		return p.entry(place, info) // WalkDir would follow a link
	}
	return fs.WalkDir(root.FS(), place, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("pack %s: %w", name, pathReason(err))
		}
		if name == ".git" && d.IsDir() {
			return fs.SkipDir // the clone brings it
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("pack %s: %w", name, pathReason(err))
		}
		return p.entry(name, info)
	})
}

// entry adds one file, folder or link.
func (p *packer) entry(name string, info fs.FileInfo) error {
	if p.known[name] || name == "." || info.Mode()&fs.ModeType&^(fs.ModeDir|fs.ModeSymlink) != 0 {
		return nil
	}
	p.known[name] = true
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = p.run.root.Readlink(name); err != nil {
			return fmt.Errorf("pack %s: %w", name, pathReason(err))
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	h.Name, h.Format = name, tar.FormatPAX
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
	if info.IsDir() {
		h.Name += "/"
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := p.run.root.Open(name)
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, pathReason(err))
	}
	_, err = io.Copy(p.tar, f)
	return errors.Join(err, f.Close())
}

// boundedWriter fails beyond a size, and when ctx has ended.
type boundedWriter struct {
	ctx  context.Context
	to   io.Writer
	most cyclone.Size // 0 for no bound
	size cyclone.Size
}

// Write implements io.Writer.
func (w *boundedWriter) Write(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	w.size += cyclone.Size(len(p))
	if w.most > 0 && w.size > w.most {
		return 0, fmt.Errorf("%w (they have more than %s, compressed)", errNotKept, bytesText(w.most))
	}
	return w.to.Write(p)
}

// unpackOutput writes what pack wrote into the source tree.
func unpackOutput(root *os.Root, from io.Reader) (int, error) {
	z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return 0, fmt.Errorf("unpack outputs: %w", err)
	}
	defer z.Close()
	x := extraction{root: root, to: ".", base: "."}
	err = x.extract(z)
	if err != nil && strings.Contains(err.Error(), "path escapes from parent") {
		err = cyclone.Invalid("outputs", "would leave the source tree")
	}
	return x.count, err
}
