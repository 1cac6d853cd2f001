package fakeforge

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Fault is a way to break. It happens to the calls that it fits.
type Fault struct {
	// Method and Path choose calls; empty fits all. Path is a part of the
	// escaped path.
	Method, Path string
	// Times is how often it happens; 0 means until Heal.
	Times int

	// Reached gets a value, if it has room, when the fault begins.
	Reached chan<- struct{}
	// Wait holds the call back until the channel is closed; what else the fault
	// says happens then, or the call goes its way when it says nothing else.
	Wait <-chan struct{}
	// Status answers with the status, Header and Body.
	Status int
	Header http.Header
	Body   string
	// Cut breaks the connection in the middle of an answer.
	Cut bool
	// Endless answers with JSON that never ends.
	Endless bool
}

// Answer is a fault that answers with a status and a body of JSON, which says
// the message in the words of all forges. headers are names and values.
func Answer(status int, message string, headers ...string) Fault {
	h := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	for pair := range slices.Chunk(headers, 2) {
		h.Set(pair[0], pair[1])
	}
	body, err := json.Marshal(map[string]string{"message": message})
	if err != nil {
		return Fault{} // a string always marshals
	}
	return Fault{Status: status, Header: h, Body: string(body)}
}

// HTML is a fault that answers with a page, as proxies and login pages do.
func HTML(status int) Fault {
	return Fault{
		Status: status, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body: "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>",
	}
}

// Inject breaks calls from now on; the fault that came first happens first.
func (f *Forge) Inject(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range faults {
		f.faults = append(f.faults, &fault)
	}
}

// Heal takes all faults away.
func (f *Forge) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// fault is the one that happens to a call; nil for none.
func (f *Forge) fault(method, path string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, fault := range f.faults {
		if fault.Method != "" && fault.Method != method || !strings.Contains(path, fault.Path) {
			continue
		}
		if fault.Times == 1 {
			f.faults = slices.Delete(f.faults, i, i+1)
		} else if fault.Times > 1 {
			fault.Times--
		}
		return fault
	}
	return nil
}

// happen breaks a call; false means that the call is to go its way after all.
func (fault *Fault) happen(w http.ResponseWriter, r *http.Request, closed <-chan struct{}) bool {
	if fault.Reached != nil {
		select {
		case fault.Reached <- struct{}{}:
		default:
		}
	}
	if fault.Wait != nil {
		select {
		case <-fault.Wait:
		case <-r.Context().Done():
			return true
		case <-closed:
			return true
		}
	}
	switch {
	case fault.Cut:
		cut(w)
	case fault.Endless:
		endless(w)
	case fault.Status != 0:
		for name, values := range fault.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(fault.Status)
		_, _ = io.WriteString(w, fault.Body) // the caller may have gone
	default:
		return false
	}
	return true
}

// cut promises an answer and breaks off.
func cut(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4096\r\n\r\n{\"id\": 1")
	_ = connection.Close() // that is the fault
}

// endless writes until the caller has enough, 1 GiB at most.
func endless(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	chunk := strings.Repeat(`{"id":1,"name":"again"},`, 4096)
	_, err := io.WriteString(w, "[")
	for n := 0; n < 1<<30 && err == nil; n += len(chunk) {
		_, err = io.WriteString(w, chunk)
	}
}
