package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	finishTime = 30 * time.Second // for last words once the worker was told to stop
	sweepTime  = 30 * time.Second
)

// server is the connection to the server; client.Worker is one.
type server interface {
	lineSink
	Engine(ctx context.Context) (cyclone.EngineConfig, error)
	Job(ctx context.Context) (*cyclone.Job, error)
	Report(r cyclone.Report) error
	Finish(ctx context.Context, r cyclone.Result) error
	// Upload keeps a file of f.Size bytes with the event, over one of the same
	// kind and path; it tries again, with a new open each time, while the
	// server is away. ErrConflict and ErrForbidden: the attempt is over.
	// ErrInvalid: the file is refused for good, its size or its path.
	Upload(ctx context.Context, f cyclone.File, open func() (io.ReadCloser, error)) error
	// Download returns a file of the event that a rerun takes over from.
	Download(ctx context.Context, kind cyclone.FileKind, path string) (io.ReadCloser, error)
	Canceled() <-chan cyclone.Cancellation
	// Done is closed when the attempt is no longer this worker's; Err says why.
	Done() <-chan struct{}
	Err() error
}

// Worker handles one event. All fields must be set, but Cache and Local.
type Worker struct {
	Server     server
	Engine     *Engine
	Containers cyclone.Containers
	Images     cyclone.Images
	Networks   cyclone.Networks
	// Cloner returns what clones repositories of a type ("github", "svn", ...).
	Cloner   func(repositoryType string) (cyclone.Cloner, error)
	Deployer cyclone.Deployer
	// Dir is an empty folder for the source tree. The engine must see it under
	// the same path.
	Dir string
	// Cache is what is kept between the project's events; nil for nothing.
	Cache *Cache
	// Local makes it the worker of a local run; nil for a server's.
	Local *Local
	Log   *slog.Logger

	space func(path string) (free, size uint64, err error) // nil: the system's answer
}

// startup is the engine on its way up.
type startup struct {
	done chan struct{}
	err  error
}

func (s *startup) wait(ctx context.Context) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run handles the event and returns nil once the server has the result. It
// returns an error when there is no result to deliver: the server could not be
// asked for a job, the attempt is over, or ctx ended before the event was.
func (w *Worker) Run(ctx context.Context) error {
	defer w.Engine.Stop()
	early := w.Engine.Prepare()
	if errors.Is(early, errDataTaken) {
		return early // the event is handled by another worker
	}
	config, err := w.Server.Engine(ctx)
	if err != nil {
		return err
	}
	up := &startup{done: make(chan struct{})}
	engineCtx, stopStart := context.WithCancel(context.WithoutCancel(ctx))
	defer func() { <-up.done }()
	defer stopStart()
	go func() {
		defer close(up.done)
		if up.err = early; early == nil {
			up.err = w.Engine.Start(engineCtx, config)
		}
		if up.err == nil {
			w.Log.Info("engine ready")
		}
	}()
	job, err := w.Server.Job(ctx)
	if err != nil {
		return err
	}
	return w.handle(ctx, job, up)
}

// handle runs a job and delivers its result.
func (w *Worker) handle(ctx context.Context, job *cyclone.Job, up *startup) error {
	r, err := newRun(w, job, up)
	if err != nil {
		return w.finish(ctx, cyclone.Result{Status: cyclone.StatusError, Reason: err.Error(), LastLine: job.LastLine})
	}
	defer r.caches.closing.Wait()
	logCtx, dropLog := context.WithCancel(context.WithoutCancel(ctx))
	var sending sync.WaitGroup
	sending.Go(func() { r.log.run(logCtx) })
	defer sending.Wait()
	defer dropLog()

	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	watching.Go(func() { r.watch(runCtx, cancel, dropLog) })
	result := r.handle(runCtx)
	stopped := errors.Is(context.Cause(runCtx), context.Canceled) && result.Status == cyclone.StatusError
	cancel(nil)
	watching.Wait()

	r.cleanUp()
	if err := w.Server.Err(); err != nil {
		return fmt.Errorf("handle event %s: %w", job.Event.ID, err)
	}
	last, stop := lastWords(ctx)
	defer stop()
	if err := r.settle(last); err != nil {
		return fmt.Errorf("handle event %s: %w", job.Event.ID, err)
	}
	if stopped {
		return fmt.Errorf("handle event %s: %w", job.Event.ID, errStopped)
	}
	result.LastLine = r.log.last()
	return w.finish(ctx, result)
}

// errStopped: somebody else, such as an engine that starts again, ended the
// worker, and not the event. It leaves without a result, so that the server
// does with the event what its project wants for a lost worker.
var errStopped = errors.New("the worker was stopped before the event was over")

// settle sends the rest of the log. The stages of one that was too large have
// their final lines only then.
func (r *run) settle(ctx context.Context) error {
	if err := r.log.settle(ctx); err != nil {
		return err
	}
	if r.log.limited() {
		r.update(func(*cyclone.Report) {})
	}
	return nil
}

func (w *Worker) finish(ctx context.Context, result cyclone.Result) error {
	last, stop := lastWords(ctx)
	defer stop()
	return w.Server.Finish(last, result)
}

// lastWords is the context of what must still be told: as long as it takes, or
// finishTime after the worker was told to stop.
func lastWords(ctx context.Context) (context.Context, context.CancelFunc) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	undo := context.AfterFunc(ctx, func() { time.AfterFunc(finishTime, cancel) })
	return last, func() {
		undo()
		cancel()
	}
}

// watch ends the run when something from outside does: somebody cancels it,
// the engine dies, time is up, the worker is stopped or the attempt is over.
func (r *run) watch(ctx context.Context, cancel context.CancelCauseFunc, dropLog func()) {
	var late <-chan time.Time
	if r.job.Timeout > 0 {
		timer := time.NewTimer(time.Duration(r.job.Timeout))
		defer timer.Stop()
		late = timer.C
	}
	spared := false // and said
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case why := <-r.Server.Canceled():
			if !r.obey(why, cancel) && !spared {
				spared = true
				r.Log.Info("not canceled: the event has begun to deploy", "reason", why.Reason)
			}
		case <-r.Server.Done():
			// Nobody takes the log any more; what waits for it must not.
			dropLog()
			cancel(errors.Join(errOver, r.Server.Err()))
		case <-r.Engine.Died():
			cancel(r.engineDied())
		case <-late:
			cancel(&verdict{status: cyclone.StatusTimeout, message: fmt.Sprintf("timed out after %s, the limit of the project", r.job.Timeout)})
		}
	}
}

// obey cancels the run, unless it is to be spared once it deploys and does.
func (r *run) obey(why cyclone.Cancellation, cancel context.CancelCauseFunc) bool {
	r.gate.Lock()
	defer r.gate.Unlock()
	if why.Spare && r.deploying {
		return false
	}
	cancel(&verdict{status: cyclone.StatusCanceled, message: why.Reason})
	return true
}

// enter reports what has ended the run before a stage could begin. With the
// deploy stage the run is past what spares it: of that and a cancellation at
// the same moment one comes first for everybody.
func (r *run) enter(ctx context.Context, name cyclone.Stage) error {
	r.gate.Lock()
	defer r.gate.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r.deploying = r.deploying || name == cyclone.StageDeploy
	return nil
}

var errOver = errors.New("this attempt is over")

// engineDied is the end of a run whose engine has died, perhaps for lack of
// space.
func (r *run) engineDied() *verdict {
	v := &verdict{status: cyclone.StatusError, message: r.Engine.Err().Error()}
	if full := r.fullDisk(); full != "" {
		v.message = full + "; " + v.message
	}
	return v
}

// cleanUp removes everything the run made. It uses a context of its own: it
// must work after a cancel too.
func (r *run) cleanUp() {
	ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
	defer cancel()
	if r.Local != nil {
		r.pulls.wait()
		r.dropCaches()
		_ = r.root.Close() // it only named the source tree
		return
	}
	select {
	case <-r.up.done:
		if r.up.err == nil && r.Engine.Err() == nil {
			r.sweep(ctx)
		}
	default: // the engine never came up: nothing was made
	}
	r.dropCaches()
	r.putAway(ctx)
	if err := r.root.Close(); err != nil {
		r.Log.Warn("cannot close the source tree", "error", err)
	}
	if err := errors.Join(os.RemoveAll(r.tree), os.RemoveAll(r.aux)); err != nil {
		r.Log.Warn("cannot remove the source tree", "error", err)
	}
}

func (r *run) sweep(ctx context.Context) {
	r.pulls.wait()
	labels := map[string]string{cyclone.LabelWorker: string(r.job.Fence.Worker)}
	if err := r.Networks.Sweep(ctx, labels); err != nil {
		r.Log.Warn("cannot remove everything that the event made", "error", err)
	}
}
