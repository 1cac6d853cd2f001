package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
)

// takesOver reports whether the results of a stage are those of an earlier
// event, which this one runs again from a later stage.
func (r *run) takesOver(name cyclone.Stage) bool {
	return r.job.From != "" && name != cyclone.StageClone &&
		slices.Index(cyclone.Stages, name) < slices.Index(cyclone.Stages, r.job.From)
}

// takeOver brings what the stages before the first one made: images and the
// outputs of pre_build.
func (r *run) takeOver(ctx context.Context, s *step) error {
	s.say("Beginning at %s: what the stages before it made is taken over from event %s.", r.job.From, r.job.Event.Trigger.Parent)
	if r.takesOver(cyclone.StageBuild) {
		r.takeImages(s)
	}
	if !r.takesOver(cyclone.StagePreBuild) {
		return nil
	}
	for _, f := range r.outputsInOrder() {
		if err := r.takeOutput(ctx, s, f); err != nil {
			return fmt.Errorf("take over the outputs of %s: %w", f.Step, err)
		}
	}
	return nil
}

// takeImages notes the images that were built earlier, in the order of the
// file.
func (r *run) takeImages(s *step) {
	for i, b := range r.pipeline.Build {
		at := slices.IndexFunc(r.job.Images, func(known cyclone.BuildImage) bool {
			return known.Build == b.Name || known.Build == "" && i == 0
		})
		if at < 0 {
			continue
		}
		image := r.job.Images[at].Image
		r.built = append(r.built, built{build: b.Name, image: image, pushed: image.Digest != "", taken: r.Local == nil, tags: b.Tags})
		s.say("Image of %s: %s", b.Name, firstOf(r.built[len(r.built)-1].reference(), image.Ref()))
	}
	r.noteImages()
}

// noteImages reports the images that there are.
func (r *run) noteImages() {
	images := make([]cyclone.BuildImage, len(r.built))
	for i, b := range r.built {
		images[i] = cyclone.BuildImage{Build: b.build, Image: b.image}
	}
	r.update(func(s *cyclone.Report) {
		s.Images = images
		if len(r.pipeline.Build) > 0 && len(images) > 0 && images[0].Build == r.pipeline.Build[0].Name {
			s.Image = images[0].Image
		}
	})
}

// outputsInOrder are the files of outputs in the order of their steps: a later
// step's replace those of an earlier one.
func (r *run) outputsInOrder() []cyclone.File {
	place := func(f cyclone.File) int {
		return slices.IndexFunc(r.pipeline.PreBuild, func(c cyclone.Step) bool { return c.Name == firstOf(f.Step, f.Path) })
	}
	out := slices.Clone(r.job.Outputs)
	slices.SortStableFunc(out, func(a, b cyclone.File) int { return place(a) - place(b) })
	return out
}

// downloads is how often a download that breaks off is tried.
const downloads = 4

// takeOutput fetches the outputs of a step and writes them into the source
// tree.
func (r *run) takeOutput(ctx context.Context, s *step, f cyclone.File) error {
	spool, err := newSpool(r.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = spool.Close() }() // nothing of it is needed any more
	for try := 1; ; try++ {
		err = r.download(ctx, spool, f)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if try == downloads || projectsFault(err) {
			return err
		}
		s.say("%v; trying again", err)
	}
	n, err := unpackOutput(r.root, io.NewSectionReader(spool, 0, int64(f.Size)))
	if err != nil {
		return err
	}
	s.say("Outputs of %s: %d files and folders, %s compressed", firstOf(f.Step, f.Path), n, bytesText(f.Size))
	return nil
}

// download fetches a file whole.
func (r *run) download(ctx context.Context, to *os.File, f cyclone.File) error {
	from, err := r.Server.Download(ctx, f.Kind, f.Path)
	if err != nil {
		return err
	}
	if err := errors.Join(to.Truncate(0), seek(to)); err != nil {
		return errors.Join(err, from.Close())
	}
	n, err := io.Copy(to, from)
	if err := errors.Join(err, from.Close()); err != nil {
		return fmt.Errorf("download %s: %s", f.Path, strings.TrimSpace(err.Error()))
	}
	if n != int64(f.Size) {
		return fmt.Errorf("download %s: %d bytes came, %d were kept", f.Path, n, f.Size)
	}
	return nil
}

func seek(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}
