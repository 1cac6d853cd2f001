package kubetest

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
)

// node plays scheduler and kubelet: every pod is bound to it, and at once is
// ready or, depending on its images' names, never.
type node struct {
	client kubernetes.Interface
	name   string
}

func (n *node) register(ctx context.Context) error {
	made, err := n.client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	_, err = n.client.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{})
	return err
}

// run looks after pods until ctx ends.
func (n *node) run(ctx context.Context) {
	factory := informers.NewSharedInformerFactory(n.client, 0)
	// A pod that could not be written is written by somebody else at that
	// moment, and its next change brings it back here.
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { _ = n.sync(ctx, o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { _ = n.sync(ctx, o.(*corev1.Pod)) },
	})
	if err != nil {
		return // only an informer that was stopped refuses handlers
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
}

func (n *node) sync(ctx context.Context, p *corev1.Pod) error {
	pods := n.client.CoreV1().Pods(p.Namespace)
	switch {
	case p.DeletionTimestamp != nil:
		now := int64(0)
		return pods.Delete(ctx, p.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID},
		})
	case p.Spec.NodeName == "":
		return pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: p.Name, UID: p.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: n.name},
		}, metav1.CreateOptions{})
	case len(p.Status.ContainerStatuses) == 0:
		return retry.RetryOnConflict(retry.DefaultRetry, func() error {
			now, err := pods.Get(ctx, p.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			now.Status = status(now)
			_, err = pods.UpdateStatus(ctx, now, metav1.UpdateOptions{})
			return err
		})
	}
	return nil
}

// status is what a kubelet would report of the pod.
func status(p *corev1.Pod) corev1.PodStatus {
	now := metav1.Now()
	s := corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &now, PodIP: "127.0.0.1", PodIPs: []corev1.PodIP{{IP: "127.0.0.1"}},
	}
	ready := corev1.ConditionTrue
	for _, c := range p.Spec.Containers {
		state := containerStatus(c, now)
		if !state.Ready {
			ready = corev1.ConditionFalse
			s.Phase = corev1.PodPending
		}
		s.ContainerStatuses = append(s.ContainerStatuses, state)
	}
	for kind, value := range map[corev1.PodConditionType]corev1.ConditionStatus{
		corev1.PodScheduled: corev1.ConditionTrue, corev1.PodInitialized: corev1.ConditionTrue,
		corev1.ContainersReady: ready, corev1.PodReady: ready,
	} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{
			Type: kind, Status: value, LastTransitionTime: now, ObservedGeneration: p.Generation,
		})
	}
	return s
}

func containerStatus(c corev1.Container, now metav1.Time) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image}
	switch {
	case strings.Contains(c.Image, "missing"):
		s.State.Waiting = &corev1.ContainerStateWaiting{
			Reason: "ImagePullBackOff", Message: `Back-off pulling image "` + c.Image + `"`,
		}
	case strings.Contains(c.Image, "crashing"):
		s.RestartCount = 3
		s.State.Waiting = &corev1.ContainerStateWaiting{
			Reason: "CrashLoopBackOff", Message: "back-off 40s restarting failed container=" + c.Name,
		}
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
			ExitCode: 2, Reason: "Error", Message: "panic: no database", FinishedAt: now,
		}
	default:
		started := true
		s.Started, s.Ready = &started, true
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
	}
	return s
}
