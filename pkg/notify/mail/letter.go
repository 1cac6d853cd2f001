package mail

import (
	"context"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"net/textproto"

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
	logs  cyclone.LogStore
	url   string
	limit int64 // of the server for one message; 0 for none known
}

// send hands the letter to the server for one recipient, without the log when
// the server does not take that much.
func (l *letter) send(ctx context.Context, s *session, to string) error {
	address, err := netmail.ParseAddress(to)
	if err != nil {
		return &refusedError{fmt.Errorf("%q is not a mail address: %w", to, err)}
	}
	attach := l.limit == 0 || l.log.encoded()+room <= l.limit
	err = l.post(ctx, s, address, attach)
	var answer *textproto.Error
	if attach && l.log.lines > 0 && errors.As(err, &answer) && answer.Code == 552 {
		return l.post(ctx, s, address, false)
	}
	return err
}

func (l *letter) post(ctx context.Context, s *session, to *netmail.Address, attach bool) error {
	summary := summarize(l.event, l.log, l.url, attach)
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
	if name := l.log.attachment(l.event); attach && name != "" {
		kind := "text/plain; charset=UTF-8"
		if l.log.small == nil {
			kind = "application/gzip"
		}
		m.Attach(name, gomail.SetHeader(map[string][]string{"Content-Type": {kind + `; name="` + name + `"`}}),
			gomail.SetCopyFunc(func(w io.Writer) error {
				failed = l.log.copyLog(ctx, l.logs, l.event.ID, w)
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
