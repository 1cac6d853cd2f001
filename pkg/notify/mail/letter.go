package mail

import (
	"context"
	"errors"
	"io"
	netmail "net/mail"

	"github.com/go-gomail/gomail"

	"cyclone/pkg/cyclone"
)

// room is how many bytes a message may need beside the attached log.
const room = 256 << 10

// letter is what all recipients of one event get.
type letter struct {
	from  *netmail.Address
	event *cyclone.Event
	log   *eventLog
	url   string
	limit int64 // of the server for one message; 0 for none known
}

// send hands the letter to the server for one recipient: with the complete
// log, or where that is too large with its beginning and end, or with neither.
func (l *letter) send(ctx context.Context, s *session, to string) error {
	address, err := netmail.ParseAddress(to)
	if err != nil {
		return refused("%q is not a mail address: %v", to, err)
	}
	for _, form := range []func(context.Context) (*attachment, error){l.log.whole, l.log.excerpt, l.log.nothing} {
		a, failed := form(ctx)
		if failed != nil {
			return failed
		}
		if a == nil || a.name != "" && l.limit > 0 && a.encoded()+room > l.limit {
			continue
		}
		err = l.post(ctx, s, address, a)
		var large *tooLargeError
		if !errors.As(err, &large) || a.name == "" || !s.usable() {
			return err
		}
	}
	return err
}

func (l *letter) post(ctx context.Context, s *session, to *netmail.Address, a *attachment) error {
	summary := summarize(l.event, l.log.tail, l.url, a)
	text, html, err := summary.render()
	if err != nil {
		return err
	}
	m := gomail.NewMessage()
	m.SetAddressHeader("From", l.from.Address, clean(l.from.Name, 100))
	m.SetAddressHeader("To", to.Address, clean(to.Name, 100))
	m.SetHeader("Subject", summary.Subject)
	m.SetHeader("Message-ID", messageID(l.event, to.Address, l.from))
	m.SetHeader("Auto-Submitted", "auto-generated")
	m.SetHeader("X-Cyclone-Project", string(l.event.Project))
	m.SetHeader("X-Cyclone-Event", string(l.event.ID))
	m.SetHeader("X-Cyclone-Status", string(l.event.Status))
	m.SetBody("text/plain", text)
	m.AddAlternative("text/html", html)
	var failed error
	if a.name != "" {
		m.Attach(a.name, gomail.SetHeader(map[string][]string{"Content-Type": {a.kind + `; name="` + a.name + `"`}}),
			gomail.SetCopyFunc(func(w io.Writer) error {
				failed = a.write(ctx, w)
				return failed
			}))
	}
	return s.send(l.from.Address, to.Address, writerTo(func(w io.Writer) (int64, error) {
		n, err := m.WriteTo(w)
		return n, errors.Join(failed, err) // gomail may have lost the first
	}))
}

type writerTo func(w io.Writer) (int64, error)

func (f writerTo) WriteTo(w io.Writer) (int64, error) { return f(w) }
