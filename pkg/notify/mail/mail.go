// Package mail tells people by email how an event ended: a summary as text and
// HTML with the complete log attached, compressed when it is larger than 1 MiB.
// Of a log that is too large for a mail, beginning and end are attached.
//
// Every recipient gets a message of its own. gomail composes it; the talk with
// the server is this package's, because gomail's own has no deadline, falls
// back to clear text where STARTTLS is missing, and loses errors while it
// writes.
//
// It decides neither who is told nor when to try again: the project and
// progress do.
package mail

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	netmail "net/mail"
	"strings"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// Security says how the connection to the server is protected.
type Security string

// The values of Security. STARTTLS is the default and is required: a server
// without it gets neither a login nor a message.
const (
	STARTTLS Security = "starttls"
	TLS      Security = "tls"  // from the first byte on
	None     Security = "none" // everything in clear, logins too
)

// DefaultTimeout is how long telling all recipients of one event may take.
const DefaultTimeout = 5 * time.Minute

// DefaultAttach is the size of a compressed log up to which it is attached as a
// whole: mail servers refuse more, and readers of mail cannot open it.
const DefaultAttach cyclone.Size = 10 << 20

// remembered is how many events' delivered recipients are kept in memory.
const remembered = 1000

// Notifier sends the summaries. Fill the fields before the first call; it is
// safe for concurrent use.
type Notifier struct {
	Host     string
	Port     int    // 587, 465 or 25 by default, as Security says
	Username string // empty: no login
	Password string
	From     string // "ci@example.com" or "Cyclone <ci@example.com>"
	Security Security
	// TLSConfig is for servers with certificates of their own; nil for the
	// system's authorities.
	TLSConfig *tls.Config
	// LocalName is what the server is greeted with; localhost by default.
	LocalName string
	// EventURL is the address of an event's page, for the link; nil for none.
	EventURL func(*cyclone.Event) string
	Logs     cyclone.LogStore
	// Timeout is for all recipients of one event; DefaultTimeout when zero.
	Timeout time.Duration
	// Attach is DefaultAttach when zero. Of a log that is larger when it is
	// compressed, or has more than 12 times as much text, only beginning and
	// end are attached, and not all of it is read.
	Attach cyclone.Size
	// Log gets the recipients that a server refused for good; slog.Default
	// when nil.
	Log *slog.Logger

	mu    sync.Mutex
	done  map[cyclone.EventID]map[string]bool // recipients that need no retry
	order []cyclone.EventID
}

var _ cyclone.Notifier = (*Notifier)(nil)

// Notify sends the summary of a final event to every recipient of the project
// that has not got it yet. It returns an error when somebody is to be tried
// again later. A recipient whom the server refuses for good is logged and not
// tried again; when nobody else is left the error is an ErrForbidden. Message ids depend on event and recipient alone, so that a
// message which arrives twice after all can be seen to be the same.
func (n *Notifier) Notify(ctx context.Context, p *cyclone.Project, e *cyclone.Event) error {
	recipients := n.waiting(p, e)
	if len(recipients) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(n.Timeout, DefaultTimeout))
	defer cancel()
	if err := n.tell(ctx, e, recipients); err != nil {
		return fmt.Errorf("mail summary of event %s by %s: %w", e.ID, n.address(), err)
	}
	return nil
}

func (n *Notifier) tell(ctx context.Context, e *cyclone.Event, recipients []string) error {
	from, err := netmail.ParseAddress(n.From)
	if err != nil {
		return cyclone.Invalid("smtp from", "%q is not a mail address: %v", n.From, err)
	}
	log, err := readLog(ctx, n.Logs, e, int64(cmp.Or(n.Attach, DefaultAttach)))
	if err != nil {
		return err
	}
	s, err := n.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	letter := &letter{from: from, event: e, log: log, url: n.eventURL(e), limit: s.limit()}
	var later, never error
	for i, to := range recipients {
		err := letter.send(ctx, s, to)
		var refused *refusedError
		switch {
		case err == nil:
			n.remember(e.ID, to)
		case errors.As(err, &refused):
			n.logger().WarnContext(ctx, "mail recipient refused for good", "event", e.ID, "recipient", to, "error", err)
			n.remember(e.ID, to)
			never = errors.Join(never, fmt.Errorf("send to %s: %w", to, err))
		default:
			later = errors.Join(later, fmt.Errorf("send to %s: %w", to, err))
		}
		if err != nil && !s.usable() {
			if left := len(recipients) - i - 1; left > 0 {
				later = errors.Join(later, cyclone.Unavailable("%d more recipients wait: the mail server ended the connection", left))
			}
			return cmp.Or(later, never)
		}
	}
	s.quit()
	return cmp.Or(later, never)
}

// waiting lists the project's recipients, each once, without those who need
// no message any more.
func (n *Notifier) waiting(p *cyclone.Project, e *cyclone.Event) []string {
	if p.Notifications.Email == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	seen := map[string]bool{}
	for _, to := range p.Notifications.Email.Recipients {
		to = strings.TrimSpace(to)
		if to != "" && !seen[to] && !n.done[e.ID][to] {
			list = append(list, to)
		}
		seen[to] = true
	}
	return list
}

func (n *Notifier) remember(event cyclone.EventID, recipient string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.done == nil {
		n.done = map[cyclone.EventID]map[string]bool{}
	}
	if n.done[event] == nil {
		n.done[event] = map[string]bool{}
		n.order = append(n.order, event)
	}
	n.done[event][recipient] = true
	if len(n.order) > remembered {
		delete(n.done, n.order[0])
		n.order = n.order[1:]
	}
}

func (n *Notifier) logger() *slog.Logger {
	if n.Log == nil {
		return slog.Default()
	}
	return n.Log
}

func (n *Notifier) eventURL(e *cyclone.Event) string {
	if n.EventURL == nil {
		return ""
	}
	return n.EventURL(e)
}

// messageID names the message of one event to one recipient, always the same.
func messageID(e *cyclone.Event, to string, from *netmail.Address) string {
	sum := sha256.Sum256([]byte(string(e.ID) + "\x00" + strings.ToLower(to)))
	domain := "cyclone.invalid"
	if at := strings.LastIndexByte(from.Address, '@'); at >= 0 {
		domain = from.Address[at+1:]
	}
	return "<" + hex.EncodeToString(sum[:16]) + "@" + domain + ">"
}
