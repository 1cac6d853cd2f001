package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	keepLate  = 10 * time.Second // for keeping files of a run that was ended
	keepMost  = 5000             // artifacts of a step
	keepNamed = 20               // artifacts of a step that its log names
)

// keeper is what an event has kept so far.
type keeper struct {
	mu    sync.Mutex
	size  cyclone.Size
	files map[string]kept // artifacts by path
	tests *cyclone.TestSummary
}

// kept is an artifact that the server has.
type kept struct {
	step string
	size cyclone.Size
}

// room is how much may still be kept; false for no limit.
func (r *run) room() (cyclone.Size, bool) {
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	return max(0, r.job.FileLimit-r.kept.size), r.job.FileLimit > 0
}

// keep stores a step's reports and artifacts with the event, whether or not its
// commands succeeded. Its error says that something could not be kept; globs
// without a match are only said.
func (r *run) keep(ctx context.Context, s *step, c cyclone.Step, spec cyclone.ContainerSpec, id string) error {
	junit := c.Reports != nil && len(c.Reports.JUnit) > 0
	if !junit && len(c.Artifacts) == 0 {
		return nil
	}
	if over(r.Server.Done()) {
		return nil // there is nobody to keep it
	}
	s.kept = true
	late := ctx.Err() != nil
	if late {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), keepLate)
		defer cancel()
	}
	k := &keeping{run: r, s: s, spec: spec, id: id}
	defer k.drop()
	var errs []error
	if junit {
		errs = append(errs, k.reports(ctx, c.Reports.JUnit))
	}
	errs = append(errs, k.artifacts(ctx, c.Artifacts))
	err := errors.Join(errs...)
	if err != nil && late {
		s.say("Not everything could be kept: %v", err)
		return nil
	}
	return err
}

func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// keeping is the reports and artifacts of one step on their way.
type keeping struct {
	run  *run
	s    *step
	spec cyclone.ContainerSpec
	id   string
	base string // that relative globs are below; empty until it is asked for

	spooled *os.File // what came out of the container; nil for nothing
	end     int64    // of it
	leftOut int      // links and devices
}

// artifacts keeps the files that match the globs.
func (k *keeping) artifacts(ctx context.Context, globs []string) error {
	var all []*found
	known := map[string]*found{}
	for _, glob := range globs {
		files, err := k.find(ctx, glob)
		if err != nil {
			return fmt.Errorf("artifacts %q: %w", glob, err)
		}
		if len(files) == 0 {
			k.s.say("Warning: artifacts %q: there is no such file", glob)
		}
		for _, f := range files {
			if before, ok := known[f.path]; ok && before.place == f.place {
				continue // two globs match it
			} else if ok {
				k.s.say("Warning: artifact %s is replaced: %s has the same name", f.path, f.place)
				*before = *f
				continue
			}
			known[f.path] = f
			all = append(all, f)
		}
	}
	if err := k.tooMany(all); err != nil {
		return err
	}
	return k.uploadAll(ctx, all)
}

// uploadAll keeps artifacts one after the other. One that does not fit does not
// keep others from it.
func (k *keeping) uploadAll(ctx context.Context, all []*found) error {
	var refused error
	var size cyclone.Size
	count := 0
	for _, f := range all {
		err := k.upload(ctx, f)
		if err != nil && !errors.Is(err, cyclone.ErrInvalid) {
			return err
		}
		if err != nil {
			k.s.say("Artifact %s, %s, is not kept: %v", f.path, bytesText(f.size), err)
			if refused == nil {
				refused = failure(k.s.stage, k.s.name, "artifact %s is not kept: %v", f.path, err)
			}
			continue
		}
		if count, size = count+1, size+f.size; count <= keepNamed {
			k.s.say("Artifact %s, %s", f.path, bytesText(f.size))
		}
	}
	if count > keepNamed {
		k.s.say("and %d more artifacts; all %d together have %s", count-keepNamed, count, bytesText(size))
	}
	return refused
}

// upload keeps one artifact. ErrInvalid: it is refused for good.
func (k *keeping) upload(ctx context.Context, f *found) error {
	r := k.run
	if !cyclone.ValidFilePath(f.path) {
		return cyclone.Invalid("path", "%.200q is no name that can be kept", f.path)
	}
	r.kept.mu.Lock()
	before, again := r.kept.files[f.path]
	r.kept.mu.Unlock()
	if left, limited := r.room(); limited && f.size > left+before.size {
		return cyclone.Invalid("size", "of the %s that may be kept with an event, %s are left", bytesText(r.job.FileLimit), bytesText(left))
	}
	if again && before.step != label(k.s.stage, k.s.name) {
		k.s.say("Warning: artifact %s replaces the one of %s", f.path, before.step)
	}
	if err := r.send(ctx, cyclone.File{Kind: cyclone.FileArtifact, Path: f.path, Stage: k.s.stage, Step: k.s.name, Size: f.size}, f.open); err != nil {
		return err
	}
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	r.kept.size -= before.size
	r.kept.files[f.path] = kept{label(k.s.stage, k.s.name), f.size}
	return nil
}

// send uploads a file and counts it. ErrInvalid: the server refuses it for
// good; other errors are nobody's fault here.
func (r *run) send(ctx context.Context, f cyclone.File, open func() (io.ReadCloser, error)) error {
	err := r.Server.Upload(ctx, f, open)
	switch {
	case err == nil:
		r.kept.mu.Lock()
		defer r.kept.mu.Unlock()
		r.kept.size += f.Size
		return nil
	case errors.Is(err, cyclone.ErrInvalid):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, cyclone.ErrConflict), errors.Is(err, cyclone.ErrForbidden):
		return errors.Join(errOver, err)
	}
	// Not one of the kinds of error that a project causes.
	return fmt.Errorf("keep %s %s: %v", f.Kind, f.Path, err)
}

// bytesText is a size for people.
func bytesText(n cyclone.Size) string {
	const units = "KMGT"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), 0
	for value >= 1<<10 && unit < len(units)-1 {
		value, unit = value/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
