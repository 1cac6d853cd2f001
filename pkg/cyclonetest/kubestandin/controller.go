package kubestandin

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// pace is the time between two steps of a rollout, so that it can be watched.
const pace = 30 * time.Millisecond

// hashLabel tells the pods of one template from those of another.
const hashLabel = appsv1.DefaultDeploymentUniqueLabelKey

// control rolls Deployments out, one pod at a time, until ctx ends.
func (s *Server) control(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		}
		s.step()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pace):
		}
	}
}

// step takes every Deployment one pod further. What it writes wakes the
// controller again, so it goes on until there is nothing left to do.
func (s *Server) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.tracker.List(resources["deployments"].gvr, resources["deployments"].gvk(), "")
	if err != nil {
		return // the tracker knows the kind; there is nobody to tell
	}
	for i := range list.(*appsv1.DeploymentList).Items {
		d := &list.(*appsv1.DeploymentList).Items[i]
		if s.moveOn(d) == nil {
			_ = s.report(d) // the next step reports the same
		}
	}
}

// moveOn makes a new pod while there are too few, else removes an old one once
// the new ones are ready.
func (s *Server) moveOn(d *appsv1.Deployment) error {
	updated, old := s.pods(d)
	want := int(*d.Spec.Replicas)
	switch {
	case len(updated) < want:
		if err := s.addReplicaSet(d); err != nil {
			return err
		}
		return s.addPod(d)
	case len(updated) > want:
		return s.tracker.Delete(resources["pods"].gvr, d.Namespace, updated[0].Name)
	case len(old) > 0 && ready(updated) == want:
		return s.tracker.Delete(resources["pods"].gvr, d.Namespace, old[0].Name)
	}
	return nil
}

// report writes the Deployment's status when it has changed.
func (s *Server) report(d *appsv1.Deployment) error {
	updated, old := s.pods(d)
	after := d.DeepCopy()
	n := func(i int) int32 { return int32(i) }
	after.Status = appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: n(len(updated) + len(old)), UpdatedReplicas: n(len(updated)),
		ReadyReplicas: n(ready(updated) + ready(old)), AvailableReplicas: n(ready(updated) + ready(old)),
	}
	progress := appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "ReplicaSetUpdated"}
	if len(old) == 0 && ready(updated) == int(*d.Spec.Replicas) {
		progress.Reason = "NewReplicaSetAvailable"
	}
	after.Status.Conditions = []appsv1.DeploymentCondition{progress}
	if reflect.DeepEqual(d.Status, after.Status) {
		return nil
	}
	return s.update(resources["deployments"], d.Namespace, d, after)
}

// pods returns a Deployment's pods of its present template, and the others.
func (s *Server) pods(d *appsv1.Deployment) (updated, old []corev1.Pod) {
	list, err := s.tracker.List(resources["pods"].gvr, resources["pods"].gvk(), d.Namespace)
	if err != nil {
		return nil, nil
	}
	for _, p := range list.(*corev1.PodList).Items {
		owner := metav1.GetControllerOf(&p)
		switch {
		case owner == nil || !strings.HasPrefix(owner.Name, d.Name+"-") || p.Labels["deployment-uid"] != string(d.UID):
		case p.Labels[hashLabel] == templateHash(d):
			updated = append(updated, p)
		default:
			old = append(old, p)
		}
	}
	return updated, old
}

func ready(pods []corev1.Pod) int {
	n := 0
	for _, p := range pods {
		if p.Status.Phase == corev1.PodRunning {
			n++
		}
	}
	return n
}

func templateHash(d *appsv1.Deployment) string {
	h := fnv.New32a()
	_ = json.NewEncoder(h).Encode(d.Spec.Template) // it came out of JSON, and a hash takes everything
	return fmt.Sprintf("%08x", h.Sum32())
}

func (s *Server) addReplicaSet(d *appsv1.Deployment) error {
	name := d.Name + "-" + templateHash(d)
	if _, err := s.tracker.Get(resources["replicasets"].gvr, d.Namespace, name); err == nil {
		return nil
	}
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: podLabels(d),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsV1.WithKind("Deployment"))},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template},
	}
	_, err := s.createLocked(resources["replicasets"], d.Namespace, set)
	return err
}

func podLabels(d *appsv1.Deployment) map[string]string {
	all := maps.Clone(d.Spec.Template.Labels)
	all[hashLabel] = templateHash(d)
	all["deployment-uid"] = string(d.UID)
	return all
}

func (s *Server) addPod(d *appsv1.Deployment) error {
	set, err := s.tracker.Get(resources["replicasets"].gvr, d.Namespace, d.Name+"-"+templateHash(d))
	if err != nil {
		return err
	}
	owner := set.(*appsv1.ReplicaSet)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%05x", owner.Name, s.versions), Labels: podLabels(d),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, appsV1.WithKind("ReplicaSet"))},
		},
		Spec:   *d.Spec.Template.Spec.DeepCopy(),
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, c := range p.Spec.Containers {
		state := corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: true}
		state.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.Now()}
		if strings.Contains(c.Image, "missing") {
			p.Status.Phase = corev1.PodPending
			state.Ready = false
			state.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason: "ImagePullBackOff", Message: `Back-off pulling image "` + c.Image + `"`,
			}}
		}
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, state)
	}
	_, err = s.createLocked(resources["pods"], d.Namespace, runtime.Object(p))
	return err
}
