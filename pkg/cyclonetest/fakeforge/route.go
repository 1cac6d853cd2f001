package fakeforge

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxBody is what the fake reads of a call.
const maxBody = 8 << 20

// route is one call that the forge's documentation knows.
type route struct {
	method string
	// pattern is the path below the API: "/repos/{owner}/{repo}/hooks". A part
	// in braces is one segment, unescaped.
	pattern string
	query   []string // the documented parameters
	body    Shape    // nil when there is no body
	// open says that the call needs no token.
	open bool
	do   func(*Forge, *Request)
}

// Request is a call on its way through the fake.
type Request struct {
	*http.Request
	Status int               // of the answer, once there is one
	Params map[string]string // of the path
	Body   map[string]any
	Token  *Token // nil for none
	Role   Role   // in Repo
	Repo   *Repository

	w    http.ResponseWriter
	f    *Forge
	path string // below the API, escaped
	raw  []byte
}

// read takes the body of a call.
func (f *Forge) read(w http.ResponseWriter, r *http.Request, path string) *Request {
	raw, _ := io.ReadAll(io.LimitReader(r.Body, maxBody)) // what is missing will be noticed
	return &Request{Request: r, w: w, f: f, path: path, raw: raw, Params: map[string]string{}}
}

// Violate notes that a call is not as the documentation says.
func (r *Request) Violate(format string, args ...any) {
	r.f.violations = append(r.f.violations, fmt.Sprintf("%s %s: %s", r.Method, r.path, fmt.Sprintf(format, args...)))
}

// Answer writes the answer.
func (r *Request) Answer(status int, body any) {
	r.Status = status
	if body == nil {
		r.w.WriteHeader(status)
		return
	}
	r.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	r.w.WriteHeader(status)
	_ = json.NewEncoder(r.w).Encode(body) // the caller may have gone
}

// SetHeader sets a header of the answer.
func (r *Request) SetHeader(name, value string) { r.w.Header().Set(name, value) }

// Refuse answers as the forge does when it does not do what was asked.
func (r *Request) Refuse(status int, message string) {
	r.Answer(status, r.f.kind.refusal(status, message))
}

// Int is a parameter of the path as a number; 0 for none.
func (r *Request) Int(name string) int {
	n, _ := strconv.Atoi(r.Params[name]) // 0 fits nothing
	return n
}

// Text is a field of the body; empty when it is not there.
func (r *Request) Text(name string) string {
	s, _ := r.Body[name].(string)
	return s
}

// route finds the documented call and makes it.
func (f *Forge) route(r *Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kind.check(r)
	if !f.authenticate(r) {
		return
	}
	known := false
	for _, way := range f.kind.routes {
		if !way.fits(r) {
			continue
		}
		known = true
		if way.method != r.Method {
			continue
		}
		if r.Token == nil && !way.open {
			r.Refuse(http.StatusUnauthorized, "Requires authentication")
			return
		}
		if way.checkQuery(r) && way.checkBody(r) {
			way.do(f, r)
		}
		return
	}
	r.Violate("is not in the documentation (path known: %t)", known)
	r.Refuse(http.StatusNotFound, "Not Found")
}

// authenticate finds the token; a wrong one ends the call.
func (f *Forge) authenticate(r *Request) bool {
	value, ok := f.kind.token(r.Header)
	if !ok {
		r.Violate("Authorization has no documented form")
	}
	if value == "" {
		return true
	}
	for _, t := range f.tokens {
		if t.Value == value && !t.Expired {
			r.Token = t
			return true
		}
	}
	r.Refuse(http.StatusUnauthorized, "Bad credentials")
	return false
}

// fits reads the path's parameters.
func (way route) fits(r *Request) bool {
	want, got := strings.Split(way.pattern, "/"), strings.Split(r.path, "/")
	if len(want) != len(got) {
		return false
	}
	for i, part := range want {
		if !strings.HasPrefix(part, "{") {
			if part != got[i] {
				return false
			}
			continue
		}
		value, err := url.PathUnescape(got[i])
		if err != nil || value == "" {
			return false
		}
		r.Params[strings.Trim(part, "{}")] = value
	}
	return true
}

func (way route) checkQuery(r *Request) bool {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		r.Violate("query %q is malformed", r.URL.RawQuery)
	}
	for name := range values {
		if !slices.Contains(way.query, name) {
			r.Violate("parameter %q is not in the documentation", name)
			err = http.ErrNotSupported
		}
	}
	if err != nil {
		r.Refuse(http.StatusUnprocessableEntity, "Validation Failed")
	}
	return err == nil
}

func (way route) checkBody(r *Request) bool {
	if way.body == nil {
		if len(r.raw) > 0 {
			r.Violate("has a body: %s", r.raw)
		}
		return true
	}
	if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		r.Violate("Content-Type is %q", kind)
	}
	if err := json.Unmarshal(r.raw, &r.Body); err != nil || r.Body == nil {
		r.Violate("body is no JSON object: %s", r.raw)
		r.Refuse(http.StatusBadRequest, "Problems parsing JSON")
		return false
	}
	problems := way.body.problems("", r.Body)
	for _, p := range problems {
		r.Violate("%s", p)
	}
	if problems != nil {
		r.Refuse(http.StatusUnprocessableEntity, "Validation Failed: "+strings.Join(problems, "; "))
	}
	return problems == nil
}

// Paging is which page of a list is answered.
type Paging struct{ Page, Size, Pages, Total int }

// AnswerPage answers with the page of the items that the call asks for, and
// with the headers that lead to the others. sizeName is the forge's parameter.
func AnswerPage[T any](r *Request, items []T, sizeName string, usual, most int) {
	r.Answer(http.StatusOK, cutPage(r, items, sizeName, usual, most))
}

// cutPage is the page of the items that the call asks for; the headers that
// lead to the others are set.
func cutPage[T any](r *Request, items []T, sizeName string, usual, most int) []T {
	number := func(name string, usual int) int {
		n, err := strconv.Atoi(r.URL.Query().Get(name))
		if err != nil || n < 1 {
			return usual
		}
		return n
	}
	p := Paging{Page: number("page", 1), Size: number(sizeName, usual), Total: len(items)}
	if p.Size > most {
		r.Violate("%s is %d, of which the forge takes %d at most", sizeName, p.Size, most)
		p.Size = most
	}
	p.Pages = max((p.Total+p.Size-1)/p.Size, 1)
	from := min((p.Page-1)*p.Size, p.Total)
	r.f.kind.links(r, p)
	return append([]T{}, items[from:min(from+p.Size, p.Total)]...)
}

// PageURL is the address of another page of the same list.
func (r *Request) PageURL(page int) string {
	q := r.URL.Query()
	q.Set("page", strconv.Itoa(page))
	return r.f.URL + r.URL.EscapedPath() + "?" + q.Encode()
}
