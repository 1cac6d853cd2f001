package kubernetes

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mostPods bounds how many pods are looked at for complaints.
const mostPods = 100

// podWatch remembers what pods complained of.
type podWatch struct {
	told    map[string]bool // kinds of complaint that were printed
	problem string          // the latest
	next    time.Time       // when to look again
	blind   bool            // the token may not see pods
}

// explain adds what the pods say to the reason why a rollout failed.
func (p *podWatch) explain(err error) error {
	if p.problem == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, p.problem)
}

// complaint is why a pod does not run. Several pods, and one pod over time,
// have the same kind of complaint in other words.
type complaint struct{ kind, text string }

// tell prints each kind of complaint once.
func (j *job) tell(where string, c complaint) {
	if j.pods.told == nil {
		j.pods.told = map[string]bool{}
	}
	if !j.pods.told[c.kind] {
		j.pods.told[c.kind] = true
		j.say("%s: %s", where, c.text)
	}
	j.pods.problem = where + ": " + c.text
}

// lookAtPods quotes the complaints of the Deployment's pods that have the
// goal's images. It is there for people: its own failures change nothing.
func (j *job) lookAtPods(ctx context.Context, d *appsv1.Deployment, g goal) {
	if c := condition(d, appsv1.DeploymentReplicaFailure); c.Status == corev1.ConditionTrue {
		j.tell("deployment "+d.Name, complaint{c.Reason, joined(c.Reason, c.Message)})
	}
	if j.pods.blind || time.Now().Before(j.pods.next) {
		return
	}
	j.pods.next = time.Now().Add(pollInterval)
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return
	}
	list, err := j.client.CoreV1().Pods(j.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String(), Limit: mostPods})
	if apierrors.IsForbidden(err) {
		j.pods.blind = true
		j.say("the token may not list pods, so their failures are not shown")
	}
	if err != nil {
		return
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp != nil || !podImages(&p).contains(g.images) {
			continue
		}
		for _, c := range complaints(&p) {
			j.tell("pod "+p.Name, c)
		}
	}
}

func podImages(p *corev1.Pod) images {
	all := images{}
	for _, c := range p.Spec.InitContainers {
		all[c.Name] = c.Image
	}
	for _, c := range p.Spec.Containers {
		all[c.Name] = c.Image
	}
	return all
}

// harmless are the reasons to wait that every container passes through.
var harmless = map[string]bool{"": true, "ContainerCreating": true, "PodInitializing": true}

// complaints says why a pod does not run: it has no place, or its containers
// do not start, or end.
func complaints(p *corev1.Pod) []complaint {
	var all []complaint
	add := func(what, reason, text string) { all = append(all, complaint{what + reason, text}) }
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Message != "" {
			add("", c.Reason, joined(c.Reason, c.Message))
		}
	}
	if p.Status.Phase == corev1.PodFailed && p.Status.Reason != "" {
		add("", p.Status.Reason, joined(p.Status.Reason, p.Status.Message))
	}
	for _, s := range append(append([]corev1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil && !harmless[w.Reason] {
			add(s.Name, w.Reason, "container "+s.Name+": "+joined(w.Reason, w.Message)+lastEnd(s.LastTerminationState.Terminated))
		}
		if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
			add(s.Name, "ended", "container "+s.Name+lastEnd(t))
		}
	}
	return all
}

// lastEnd tells how a container ended, if it did.
func lastEnd(t *corev1.ContainerStateTerminated) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf(" (ended with exit code %d: %s)", t.ExitCode, joined(t.Reason, strings.TrimSpace(t.Message)))
}

func joined(reason, message string) string {
	if message == "" {
		return reason
	}
	return reason + ": " + message
}

// plural fills in n and of, and the s of the noun when of is not one.
func plural(format string, n, of int32) string {
	s := "s"
	if of == 1 {
		s = ""
	}
	return fmt.Sprintf(format, n, of, s)
}
