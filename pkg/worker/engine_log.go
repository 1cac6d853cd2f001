package worker

import (
	"io"
	"strings"
	"sync"
)

// tailLog keeps the end of what is written to it.
type tailLog struct {
	mu   sync.Mutex
	data []byte
}

var _ io.Writer = (*tailLog)(nil)

// Write implements io.Writer.
func (t *tailLog) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if over := len(t.data) - 2*engineLogKept; over > 0 {
		t.data = append(t.data[:0], t.data[len(t.data)-engineLogKept:]...)
	}
	return len(p), nil
}

func (t *tailLog) tail(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.data))
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}
