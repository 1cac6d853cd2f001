package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"cyclone/pkg/cyclone"
)

// manifest is the content of a manifest file, by kind.
type manifest struct {
	configMaps  []*corev1.ConfigMap
	services    []*corev1.Service
	deployments []*appsv1.Deployment
}

// createFromManifest creates what the manifest names and the namespace lacks,
// the target's Deployment with the image. It returns nil, or the Deployment
// when somebody else was faster and it has to be changed after all.
func (j *job) createFromManifest(ctx context.Context) (*appsv1.Deployment, error) {
	if err := j.missingNamespace(ctx); err != nil {
		return nil, err
	}
	m, err := parseManifest(j.Manifest)
	if err != nil {
		return nil, err
	}
	target, err := j.targetOf(m)
	if err != nil {
		return nil, err
	}
	if err := j.checkContainers(target); err != nil {
		return nil, err
	}
	j.say("%s does not exist: creating it from %s", j.name(), j.manifestName())
	setAll(target, j.Containers, j.Image)
	fresh, err := j.createAll(ctx, m)
	j.created = fresh
	if err != nil || fresh {
		return nil, err
	}
	return j.find(ctx)
}

func (j *job) manifestName() string {
	if j.Target.Manifest == "" {
		return "manifest"
	}
	return j.Target.Manifest
}

// targetOf finds the target's Deployment in the manifest and checks that
// everything belongs to the target's namespace.
func (j *job) targetOf(m *manifest) (*appsv1.Deployment, error) {
	for _, o := range m.objects() {
		if ns := o.GetNamespace(); ns != "" && ns != j.Namespace {
			return nil, cyclone.Invalid("manifest", "%s: %q is of namespace %q, the target of %q; leave the namespace out of the manifest",
				j.manifestName(), o.GetName(), ns, j.Namespace)
		}
	}
	var names []string
	for _, d := range m.deployments {
		if d.Name == j.Deployment {
			return d, nil
		}
		names = append(names, d.Name)
	}
	return nil, cyclone.Invalid("manifest", "%s has no Deployment %q; it has: %s", j.manifestName(), j.Deployment, listed(names, false))
}

// createAll creates the objects in the order in which they need each other. It
// reports whether the target's Deployment is a new one.
func (j *job) createAll(ctx context.Context, m *manifest) (fresh bool, err error) {
	core, apps := j.client.CoreV1(), j.client.AppsV1()
	for _, o := range m.configMaps {
		if _, err := j.create(ctx, "ConfigMap", o.Name, func() error {
			_, err := core.ConfigMaps(j.Namespace).Create(ctx, o, metav1.CreateOptions{FieldManager: "cyclone"})
			return err
		}); err != nil {
			return false, err
		}
	}
	for _, o := range m.services {
		if _, err := j.create(ctx, "Service", o.Name, func() error {
			_, err := core.Services(j.Namespace).Create(ctx, o, metav1.CreateOptions{FieldManager: "cyclone"})
			return err
		}); err != nil {
			return false, err
		}
	}
	for _, o := range m.deployments {
		made, err := j.create(ctx, "Deployment", o.Name, func() error {
			_, err := apps.Deployments(j.Namespace).Create(ctx, o, metav1.CreateOptions{FieldManager: "cyclone"})
			return err
		})
		if err != nil {
			return false, err
		}
		if o.Name == j.Deployment {
			fresh = made
		}
	}
	return fresh, nil
}

// create creates one object; one that is there already stays as it is.
func (j *job) create(ctx context.Context, kind, name string, do func() error) (made bool, err error) {
	switch err := retried(ctx, do); {
	case err == nil:
		j.say("created %s %s/%s", kind, j.Namespace, name)
		return true, nil
	case apierrors.IsAlreadyExists(err):
		j.say("%s %s/%s exists and stays as it is", kind, j.Namespace, name)
		return false, nil
	case apierrors.IsNotFound(err):
		return false, cyclone.NotFound("create %s %s/%s: the cluster has no namespace %q", kind, j.Namespace, name, j.Namespace)
	default:
		return false, explain(j.Access.Host, fmt.Sprintf("create %s %s/%s", kind, j.Namespace, name), err)
	}
}

// parseManifest reads the documents of a manifest file.
func parseManifest(text []byte) (*manifest, error) {
	m := &manifest{}
	// Strict refuses keys that Kubernetes does not know: a misspelt key would
	// otherwise be dropped without a word.
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return nil, cyclone.Invalid("manifest", "document %d: %v", n, err)
		}
		if blank(document) {
			continue
		}
		if err := m.add(strict, document); err != nil {
			return nil, cyclone.Invalid("manifest", "document %d: %v", n, err)
		}
	}
}

// blank reports whether a document has nothing but comments in it.
func blank(document []byte) bool {
	for line := range strings.Lines(string(document)) {
		line = strings.TrimSpace(line)
		if line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func (m *manifest) add(strict runtime.Decoder, document []byte) error {
	var is metav1.TypeMeta
	if err := yaml.Unmarshal(document, &is); err != nil {
		return err
	}
	switch is {
	case metav1.TypeMeta{Kind: "Deployment", APIVersion: "apps/v1"}, metav1.TypeMeta{Kind: "Service", APIVersion: "v1"},
		metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}:
	default:
		return fmt.Errorf("kind %q of apiVersion %q is not created from here; a manifest may have Deployment (apps/v1), Service (v1) and ConfigMap (v1)", is.Kind, is.APIVersion)
	}
	object, _, err := strict.Decode(document, nil, nil)
	if err != nil {
		return err
	}
	switch o := object.(type) {
	case *appsv1.Deployment:
		m.deployments = append(m.deployments, o)
	case *corev1.Service:
		m.services = append(m.services, o)
	case *corev1.ConfigMap:
		m.configMaps = append(m.configMaps, o)
	}
	return nil
}

func (m *manifest) objects() []metav1.Object {
	var all []metav1.Object
	for _, o := range m.configMaps {
		all = append(all, o)
	}
	for _, o := range m.services {
		all = append(all, o)
	}
	for _, o := range m.deployments {
		all = append(all, o)
	}
	return all
}

// setAll gives the named containers the image.
func setAll(d *appsv1.Deployment, names []string, image string) {
	pod := &d.Spec.Template.Spec
	for _, list := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range list {
			for _, name := range names {
				if list[i].Name == name {
					list[i].Image = image
				}
			}
		}
	}
}
