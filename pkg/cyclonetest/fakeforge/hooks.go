package fakeforge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Delivered is what came of a delivery.
type Delivered struct {
	Hook   Hook
	ID     string // the forge's, in the header
	Event  string
	Body   []byte
	Status int // of the answer
	Answer string
	Err    error // when nobody answered
}

// Deliver posts a payload to each of the repository's webhooks that are active
// and want the event, signed as the forge signs it.
func (f *Forge) Deliver(ctx context.Context, repository, event string, payload any) ([]Delivered, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("encode %s payload: %w", event, err)
	}
	var all []Delivered
	for _, h := range f.Repository(repository).Hooks {
		if h.Active && slices.Contains(h.Events, event) {
			all = append(all, f.deliver(ctx, h, event, body))
		}
	}
	return all, nil
}

func (f *Forge) deliver(ctx context.Context, h Hook, event string, body []byte) Delivered {
	f.mu.Lock()
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", len(f.calls), f.id())
	f.mu.Unlock()
	return f.post(ctx, Delivered{Hook: h, ID: id, Event: event, Body: body})
}

// Redeliver delivers again what was delivered, under the same id.
func (f *Forge) Redeliver(ctx context.Context, d Delivered) Delivered {
	return f.post(ctx, Delivered{Hook: d.Hook, ID: d.ID, Event: d.Event, Body: d.Body})
}

func (f *Forge) post(ctx context.Context, d Delivered) Delivered {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Hook.URL, bytes.NewReader(d.Body))
	if err != nil {
		d.Err = err
		return d
	}
	request.Header.Set("Content-Type", "application/json")
	f.kind.sign(request.Header, d.Hook, d.Event, d.ID, d.Body)
	answer, err := f.client.Do(request)
	if err != nil {
		d.Err = err
		return d
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	d.Status, d.Answer, d.Err = answer.StatusCode, strings.TrimSpace(string(text)), err
	return d
}
