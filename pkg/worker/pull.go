package worker

import (
	"context"
	"errors"
	"sync"

	"github.com/distribution/reference"

	"cyclone/pkg/cyclone"
)

// puller fetches the images of a pipeline ahead of the steps that need them.
type puller struct {
	run    *run
	mu     sync.Mutex
	pulls  map[pullKey]*pull
	kept   map[string]string // what was fetched, and what it is called for later events
	active sync.WaitGroup
}

// pullKey is what steps share a pull by: one that never pulls must not answer
// for one that does.
type pullKey struct {
	image  string
	policy cyclone.PullPolicy
}

// pull is one image on its way.
type pull struct {
	out  replay
	done chan struct{}
	err  error
}

// prefetch begins to pull every image that is known already: the first one
// alone, because a step waits for it, and then the others. What goes wrong is
// said by the step that needs the image.
func (r *run) prefetch(ctx context.Context) {
	if r.pipeline == nil {
		return
	}
	var first *pull
	var rest []func()
	want := func(stage cyclone.Stage, steps ...cyclone.Step) {
		for _, s := range steps {
			if _, built := builtName(s.Image); r.allowed(stage) && s.Image != "" && !built && r.mayMatch(s.When) {
				if auth := r.login(s.Image, s.Auth); first == nil {
					first = r.pulls.start(ctx, s.Image, s.Pull, auth)
				} else {
					rest = append(rest, func() { r.pulls.start(ctx, s.Image, s.Pull, auth) })
				}
			}
		}
	}
	p := r.pipeline
	want(cyclone.StagePreBuild, p.PreBuild...)
	if p.Integration != nil {
		want(cyclone.StageIntegration, append(p.Integration.Services, p.Integration.Step)...)
	}
	want(cyclone.StagePostBuild, p.PostBuild...)
	if len(rest) == 0 {
		return
	}
	r.pulls.active.Go(func() {
		<-first.done
		for _, start := range rest {
			start()
		}
	})
}

// start begins a pull, or returns the one that is under way.
func (p *puller) start(ctx context.Context, image string, policy cyclone.PullPolicy, auth *cyclone.RegistryAuth) *pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := pullKey{image, policy}
	if known, ok := p.pulls[key]; ok {
		return known
	}
	one := &pull{done: make(chan struct{})}
	p.pulls[key] = one
	p.active.Go(func() {
		defer close(one.done)
		one.err = p.run.pull(ctx, image, policy, auth, &one.out)
	})
	return one
}

// ensure returns when the image is there; its progress goes to out. A pull
// ahead that failed for a reason that may have passed is tried again.
func (p *puller) ensure(ctx context.Context, image string, policy cyclone.PullPolicy, auth *cyclone.RegistryAuth, out cyclone.Output) error {
	for try := 1; ; try++ {
		one := p.start(ctx, image, policy, auth)
		one.out.attach(out)
		select {
		case <-one.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		one.out.attach(nil)
		if one.err == nil || try == 2 || projectsFault(one.err) {
			return one.err
		}
		p.mu.Lock()
		delete(p.pulls, pullKey{image, policy})
		p.mu.Unlock()
	}
}

// wait returns when no pull runs any more.
func (p *puller) wait() { p.active.Wait() }

// pull fetches an image as its policy says.
func (r *run) pull(ctx context.Context, image string, policy cyclone.PullPolicy, auth *cyclone.RegistryAuth, out cyclone.Output) error {
	if err := r.up.wait(ctx); err != nil {
		return engineError(ctx, err)
	}
	if policy != cyclone.PullAlways {
		_, err := r.Images.Inspect(ctx, image)
		if !errors.Is(err, cyclone.ErrNotFound) {
			return err
		}
		if policy == cyclone.PullNever {
			return cyclone.NotFound("image %s is not on this engine, and the step says pull: never", image)
		}
	}
	err := r.Images.Pull(ctx, image, auth, systemOnly{out})
	if err != nil && policy != cyclone.PullAlways {
		err = r.fallBack(ctx, image, auth, out, err)
	}
	if err == nil {
		r.pulls.keep(image, auth)
	}
	return err
}

// systemOnly passes everything on as Cyclone's own words: what an engine says
// about a transfer is not a step's output.
type systemOnly struct{ to cyclone.Output }

// Write implements cyclone.Output.
func (s systemOnly) Write(_ cyclone.Stream, data []byte) { s.to.Write(cyclone.System, data) }

// engineError is an engine that did not come up as a verdict.
func engineError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &verdict{status: cyclone.StatusError, message: "the Docker engine did not start: " + err.Error()}
}

// login is the login at an image's registry: the step's own, else the job's.
func (r *run) login(image string, own *cyclone.RegistryAuth) *cyclone.RegistryAuth {
	if own != nil {
		return own
	}
	if auth, ok := r.job.Registries[registryOf(image)]; ok {
		return &auth
	}
	return nil
}

// registryOf is the host of an image's registry.
func registryOf(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "" // the engine says what is wrong with it
	}
	return reference.Domain(named)
}

// replay is an output that keeps what it gets until there is somebody to
// have it.
type replay struct {
	mu   sync.Mutex
	to   cyclone.Output
	kept []piece
	size int
}

type piece struct {
	stream cyclone.Stream
	data   []byte
}

const replayKept = 256 << 10

// Write implements cyclone.Output.
func (p *replay) Write(stream cyclone.Stream, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to != nil {
		p.to.Write(stream, data)
		return
	}
	if p.size += len(data); p.size <= replayKept {
		p.kept = append(p.kept, piece{stream, append([]byte(nil), data...)})
	}
}

// attach passes what was kept, and from now on everything, to an output; nil
// ends that.
func (p *replay) attach(to cyclone.Output) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
	if to == nil {
		return
	}
	for _, k := range p.kept {
		to.Write(k.stream, k.data)
	}
	p.kept = nil
}
