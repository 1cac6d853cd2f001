package rest

import (
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// usualWait is what GitHub asks to wait when it does not say how long.
	usualWait = time.Minute
	// maxWait bounds what a forge, or a wrong clock, can make us wait: limits
	// are counted by the hour at most.
	maxWait = time.Hour
	// maxLimits is how many tokens are remembered.
	maxLimits = 1000
)

// Limits remembers until when a forge takes no more calls with a token, so that
// none is made until then: a forge shuts out for good who goes on calling. The
// zero value is ready, a nil one remembers nothing. It is safe for concurrent
// use.
type Limits struct {
	mu    sync.Mutex
	until map[[sha256.Size]byte]time.Time // by digest, so that no token is kept
}

func limitKey(base, token string) [sha256.Size]byte {
	return sha256.Sum256([]byte(base + "\n" + token))
}

// wait is how long no call is to be made; 0 when one may be.
func (l *Limits) wait(base, token string) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(time.Until(l.until[limitKey(base, token)]), 0)
}

func (l *Limits) remember(base, token string, wait time.Duration) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil {
		l.until = map[[sha256.Size]byte]time.Time{}
	}
	if len(l.until) >= maxLimits {
		l.forget()
	}
	l.until[limitKey(base, token)] = time.Now().Add(wait)
}

// forget drops what is over, and the next to be over where nothing is.
func (l *Limits) forget() {
	var first [sha256.Size]byte
	var soonest time.Time
	for key, until := range l.until {
		if time.Until(until) <= 0 {
			delete(l.until, key)
		} else if soonest.IsZero() || until.Before(soonest) {
			first, soonest = key, until
		}
	}
	if len(l.until) >= maxLimits {
		delete(l.until, first)
	}
}

// limited tells a limit of calls from a missing permission: GitHub answers 403
// to both.
func limited(header http.Header, says string) bool {
	says = strings.ToLower(says)
	return header.Get("Retry-After") != "" || header.Get("X-RateLimit-Remaining") == "0" || header.Get("RateLimit-Remaining") == "0" ||
		strings.Contains(says, "rate limit") || strings.Contains(says, "abuse detection")
}

// patience is how long to make no calls after a forge said that there were too
// many.
func patience(header http.Header) time.Duration {
	if wait := retryAfter(header); wait > 0 {
		return wait
	}
	for _, name := range []string{"X-RateLimit-Reset", "RateLimit-Reset"} {
		if at, err := strconv.ParseInt(header.Get(name), 10, 64); err == nil && at > 0 {
			return bounded(time.Unix(at, 0).Sub(sentAt(header)))
		}
	}
	return usualWait
}

// retryAfter reads the header of that name: seconds, or a date. 0 for none.
func retryAfter(header http.Header) time.Duration {
	given := header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(given, 10, 64); err == nil {
		return bounded(time.Duration(min(max(seconds, 0), int64(maxWait/time.Second))) * time.Second)
	}
	if at, err := http.ParseTime(given); err == nil {
		return bounded(at.Sub(sentAt(header)))
	}
	return 0
}

// sentAt is the forge's clock, against which it gives times; ours may differ.
func sentAt(header http.Header) time.Time {
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		return at
	}
	return time.Now()
}

func bounded(d time.Duration) time.Duration { return min(max(d, time.Second), maxWait) }

// roundUp makes whole seconds for messages.
func roundUp(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
