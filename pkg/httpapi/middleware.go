package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

const requestIDHeader = "X-Request-Id"

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// visit is what is known of a request beside itself; it travels in the context.
type visit struct {
	id  string
	who Identity
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	a, _ := ctx.Value(visitKey{}).(*visit)
	return a
}

func requestID(r *http.Request) string {
	if a := visitOf(r.Context()); a != nil {
		return a.id
	}
	return ""
}

// identifyRequests gives every request an id: the caller's own, if it looks
// like one, else a new one.
func identifyRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !requestIDPattern.MatchString(id) {
			id = strings.ToLower(rand.Text())
		}
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, &visit{id: id})))
	})
}

// logAccess writes one line per request: never the query, a header or a body,
// because those may hold tokens.
func (s *Server) logAccess(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, rec := time.Now(), &recorded{ResponseWriter: w}
		defer func() {
			level := slog.LevelInfo
			if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
				level = slog.LevelDebug // called every few seconds by whoever watches the server
			}
			s.Log.Log(r.Context(), level, "request", "method", clip(r.Method, 20), "path", clip(r.URL.Path, 200),
				"status", rec.status(), "bytes", rec.bytes, "ms", time.Since(start).Milliseconds(),
				"remote", r.RemoteAddr, "actor", actor(r), "request", requestID(r))
		}()
		next.ServeHTTP(rec, r)
	})
}

// recorded notes what was answered.
type recorded struct {
	http.ResponseWriter
	code  int
	bytes int64
}

func (w *recorded) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorded) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach hijacking and flushing.
func (w *recorded) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// status is 101 for a connection that was taken over: nothing was written here.
func (w *recorded) status() int {
	if w.code == 0 {
		return http.StatusSwitchingProtocols
	}
	return w.code
}

// recoverPanics keeps one broken request from ending the process.
func (s *Server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // asked for by a handler whose answer cannot be completed
			}
			s.Log.ErrorContext(r.Context(), "handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			if rec, ok := w.(*recorded); ok && rec.code == 0 {
				s.writeError(w, r, fmt.Errorf("handler panicked: %v", p))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// secureHeaders tells browsers to take answers for nothing but what they are.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// allowOrigins answers the questions that browsers ask before they let a page
// of another origin call the API.
func (s *Server) allowOrigins(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if origin == "" || !slices.Contains(s.Origins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "X-Request-Id, Location, Retry-After, Content-Range, Content-Disposition")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id, Range, If-Range, If-None-Match")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
