package kubestandin

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
)

var (
	errModified  = errors.New("the object has been modified; read it again")
	errPatchType = errors.New("this type of patch is not supported")
)

const maxBody = 3 << 20

// blank makes an empty object of the resource's kind.
func blank(r resource) (runtime.Object, error) { return clientscheme.Scheme.New(r.gvk()) }

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
		fail(w, apierrors.NewUnauthorized("Unauthorized"))
		return
	}
	if answer, ok := fixed(r.URL.Path); ok {
		reply(w, http.StatusOK, answer)
		return
	}
	if r.URL.Path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
		// Whoever has the token may do everything.
		reply(w, http.StatusCreated, &authorizationv1.SelfSubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
			Status:   authorizationv1.SubjectAccessReviewStatus{Allowed: true},
		})
		return
	}
	at, ok := parsePath(r.URL.Path)
	if !ok {
		fail(w, apierrors.NewNotFound(schema.GroupResource{}, r.URL.Path))
		return
	}
	s.object(w, r, at)
}

// fixed answers what never changes: the version and the list of resources.
func fixed(path string) (any, bool) {
	switch path {
	case "/version":
		return version.Info{Major: "1", Minor: "37", GitVersion: Version}, true
	case "/healthz", "/livez", "/readyz":
		return "ok", true
	case "/api":
		return metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}, true
	case "/apis":
		v := metav1.GroupVersionForDiscovery{GroupVersion: "apps/v1", Version: "v1"}
		return metav1.APIGroupList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"},
			Groups:   []metav1.APIGroup{{Name: "apps", Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}},
		}, true
	case "/api/v1":
		return resourceList(coreV1), true
	case "/apis/apps/v1":
		return resourceList(appsV1), true
	}
	return nil, false
}

func resourceList(gv schema.GroupVersion) metav1.APIResourceList {
	list := metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv.String(),
	}
	for name, r := range resources {
		if r.gvr.GroupVersion() == gv {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: name, SingularName: strings.ToLower(r.kind), Namespaced: r.namespaced, Kind: r.kind, ShortNames: []string{r.short},
				Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"},
			})
		}
	}
	return list
}

// place is what a request is about.
type place struct {
	resource
	namespace, name string
}

// parsePath understands /api/v1 and /apis/apps/v1, then RESOURCE[/NAME] or
// namespaces/NAMESPACE/RESOURCE[/NAME]. A subresource is its object.
func parsePath(path string) (place, bool) {
	rest, ok := strings.CutPrefix(path, "/api/v1/")
	group := coreV1
	if !ok {
		if rest, ok = strings.CutPrefix(path, "/apis/apps/v1/"); !ok {
			return place{}, false
		}
		group = appsV1
	}
	parts := append(strings.Split(rest, "/"), "", "", "")
	var p place
	if parts[0] == "namespaces" && parts[2] != "" {
		p.namespace, parts = parts[1], parts[2:]
	}
	p.resource, ok = resources[parts[0]]
	p.name = parts[1]
	return p, ok && p.gvr.GroupVersion() == group
}

func (s *Server) object(w http.ResponseWriter, r *http.Request, at place) {
	var object runtime.Object
	var err error
	code := http.StatusOK
	switch {
	case r.Method == http.MethodGet && at.name != "":
		object, err = s.tracker.Get(at.gvr, at.namespace, at.name)
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		err = s.stream(w, r, at)
		if err == nil {
			return
		}
	case r.Method == http.MethodGet:
		object, err = s.list(r, at)
	case r.Method == http.MethodPost && at.name == "":
		code = http.StatusCreated
		if object, err = decode(r); err == nil {
			object, err = s.create(at.resource, at.namespace, object)
		}
	case r.Method == http.MethodPut && at.name != "":
		if object, err = decode(r); err == nil {
			object, err = s.replace(at.resource, at.namespace, at.name, object)
		}
	case r.Method == http.MethodPatch && at.name != "":
		var body []byte
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody)); err == nil {
			object, err = s.patch(at.resource, at.namespace, at.name, types.PatchType(r.Header.Get("Content-Type")), body)
		}
	case r.Method == http.MethodDelete && at.name != "":
		object = &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess}
		err = s.remove(at.resource, at.namespace, at.name)
	default:
		err = apierrors.NewMethodNotSupported(at.gvr.GroupResource(), strings.ToLower(r.Method))
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, code, object)
}

// decode reads an object in JSON or in Kubernetes' protobuf.
func decode(r *http.Request) (runtime.Object, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return nil, err
	}
	object, _, err := clientscheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return object, nil
}

// matcher selects objects by the request's label and field selectors.
func matcher(r *http.Request) (func(runtime.Object) bool, error) {
	byLabel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	byField, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return func(o runtime.Object) bool {
		m, err := meta.Accessor(o)
		return err == nil && byLabel.Matches(labels.Set(m.GetLabels())) &&
			byField.Matches(fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()})
	}, nil
}

func (s *Server) list(r *http.Request, at place) (runtime.Object, error) {
	matches, err := matcher(r)
	if err != nil {
		return nil, err
	}
	list, err := s.tracker.List(at.gvr, at.gvk(), at.namespace)
	if err != nil {
		return nil, err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	var kept []runtime.Object
	for _, o := range items {
		if matches(o) {
			kept = append(kept, o)
		}
	}
	list.GetObjectKind().SetGroupVersionKind(at.gvr.GroupVersion().WithKind(at.kind + "List"))
	return list, meta.SetList(list, kept)
}

// stream sends changes until the client or the server goes. Like Kubernetes
// without a resource version, it begins with the objects that there are.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, at place) error {
	matches, err := matcher(r)
	if err != nil {
		return err
	}
	changes, err := s.tracker.Watch(at.gvr, at.namespace, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer changes.Stop()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out, control := json.NewEncoder(w), http.NewResponseController(w)
	for {
		if err := control.Flush(); err != nil {
			return nil // the client has gone, which is how watches end
		}
		select {
		case <-r.Context().Done():
			return nil
		case c, open := <-changes.ResultChan():
			if !open {
				return nil
			}
			if !matches(c.Object) {
				continue
			}
			if out.Encode(map[string]any{"type": c.Type, "object": c.Object}) != nil {
				return nil
			}
		}
	}
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

// fail answers with a Status, the form that Kubernetes' clients understand.
func fail(w http.ResponseWriter, err error) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	reply(w, int(status.Code), status)
}
