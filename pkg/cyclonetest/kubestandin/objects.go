package kubestandin

import (
	"encoding/json"
	"reflect"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// resource is a kind of object that the server keeps.
type resource struct {
	gvr        schema.GroupVersionResource
	kind       string
	namespaced bool
	short      string // what kubectl users type
}

func (r resource) gvk() schema.GroupVersionKind { return r.gvr.GroupVersion().WithKind(r.kind) }

var (
	coreV1 = corev1.SchemeGroupVersion
	appsV1 = appsv1.SchemeGroupVersion

	resources = map[string]resource{
		"namespaces":  {coreV1.WithResource("namespaces"), "Namespace", false, "ns"},
		"pods":        {coreV1.WithResource("pods"), "Pod", true, "po"},
		"services":    {coreV1.WithResource("services"), "Service", true, "svc"},
		"configmaps":  {coreV1.WithResource("configmaps"), "ConfigMap", true, "cm"},
		"events":      {coreV1.WithResource("events"), "Event", true, "ev"},
		"deployments": {appsV1.WithResource("deployments"), "Deployment", true, "deploy"},
		"replicasets": {appsV1.WithResource("replicasets"), "ReplicaSet", true, "rs"},
	}
)

// create stores a new object.
func (s *Server) create(r resource, namespace string, object runtime.Object) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.createLocked(r, namespace, object)
}

func (s *Server) createLocked(r resource, namespace string, object runtime.Object) (runtime.Object, error) {
	o, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	if r.namespaced {
		if _, err := s.tracker.Get(resources["namespaces"].gvr, "", namespace); err != nil {
			return nil, err
		}
		o.SetNamespace(namespace)
	}
	if d, ok := object.(*appsv1.Deployment); ok {
		if err := complete(d); err != nil {
			return nil, err
		}
	}
	o.SetUID(uuid.NewUUID())
	o.SetCreationTimestamp(metav1.Now())
	o.SetGeneration(1)
	s.stamp(r, object)
	if err := s.tracker.Create(r.gvr, object, namespace); err != nil {
		return nil, err
	}
	s.wake()
	return object, nil
}

// complete fills in the number of replicas and refuses what could not run.
func complete(d *appsv1.Deployment) error {
	if d.Spec.Replicas == nil {
		one := int32(1)
		d.Spec.Replicas = &one
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	var wrong field.ErrorList
	if err != nil || selector.Empty() || !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
		wrong = append(wrong, field.Invalid(field.NewPath("spec", "selector"), d.Spec.Selector, "must match the labels of the template"))
	}
	if len(d.Spec.Template.Spec.Containers) == 0 {
		wrong = append(wrong, field.Required(field.NewPath("spec", "template", "spec", "containers"), ""))
	}
	if wrong == nil {
		return nil
	}
	return apierrors.NewInvalid(resources["deployments"].gvk().GroupKind(), d.Name, wrong)
}

// stamp gives an object that is about to be written a new resource version.
func (s *Server) stamp(r resource, object runtime.Object) {
	s.versions++
	object.GetObjectKind().SetGroupVersionKind(r.gvk())
	if o, err := meta.Accessor(object); err == nil {
		o.SetResourceVersion(strconv.FormatInt(s.versions, 10))
	}
}

// update stores a changed object; a changed spec is a new generation.
func (s *Server) update(r resource, namespace string, before, after runtime.Object) error {
	was, err := meta.Accessor(before)
	if err != nil {
		return err
	}
	is, err := meta.Accessor(after)
	if err != nil {
		return err
	}
	if is.GetResourceVersion() != was.GetResourceVersion() {
		return apierrors.NewConflict(r.gvr.GroupResource(), is.GetName(), errModified)
	}
	is.SetGeneration(was.GetGeneration())
	if d, ok := after.(*appsv1.Deployment); ok && !reflect.DeepEqual(d.Spec, before.(*appsv1.Deployment).Spec) {
		is.SetGeneration(was.GetGeneration() + 1)
	}
	s.stamp(r, after)
	if err := s.tracker.Update(r.gvr, after, namespace); err != nil {
		return err
	}
	s.wake()
	return nil
}

// patch applies a patch of any of the three usual kinds.
func (s *Server) patch(r resource, namespace, name string, kind types.PatchType, body []byte) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.tracker.Get(r.gvr, namespace, name)
	if err != nil {
		return nil, err
	}
	old, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	patched, err := applyPatch(kind, old, body, before)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	after, err := blank(r)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(patched, after); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return after, s.update(r, namespace, before, after)
}

func applyPatch(kind types.PatchType, old, body []byte, object runtime.Object) ([]byte, error) {
	switch kind {
	case types.StrategicMergePatchType:
		return strategicpatch.StrategicMergePatch(old, body, object)
	case types.MergePatchType:
		return jsonpatch.MergePatch(old, body)
	case types.JSONPatchType:
		p, err := jsonpatch.DecodePatch(body)
		if err != nil {
			return nil, err
		}
		return p.Apply(old)
	}
	return nil, errPatchType
}

// replace stores a whole object, as PUT does.
func (s *Server) replace(r resource, namespace, name string, object runtime.Object) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.tracker.Get(r.gvr, namespace, name)
	if err != nil {
		return nil, err
	}
	return object, s.update(r, namespace, before, object)
}

func (s *Server) remove(r resource, namespace, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	return s.tracker.Delete(r.gvr, namespace, name)
}

// wake tells the controller that there may be something to do.
func (s *Server) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
