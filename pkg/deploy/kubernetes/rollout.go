package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"cyclone/pkg/cyclone"
)

// pollInterval is how often the Deployment is read when nothing tells of a
// change, and how often pods are looked at.
const pollInterval = 500 * time.Millisecond

// goal is what a rollout is waited for.
type goal struct {
	images images
	// old is the Progressing condition from before the rollout: the cluster
	// leaves it standing for a moment, and it says nothing about this one.
	old appsv1.DeploymentCondition
}

// await returns nil once the rollout is complete, and an error when it has
// failed for good or ctx ends. An API server that does not answer is asked
// again until then: the rollout goes on without it.
func (j *job) await(ctx context.Context, g goal) error {
	changed, stop := j.watch(ctx)
	defer stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var said string
	var unreachable error
	for {
		d, err := j.client.AppsV1().Deployments(j.Namespace).Get(ctx, j.Deployment, metav1.GetOptions{})
		switch {
		case ctx.Err() != nil:
			// Whatever this request says, it was cut off.
		case err == nil:
			unreachable = nil
			done, text, err := g.judge(d)
			if err != nil {
				j.lookAtPods(ctx, d, g)
				return err
			}
			if text != said {
				j.say("%s", text)
				said = text
			}
			if done {
				return nil
			}
			j.lookAtPods(ctx, d, g)
		case apierrors.IsNotFound(err):
			return cyclone.NotFound("%s was deleted during the rollout", j.name())
		default:
			err = explain(j.Access.Host, "watch the rollout", err)
			if !errors.Is(err, cyclone.ErrUnavailable) {
				return err
			}
			if unreachable == nil {
				j.say("%v; asking again", err)
			}
			unreachable, said = err, ""
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			if unreachable != nil {
				return unreachable
			}
			return ctx.Err()
		}
	}
}

// watch sends a hint whenever the Deployment may have changed. Without it, for
// instance because the token may not watch, polling goes on. stop returns when
// nothing of the watch is left.
func (j *job) watch(ctx context.Context) (hints <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", j.Deployment).String()}
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			w, err := j.client.AppsV1().Deployments(j.Namespace).Watch(ctx, only)
			if apierrors.IsForbidden(err) {
				return
			}
			if err == nil {
				for range w.ResultChan() {
					select {
					case changed <- struct{}{}:
					default:
					}
				}
				w.Stop()
			}
			select { // a watch that ends at once must not become a busy loop
			case <-time.After(pollInterval):
			case <-ctx.Done():
			}
		}
	})
	return changed, func() {
		cancel()
		running.Wait()
	}
}

// judge applies kubectl's rule: the controller has seen the change, all
// replicas are updated, no old one is left, all updated ones are available. An
// error means that it never will come to that.
func (g goal) judge(d *appsv1.Deployment) (done bool, text string, err error) {
	if now := imagesOf(d); !now.contains(g.images) {
		return false, "", cyclone.Conflict("somebody else changed the images during the rollout")
	}
	s := d.Status
	if s.ObservedGeneration < d.Generation {
		return false, "waiting: the cluster has not taken up the change yet", nil
	}
	if c := progressing(d); c.Reason == "ProgressDeadlineExceeded" && c.LastUpdateTime != g.old.LastUpdateTime {
		return false, "", fault("the rollout makes no progress: %s (%d of %d updated replicas available)",
			c.Message, s.AvailableReplicas, s.UpdatedReplicas)
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	done, text = counts(s, want)
	return done, text, nil
}

func counts(s appsv1.DeploymentStatus, want int32) (done bool, text string) {
	// Available counts old replicas too while there are any.
	switch {
	case s.UpdatedReplicas < want:
		return false, plural("waiting: %d of %d replica%s updated", s.UpdatedReplicas, want)
	case s.Replicas > s.UpdatedReplicas:
		return false, fmt.Sprintf("waiting: %d old still to end, %d updated", s.Replicas-s.UpdatedReplicas, s.UpdatedReplicas)
	case s.AvailableReplicas < s.UpdatedReplicas:
		return false, plural("waiting: %d of %d updated replica%s available", s.AvailableReplicas, s.UpdatedReplicas)
	case want == 0:
		return true, "the Deployment is scaled to 0 replicas: the image is set, but nothing runs it"
	}
	return true, plural("%d of %d updated replica%s available", s.AvailableReplicas, want)
}

func progressing(d *appsv1.Deployment) appsv1.DeploymentCondition {
	return condition(d, appsv1.DeploymentProgressing)
}

// condition returns a condition, or a zero one when there is none. A nil
// Deployment has none.
func condition(d *appsv1.Deployment, kind appsv1.DeploymentConditionType) appsv1.DeploymentCondition {
	if d == nil {
		return appsv1.DeploymentCondition{}
	}
	for _, c := range d.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return appsv1.DeploymentCondition{Status: corev1.ConditionUnknown}
}
