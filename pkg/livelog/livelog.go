// Package livelog passes messages from one writer to many readers, each at
// its own pace: the topics are events, the messages their log chunks, partial
// lines and changes. Publishing never waits for a reader. A topic exists while
// somebody reads it and keeps its newest messages, up to a number of bytes; a
// reader that falls further behind is told so and fetches what it missed from
// the store.
//
// It is not a store: what is published while nobody reads is gone, and so is
// everything when the process ends. It knows nothing of events or lines.
package livelog

import (
	"cmp"
	"context"
	"errors"
	"sync"
)

// DefaultRetain is how many bytes a topic keeps when Hub.Retain is zero.
const DefaultRetain = 4 << 20

// DefaultTotal is about how many bytes all topics keep together when
// Hub.Total is zero.
const DefaultTotal = 32 << 20

// overhead is what a message costs beyond its Size, so that empty messages
// are bounded too.
const overhead = 128

var (
	// ErrLagged tells a reader that messages it has not seen are gone. It goes
	// on with what is published after that.
	ErrLagged = errors.New("reader fell behind what is retained")
	// ErrClosed is what Next returns after Close.
	ErrClosed = errors.New("reader is closed")
)

// Message is one published value.
type Message struct {
	// Seq is the message's place in its topic; Publish sets it.
	Seq int64
	// Size is about how many bytes Value holds.
	Size  int
	Value any
}

// Hub holds the topics that are being read. The zero value is ready to use.
type Hub struct {
	// Retain bounds the bytes that a topic keeps; 0 means DefaultRetain.
	Retain int
	// Total bounds the bytes that all topics keep together: while there are
	// many of them each keeps less than Retain. 0 means DefaultTotal.
	Total int

	mu     sync.RWMutex
	topics map[string]*topic
}

// New returns a hub that keeps DefaultRetain bytes per topic.
func New() *Hub { return &Hub{} }

// Publish gives m to the topic's readers and returns at once. Without readers
// it does nothing.
func (h *Hub) Publish(key string, m Message) {
	h.mu.RLock()
	t, count := h.topics[key], len(h.topics)
	h.mu.RUnlock()
	if t != nil {
		t.publish(m, min(cmp.Or(h.Retain, DefaultRetain), cmp.Or(h.Total, DefaultTotal)/count))
	}
}

// Subscribe returns a reader of what is published from now on. It must be closed.
func (h *Hub) Subscribe(key string) *Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[key]
	if t == nil {
		t = &topic{}
		if h.topics == nil {
			h.topics = map[string]*topic{}
		}
		h.topics[key] = t
	}
	t.readers++
	return &Reader{hub: h, key: key, topic: t, next: t.end(), closed: make(chan struct{})}
}

// Topics is how many topics are being read.
func (h *Hub) Topics() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.topics)
}

// release forgets a topic with its last reader.
func (h *Hub) release(key string, t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.readers--
	if t.readers == 0 {
		delete(h.topics, key)
	}
}

// topic is the newest messages of one key. All readers share them: a reader
// costs a position, not a queue.
type topic struct {
	readers int // guarded by Hub.mu

	mu       sync.Mutex
	base     int64 // Seq of messages[0]
	messages []Message
	bytes    int
	changed  chan struct{} // closed by the next publish; nil while nobody waits
}

func (t *topic) publish(m Message, retain int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.Seq = t.base + int64(len(t.messages))
	t.messages = append(t.messages, m)
	t.bytes += m.Size + overhead
	drop := 0
	for t.bytes > retain && drop < len(t.messages)-1 {
		t.bytes -= t.messages[drop].Size + overhead
		t.messages[drop] = Message{} // frees the value before append moves the rest
		drop++
	}
	t.messages, t.base = t.messages[drop:], t.base+int64(drop)
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

func (t *topic) end() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.base + int64(len(t.messages))
}

// take returns the message at the place, or what to wait for.
func (t *topic) take(place int64) (m Message, wait <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if place < t.base {
		return m, nil, ErrLagged
	}
	if i := place - t.base; i < int64(len(t.messages)) {
		return t.messages[i], nil, nil
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return m, t.changed, nil
}

// Reader reads one topic. Next is for one goroutine at a time; Close may come
// from any.
type Reader struct {
	hub   *Hub
	key   string
	topic *topic
	next  int64

	once   sync.Once
	closed chan struct{}
}

// Next returns the next message and waits for it if need be. It returns
// ErrLagged once when messages were lost to this reader, ErrClosed after
// Close, and the cause of ctx when that ends first.
func (r *Reader) Next(ctx context.Context) (Message, error) {
	for {
		select {
		case <-r.closed:
			return Message{}, ErrClosed
		default:
		}
		m, wait, err := r.topic.take(r.next)
		if err != nil {
			// Everything up to now is in the store or superseded by it.
			r.next = r.topic.end()
			return m, err
		}
		if wait == nil {
			r.next++
			return m, nil
		}
		select {
		case <-wait:
		case <-r.closed:
		case <-ctx.Done():
			return Message{}, context.Cause(ctx)
		}
	}
}

// Close ends the subscription. Closing twice is allowed.
func (r *Reader) Close() {
	r.once.Do(func() {
		close(r.closed)
		r.hub.release(r.key, r.topic)
	})
}
