package kubernetes

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"cyclone/pkg/cyclone"
)

// images are the images of containers by the containers' names.
type images map[string]string

func imagesOf(d *appsv1.Deployment) images {
	all := images{}
	for _, c := range d.Spec.Template.Spec.InitContainers {
		all[c.Name] = c.Image
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		all[c.Name] = c.Image
	}
	return all
}

// contains reports whether every container of part has the same image here.
func (i images) contains(part images) bool {
	for name, image := range part {
		if i[name] != image {
			return false
		}
	}
	return true
}

// of is the part of i about the named containers.
func (i images) of(names []string) images {
	part := images{}
	for _, name := range names {
		if image, ok := i[name]; ok {
			part[name] = image
		}
	}
	return part
}

// summary lists the distinct images of the named containers, in their order.
func (i images) summary(names []string) string {
	var distinct []string
	for _, name := range names {
		if !slices.Contains(distinct, i[name]) {
			distinct = append(distinct, i[name])
		}
	}
	return strings.Join(distinct, ", ")
}

// setImages patches the containers' images and nothing else. It is ErrConflict
// when the Deployment no longer is the one that was changed or found, or has
// other images than from.
func (j *job) setImages(ctx context.Context, from, to images) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now, err := j.find(ctx)
		if err != nil {
			return err
		}
		switch has := imagesOf(now); {
		case now.UID != j.before.UID:
			return cyclone.Conflict("%s was deleted and made anew by somebody else meanwhile", j.name())
		case has.contains(to):
			return nil // also after an answer that was lost on its way
		case !has.contains(from):
			return j.overtaken(now)
		}
		return j.patch(ctx, now, to)
	})
	if apierrors.IsNotFound(err) {
		return cyclone.NotFound("%s was deleted meanwhile", j.name())
	}
	if apierrors.IsConflict(err) {
		return cyclone.Unavailable("set image: %s is being changed by somebody else all the time: %v", j.name(), err)
	}
	return err
}

func (j *job) patch(ctx context.Context, now *appsv1.Deployment, wanted images) error {
	body, err := imagePatch(now, wanted)
	if err != nil {
		return err
	}
	err = retried(ctx, func() error {
		_, err := j.client.AppsV1().Deployments(j.Namespace).Patch(ctx, j.Deployment,
			types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: "cyclone"})
		return err
	})
	return explain(j.Access.Host, "set image of "+j.name(), err)
}

// imagePatch is a strategic merge patch, which finds containers by their
// names. With the resource version in it, it applies only to what was read.
func imagePatch(now *appsv1.Deployment, wanted images) ([]byte, error) {
	type container struct {
		Name  string `json:"name"`
		Image string `json:"image"`
	}
	pick := func(all []corev1.Container) []container {
		var some []container
		for _, c := range all {
			if image, ok := wanted[c.Name]; ok {
				some = append(some, container{c.Name, image})
			}
		}
		return some
	}
	pod := map[string]any{}
	if c := pick(now.Spec.Template.Spec.Containers); c != nil {
		pod["containers"] = c
	}
	if c := pick(now.Spec.Template.Spec.InitContainers); c != nil {
		pod["initContainers"] = c
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": now.ResourceVersion},
		"spec":     map[string]any{"template": map[string]any{"spec": pod}},
	})
}

// overtaken is the error when another hand changed the same images.
func (j *job) overtaken(now *appsv1.Deployment) error {
	return cyclone.Conflict("somebody else set the image of %s to %s meanwhile",
		j.name(), imagesOf(now).summary(j.Containers))
}
