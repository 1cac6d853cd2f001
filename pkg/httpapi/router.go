package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// router serves the table. Routes of one path become one entry, so that a
// wrong method is answered with the methods that there are.
func (s *Server) router() http.Handler {
	methods := map[string]map[string]Route{}
	var paths []string
	for _, r := range s.Routes() {
		if methods[r.Path] == nil {
			methods[r.Path] = map[string]Route{}
			paths = append(paths, r.Path)
		}
		methods[r.Path][r.Method] = r
	}
	m := mux.NewRouter().SkipClean(true)
	for _, path := range paths {
		// What is called a path has folders, and an account's name has slashes.
		pattern := strings.NewReplacer("{path}", "{path:.+}", "{account}", "{account:.+}").Replace(path)
		m.Handle(pattern, s.byMethod(methods[path]))
	}
	m.NotFoundHandler = s.answer(func(_ http.ResponseWriter, r *http.Request) error {
		return cyclone.NotFound("there is nothing at %s; /docs lists all addresses", clip(r.URL.Path, 200))
	})
	return m
}

// byMethod picks the route of a path by the request's method. HEAD is GET
// without the body, which net/http leaves out.
func (s *Server) byMethod(routes map[string]Route) http.Handler {
	allow := []string{"OPTIONS"}
	for method := range routes {
		allow = append(allow, method)
		if method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	allowed := strings.Join(allow, ", ")
	return s.answer(func(w http.ResponseWriter, r *http.Request) error {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		route, ok := routes[method]
		if ok {
			return inTime(w, r, func(w http.ResponseWriter, r *http.Request) error { return s.enter(route, w, r) })
		}
		w.Header().Set("Allow", allowed)
		if method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return &statusError{http.StatusMethodNotAllowed, "method_not_allowed",
			"method " + clip(r.Method, 20) + " is not possible here; possible are " + allowed}
	})
}

// enter lets a request into a route: who asks first, what is asked after.
func (s *Server) enter(route Route, w http.ResponseWriter, r *http.Request) error {
	r, err := s.admit(route.Access, r)
	if err != nil {
		return err
	}
	if err := checkQuery(r, route.Query); err != nil {
		return err
	}
	return route.handle(w, r)
}

// answer makes an http.Handler of a handler: what it returns is written in
// the API's error form.
func (s *Server) answer(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.writeError(w, r, err)
		}
	})
}

// repeatable are the parameters that select any of several values.
var repeatable = []string{"status"}

// checkQuery refuses parameters that the route does not know, so that a
// mistyped filter does not silently select everything.
func checkQuery(r *http.Request, known []string) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &statusError{http.StatusBadRequest, "invalid",
			"the part of the address after ? cannot be read: separate parameters with & and write % as %25"}
	}
	var bad cyclone.InvalidError
	for _, name := range sortedKeys(values) {
		switch {
		case !slices.Contains(known, name):
			bad.Add(clip(name, 60), "unknown parameter%s", oneOf(known))
		case len(values[name]) > 1 && !slices.Contains(repeatable, name):
			bad.Add(name, "must be given only once")
		}
	}
	return bad.OrNil()
}

// oneOf is a hint that names what is possible.
func oneOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; possible are " + strings.Join(names, ", ")
}

// clip shortens what a caller sent before it is repeated to them.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:limit], "?") + "..."
}
