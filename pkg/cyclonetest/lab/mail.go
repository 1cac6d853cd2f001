package lab

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net"
	"net/mail"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// Message is a mail as it arrived.
type Message struct {
	From string
	To   []string
	Mail *mail.Message
	Body []byte // everything after the header, still encoded
}

// Subject is the decoded subject.
func (m Message) Subject() string {
	raw := m.Mail.Header.Get("Subject")
	if text, err := new(mime.WordDecoder).DecodeHeader(raw); err == nil {
		return text
	}
	return raw
}

// Mailbox is a real SMTP server that keeps what it receives.
type Mailbox struct {
	server   *smtp.Server
	listener net.Listener
	mu       sync.Mutex
	messages []Message
	arrived  chan struct{} // closed and replaced at each arrival
}

// StartMailbox listens on any port of the loopback interface, without TLS.
func StartMailbox() (*Mailbox, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for mail: %w", err)
	}
	m := &Mailbox{listener: l, arrived: make(chan struct{})}
	m.server = smtp.NewServer(m)
	m.server.Domain = "mail.example.com"
	m.server.MaxMessageBytes = 64 << 20
	go func() { _ = m.server.Serve(l) }() // ends with Stop
	return m, nil
}

// Port is where it listens on 127.0.0.1.
func (m *Mailbox) Port() int { return m.listener.Addr().(*net.TCPAddr).Port }

// Stop ends the server.
func (m *Mailbox) Stop() { _ = m.server.Close() }

// Messages returns the mails so far whose subject contains the text.
func (m *Mailbox) Messages(subject string) []Message {
	found, _ := m.look(subject)
	return found
}

// Wait returns the first mail whose subject contains the text, as soon as it
// has arrived.
func (m *Mailbox) Wait(ctx context.Context, subject string) (Message, error) {
	for {
		found, arrived := m.look(subject)
		if len(found) > 0 {
			return found[0], nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Message{}, fmt.Errorf("no mail about %q came: %w", subject, ctx.Err())
		}
	}
}

func (m *Mailbox) look(subject string) ([]Message, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Message
	for _, msg := range m.messages {
		if strings.Contains(msg.Subject(), subject) {
			found = append(found, msg)
		}
	}
	return found, m.arrived
}

// NewSession is called by the SMTP server for each connection.
func (m *Mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{box: m}, nil }

type session struct {
	box  *Mailbox
	from string
	to   []string
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error { s.from = from; return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error   { s.to = append(s.to, to); return nil }
func (s *session) Reset()                                      { s.from, s.to = "", nil }
func (s *session) Logout() error                               { return nil }

func (s *session) Data(r io.Reader) error {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return fmt.Errorf("read mail: %w", err)
	}
	body, err := io.ReadAll(msg.Body)
	if err != nil {
		return fmt.Errorf("read mail: %w", err)
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.messages = append(s.box.messages, Message{s.from, s.to, msg, body})
	close(s.box.arrived)
	s.box.arrived = make(chan struct{})
	return nil
}
