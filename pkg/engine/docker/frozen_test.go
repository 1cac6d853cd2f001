package docker_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

var errWhy = errors.New("somebody asked")

// TestRunOnAFrozenEngine: whatever call the engine leaves unanswered, Run ends.
func TestRunOnAFrozenEngine(t *testing.T) {
	for _, tt := range []struct {
		name     string
		frozen   []string // calls without an answer
		canceled bool     // once the first of them was made
		want     []error  // one of them; nil is none
	}{
		{"attach", []string{"/attach"}, false, []error{cyclone.ErrUnavailable}},
		{"attach, canceled", []string{"/attach"}, true, []error{errWhy, cyclone.ErrUnavailable}},
		{"start", []string{"/start", "/wait"}, false, []error{cyclone.ErrUnavailable}},
		{"start, canceled", []string{"/start", "/wait"}, true, []error{errWhy, cyclone.ErrUnavailable}},
		{"the end is known", []string{"/json"}, false, []error{nil}},
		{"stop", []string{"/wait"}, true, []error{errWhy}},
		{"signals", []string{"/wait", "/kill"}, true, []error{errWhy}},
		{"everything else", []string{"/wait", "/kill", "/exec", "/json"}, true, []error{errWhy}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			forever := make(chan struct{})
			works := container(nil)
			e := stand(t, func(w http.ResponseWriter, r *http.Request) {
				if !slices.ContainsFunc(tt.frozen, func(call string) bool { return strings.HasSuffix(r.URL.Path, call) }) {
					works(w, r)
					return
				}
				if strings.HasSuffix(r.URL.Path, "/wait") {
					_ = http.NewResponseController(w).Flush() // the client goes on with this much
				}
				if tt.canceled {
					cancel(errWhy)
				}
				<-forever
			})
			t.Cleanup(func() { close(forever) }) // before the server ends, which waits for its calls
			e.SetGraces(400*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond)
			begin := time.Now()
			_, err := e.Run(ctx, "abc", &lines{})
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if !slices.ContainsFunc(tt.want, func(want error) bool { return errors.Is(err, want) }) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// stuck is an Output whose receiver takes nothing until it is let go.
type stuck struct{ letGo chan struct{} }

func (s stuck) Write(cyclone.Stream, []byte) { <-s.letGo }

// TestRunStopsWhatCannotPrint: the log is throttled because its receiver is
// away; a cancellation still ends the container, and nothing of its output is
// thrown away.
func TestRunStopsWhatCannotPrint(t *testing.T) {
	killed, letGo := make(chan string, 10), make(chan struct{})
	works := container(frame(1, "something"))
	e := stand(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/wait"):
			_ = http.NewResponseController(w).Flush()
			for signal := range killed {
				if signal == "SIGKILL" {
					_, _ = w.Write([]byte(`{"StatusCode":137}`))
					close(letGo)
					return
				}
			}
		case strings.HasSuffix(r.URL.Path, "/kill"):
			killed <- r.URL.Query().Get("signal")
		default:
			works(w, r)
		}
	})
	e.SetGraces(time.Second, 20*time.Millisecond, 10*time.Second)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancelSoon := time.AfterFunc(50*time.Millisecond, func() { cancel(errWhy) })
	defer cancelSoon.Stop()
	exit, err := e.Run(ctx, "abc", stuck{letGo})
	if !errors.Is(err, errWhy) || exit.Code != 137 || exit.Signal != "SIGKILL" {
		t.Errorf("exit %+v, error %v", exit, err)
	}
}
