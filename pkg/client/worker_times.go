package client

import (
	"crypto/rand"
	"log/slog"
	"math/big"
	"sync"
	"time"
)

// workerTimes are the times of a worker's connection. Together they promise
// that a server which is back is found within ten seconds: a dial that nothing
// answers and the longest pause after it are no longer than that.
type workerTimes struct {
	ping      time.Duration // between pings
	silence   time.Duration // without a frame, ping or pong: half open
	write     time.Duration // for one message, on a line that is slow but alive
	dial      time.Duration // until the network answers
	handshake time.Duration // until the server does; its store may be slow
	expect    time.Duration // for a word before a file is sent
	backoff   time.Duration // the first pause between two tries
	pause     time.Duration // the longest
	goodbye   time.Duration // for an orderly end
	remind    time.Duration // between words in the log about a server that is away
}

func defaultWorkerTimes() workerTimes {
	return workerTimes{
		ping: 10 * time.Second, silence: 30 * time.Second, write: 2 * time.Minute,
		dial: 5 * time.Second, handshake: 15 * time.Second,
		expect:  time.Second,
		backoff: 50 * time.Millisecond, pause: 5 * time.Second,
		goodbye: time.Second, remind: time.Minute,
	}
}

// jitter is between half and all of d, so that workers do not all return at once.
func jitter(d time.Duration) time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(d/2)))
	if err != nil {
		return d
	}
	return d/2 + time.Duration(n.Int64())
}

// outage is the time without a server, as the log tells it: not every try is
// worth a line.
type outage struct {
	mu    sync.Mutex
	since time.Time // zero while connected
	said  time.Time
}

func (o *outage) lost(log *slog.Logger, server string, remind time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.since.IsZero() {
		o.since = now
	} else if now.Sub(o.said) < remind {
		return
	}
	o.said = now
	log.Warn("no connection to the server; trying until there is one", "server", server, "for", now.Sub(o.since).Round(time.Second), "error", err)
}

func (o *outage) over(log *slog.Logger, server string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		log.Info("connected to the server again", "server", server, "after", time.Since(o.since).Round(time.Millisecond))
	}
	o.since = time.Time{}
}
