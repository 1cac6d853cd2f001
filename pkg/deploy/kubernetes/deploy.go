// Package kubernetes rolls images out to Deployments on Kubernetes clusters:
// it gives the named containers the new image, watches the rollout as kubectl
// does, quotes what pods complain of, and undoes a rollout that fails.
//
// It is not a way to manage clusters: it creates nothing but what a manifest
// names when the Deployment is missing, and deletes nothing.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	clientset "k8s.io/client-go/kubernetes"

	"cyclone/pkg/cyclone"
)

// DefaultRollbackTimeout is how long a rollback is waited for.
const DefaultRollbackTimeout = 2 * time.Minute

// Deployer rolls out to any cluster; which one, every Rollout says itself.
// The zero value is ready to use, and safe for concurrent use.
type Deployer struct {
	// RollbackTimeout bounds a rollback; 0 means DefaultRollbackTimeout.
	RollbackTimeout time.Duration
}

var _ cyclone.Deployer = (*Deployer)(nil)

// Deploy gives the target's containers the image, watches the rollout for at
// most r.Timeout and undoes it when it fails, times out or ctx ends, unless
// r.NoRollback. Progress goes to out, one line at a time.
//
// The returned Deployment is complete whether or not there is an error; its
// Error is the error's text. Its Status, and with it the kind of the error:
//
//	success   the new image runs everywhere; no error
//	failure   the project's fault: ErrInvalid, ErrNotFound, or ErrForbidden
//	          when the credentials stand in the project's own file
//	timeout   the rollout was not complete in time; context.DeadlineExceeded
//	canceled  ctx ended; its cause
//	error     the cluster's or Cyclone's fault: ErrUnavailable, ErrForbidden
func (d *Deployer) Deploy(ctx context.Context, r cyclone.Rollout, out io.Writer) (cyclone.Deployment, error) {
	record := cyclone.Deployment{
		Cluster: r.Cluster, Namespace: r.Namespace, Deployment: r.Deployment,
		Containers: append([]string{}, r.Containers...), Image: r.Image, Status: cyclone.StatusSuccess,
	}
	if record.Namespace == "" {
		record.Namespace, r.Namespace = "default", "default"
	}
	j := &job{Rollout: r, record: &record, out: out, rollbackTimeout: d.RollbackTimeout}
	if j.rollbackTimeout == 0 {
		j.rollbackTimeout = DefaultRollbackTimeout
	}
	if err := j.run(ctx); err != nil {
		record.Status = j.status(ctx, err)
		// What goes wrong with undoing is told too: somebody has to look after
		// the Deployment then. It does not change what the event failed of.
		if undone := j.undo(ctx); undone != nil {
			err = fmt.Errorf("%w; %w", err, undone)
		}
		err = fmt.Errorf("deploy %s: %w", j.name(), err)
		record.Error = err.Error()
		return record, err
	}
	return record, nil
}

// job is one deployment under way.
type job struct {
	cyclone.Rollout
	record          *cyclone.Deployment
	out             io.Writer
	client          clientset.Interface
	rollbackTimeout time.Duration

	wanted images // what the containers are to get
	// before is the Deployment as it was when we first asked to change it; nil
	// until then.
	before  *appsv1.Deployment
	created bool // by us, from the manifest
	pods    podWatch
}

func (j *job) name() string { return j.Namespace + "/" + j.Deployment }

// say prints a line of progress.
func (j *job) say(format string, args ...any) {
	_, _ = fmt.Fprintf(j.out, format+"\n", args...) // a log that is full must not stop a rollout half way
}

// run does the whole deployment.
func (j *job) run(ctx context.Context) error {
	timeout := time.Duration(j.Timeout)
	if timeout <= 0 {
		timeout = cyclone.DefaultRolloutTimeout
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, &timeoutError{timeout})
	defer cancel()

	found, err := j.prepare(limited)
	if err != nil {
		return ended(limited, err)
	}
	j.wanted = images{}
	for _, name := range j.Containers {
		j.wanted[name] = j.Image
	}
	if found != nil {
		if err := j.change(limited, found); err != nil {
			return ended(limited, err)
		}
	}
	if err := j.await(limited, goal{j.wanted, progressing(found)}); err != nil {
		err = j.pods.explain(ended(limited, err))
		j.say("%v", err)
		return err
	}
	j.say("deployed: %s runs %s", j.name(), j.Image)
	return nil
}

// change gives an existing Deployment the image.
func (j *job) change(ctx context.Context, found *appsv1.Deployment) error {
	previous := imagesOf(found)
	j.record.PreviousImage = previous.summary(j.Containers)
	if previous.contains(j.wanted) {
		j.say("%s has the image already", j.name())
		return nil
	}
	// From here on a change may have been made, even when its answer is lost.
	j.before = found
	if err := j.setImages(ctx, previous.of(j.Containers), j.wanted); err != nil {
		return err
	}
	j.say("image of %s: %s (before: %s)", strings.Join(j.Containers, ", "), j.Image, j.record.PreviousImage)
	return nil
}

// prepare connects, finds the Deployment and checks that it can take the
// image. It creates a missing one from the manifest, and then returns nil:
// nothing is left to change.
func (j *job) prepare(ctx context.Context) (*appsv1.Deployment, error) {
	client, err := connect(j.Access)
	if err != nil {
		return nil, err
	}
	j.client = client
	j.say("deploying %s to %s", j.name(), j.Access.Host)
	found, err := j.find(ctx)
	if errors.Is(err, cyclone.ErrNotFound) && j.Manifest != nil {
		return j.createFromManifest(ctx)
	}
	if err != nil {
		return nil, err
	}
	if found.Spec.Paused {
		return nil, fault("%s is paused, so nothing would be rolled out; resume it: kubectl -n %s rollout resume deployment/%s",
			j.name(), j.Namespace, j.Deployment)
	}
	return found, j.checkContainers(found)
}

// checkContainers holds the target's list of containers against those there are.
func (j *job) checkContainers(d *appsv1.Deployment) error {
	var names []string
	for _, c := range d.Spec.Template.Spec.Containers {
		names = append(names, c.Name)
	}
	for _, c := range d.Spec.Template.Spec.InitContainers {
		names = append(names, c.Name)
	}
	if len(j.Containers) == 0 {
		return cyclone.Invalid("containers", "the list is empty; %s has: %s", j.name(), strings.Join(names, ", "))
	}
	var unknown []string
	for _, c := range j.Containers {
		if !slices.Contains(names, c) {
			unknown = append(unknown, fmt.Sprintf("%q", c))
		}
	}
	if unknown != nil {
		return cyclone.Invalid("containers", "%s has no container %s; it has: %s",
			j.name(), strings.Join(unknown, ", "), strings.Join(names, ", "))
	}
	return nil
}

// undo rolls back what was changed, unless the target says not to.
func (j *job) undo(ctx context.Context) error {
	if j.before == nil {
		if j.created {
			j.say("not rolled back: %s was only created now and has no earlier state; it stays for you to look at", j.name())
		}
		return nil
	}
	if j.NoRollback {
		j.say("not rolled back, as the target says (rollback: false)")
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), j.rollbackTimeout, &timeoutError{j.rollbackTimeout})
	defer cancel()
	err := j.rollback(ctx)
	if err != nil {
		err = fmt.Errorf("roll back: %w", ended(ctx, err))
		j.say("%v", err)
	}
	return err
}

// rollback gives the containers their previous images again and waits until
// they run.
func (j *job) rollback(ctx context.Context) error {
	previous := imagesOf(j.before).of(j.Containers)
	err := j.setImages(ctx, j.wanted, previous)
	if errors.Is(err, cyclone.ErrConflict) {
		// The Deployment is somebody else's now.
		j.say("not rolled back: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	j.say("rolling back to %s", j.record.PreviousImage)
	j.pods = podWatch{}
	now, err := j.find(ctx)
	if err != nil {
		return err
	}
	if err := j.await(ctx, goal{previous, progressing(now)}); err != nil {
		return j.pods.explain(fmt.Errorf("the previous image is set, but does not run: %w", ended(ctx, err)))
	}
	j.say("rolled back: %s runs %s again", j.name(), j.record.PreviousImage)
	return nil
}

// status is what the Deployment's record says of an error.
func (j *job) status(ctx context.Context, err error) cyclone.Status {
	ownCredentials := j.Type == "kubernetes"
	switch {
	case errors.Is(err, cyclone.ErrUnavailable):
		return cyclone.StatusError
	case errors.Is(err, context.DeadlineExceeded):
		return cyclone.StatusTimeout
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return cyclone.StatusCanceled
	case errors.Is(err, cyclone.ErrForbidden) && !ownCredentials:
		return cyclone.StatusError
	}
	for _, fault := range []error{cyclone.ErrInvalid, cyclone.ErrNotFound, cyclone.ErrConflict, cyclone.ErrForbidden} {
		if errors.Is(err, fault) {
			return cyclone.StatusFailure
		}
	}
	return cyclone.StatusError
}
