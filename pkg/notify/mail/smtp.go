package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// idle is how long a server may take for one answer or one read.
const idle = 60 * time.Second

// session is a connection to the server that is ready to take messages.
type session struct {
	client *smtp.Client
	conn   *patientConn
	stop   func() bool // the watch on ctx
	broken bool        // in the middle of a message that must not be ended
}

// refusedError is a message that the server will never take for its recipient.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

// Unwrap tells who tries again that there is no use.
func (e *refusedError) Unwrap() error { return cyclone.ErrForbidden }

func refused(format string, args ...any) error { return &refusedError{fmt.Sprintf(format, args...)} }

// tooLargeError is a message that the server might take without its attachment.
type tooLargeError struct{ error }

func (e *tooLargeError) Unwrap() error { return e.error }

// answer sorts what the server said. A code of 5xx is its last word, unless it
// is about the login, which whoever runs the server can mend; everything else
// can be better the next time.
func answer(what string, err error) error {
	var said *textproto.Error
	switch {
	case !errors.As(err, &said) || said.Code < 500:
		return fmt.Errorf("%s: %w", what, err)
	case said.Code == 530 || said.Code == 534 || said.Code == 535 || said.Code == 538:
		return cyclone.Unavailable("%s: the mail server wants another login; correct the SMTP username, password or security: %v", what, said)
	}
	return refused("%s: the mail server refuses it for good: %v", what, said)
}

func (n *Notifier) address() string {
	port := n.Port
	if port == 0 {
		port = map[Security]int{TLS: 465, None: 25}[n.Security]
	}
	if port == 0 {
		port = 587
	}
	return net.JoinHostPort(n.Host, strconv.Itoa(port))
}

// connect dials, protects the connection and logs in.
func (n *Notifier) connect(ctx context.Context) (*session, error) {
	dialer := net.Dialer{Timeout: 30 * time.Second}
	raw, err := dialer.DialContext(ctx, "tcp", n.address())
	if err != nil {
		return nil, cyclone.Unavailable("mail server cannot be reached: %v", err)
	}
	conn := &patientConn{Conn: raw, ctx: ctx}
	s := &session{conn: conn, stop: context.AfterFunc(ctx, func() { _ = raw.Close() })}
	if err := n.greet(s); err != nil {
		s.close()
		return nil, conn.why(err)
	}
	return s, nil
}

func (n *Notifier) greet(s *session) error {
	var conn net.Conn = s.conn
	if n.Security == TLS {
		conn = tls.Client(conn, n.tlsConfig())
	}
	client, err := smtp.NewClient(conn, n.Host)
	if err != nil {
		return cyclone.Unavailable("mail server does not greet: %v", err)
	}
	s.client = client
	name := n.LocalName
	if name == "" {
		name = "localhost"
	}
	if err := client.Hello(name); err != nil {
		return fmt.Errorf("greet mail server: %w", err)
	}
	if n.Security == STARTTLS || n.Security == "" {
		if ok, _ := client.Extension("STARTTLS"); !ok {
			return cyclone.Unavailable("the mail server offers no STARTTLS, so nothing was sent; set the SMTP security to tls, or to none to send in clear")
		}
		if err := client.StartTLS(n.tlsConfig()); err != nil {
			return fmt.Errorf("start TLS with mail server: %w", err)
		}
	}
	return n.login(client)
}

func (n *Notifier) tlsConfig() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if n.TLSConfig != nil {
		config = n.TLSConfig.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = n.Host
	}
	return config
}

func (n *Notifier) login(client *smtp.Client) error {
	if n.Username == "" {
		return nil
	}
	_, offered := client.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(offered))
	var auth smtp.Auth
	switch {
	case slices.Contains(mechanisms, "PLAIN"):
		auth = plainAuth{n.Username, n.Password}
	case slices.Contains(mechanisms, "LOGIN"):
		auth = &loginAuth{answers: []string{n.Username, n.Password}}
	default:
		return cyclone.Unavailable("the mail server takes no login by PLAIN or LOGIN (it offers %q)", offered)
	}
	if err := client.Auth(auth); err != nil {
		if code(err) == 0 {
			return err
		}
		// Also a refusal for good is tried again: nothing is wrong with the
		// message, and a wrong password is mended sooner than mails are told
		// anew.
		return cyclone.Unavailable("the mail server refuses the login of %s; correct the SMTP username or password: %v", n.Username, err)
	}
	return nil
}

// plainAuth is AUTH PLAIN. Unlike net/smtp's it leaves it to Security whether
// the connection must be protected.
type plainAuth struct{ username, password string }

func (a plainAuth) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "PLAIN", []byte("\x00" + a.username + "\x00" + a.password), nil
}

func (a plainAuth) Next([]byte, bool) ([]byte, error) { return nil, nil }

// loginAuth is AUTH LOGIN: the server asks for the name, then for the password.
type loginAuth struct{ answers []string }

func (a *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if len(a.answers) == 0 {
		return nil, errors.New("the mail server asks for more than a name and a password")
	}
	answer := a.answers[0]
	a.answers = a.answers[1:]
	return []byte(answer), nil
}

// limit is the size in bytes of the largest message the server takes, 0 when
// it does not say.
func (s *session) limit() int64 {
	_, text := s.client.Extension("SIZE")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 {
		return 0
	}
	return size
}

// send hands one message to the server.
func (s *session) send(from, to string, msg io.WriterTo) error {
	if err := s.client.Mail(from); err != nil {
		return s.conn.why(answer("sender "+from, err))
	}
	if err := s.client.Rcpt(to); err != nil {
		if code(err) == mailboxFull {
			return fmt.Errorf("recipient: %w", err)
		}
		return s.conn.why(answer("recipient", err))
	}
	w, err := s.client.Data()
	if err != nil {
		return s.conn.why(answer("begin message", err))
	}
	// gomail forgets errors of its writer, so they are kept here. After one
	// the message must not be ended: half of it would be delivered.
	kept := &keepError{w: w}
	if _, err := msg.WriteTo(kept); err != nil || kept.err != nil {
		s.broken = true
		return s.conn.why(errors.Join(kept.err, err))
	}
	if err := w.Close(); err != nil {
		large := code(err) == tooLarge
		if err = answer("end message", err); large {
			return &tooLargeError{err}
		}
		return s.conn.why(err)
	}
	return nil
}

// 552 is said of a recipient whose mailbox is full now, and of a message that
// is larger than the server takes.
const (
	mailboxFull = 552
	tooLarge    = 552
)

// code is the number of the server's answer, 0 when there is none.
func code(err error) int {
	var said *textproto.Error
	if !errors.As(err, &said) {
		return 0
	}
	return said.Code
}

// usable reports whether the server takes another message after one that
// went wrong.
func (s *session) usable() bool { return !s.broken && s.client.Reset() == nil }

// quit says goodbye; what the server answers changes nothing any more.
func (s *session) quit() { _ = s.client.Quit() }

// close ends the connection, without a goodbye.
func (s *session) close() {
	s.stop()
	_ = s.conn.Close()
}

// keepError remembers the first error of a writer and writes nothing after it.
type keepError struct {
	w   io.Writer
	err error
}

func (k *keepError) Write(p []byte) (int, error) {
	if k.err != nil {
		return 0, k.err
	}
	n, err := k.w.Write(p)
	k.err = err
	return n, err
}

// patientConn is a connection on which every read and write has a deadline.
type patientConn struct {
	net.Conn
	ctx context.Context // only to tell why the connection was closed
}

func (c *patientConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *patientConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// why is err, or the end of ctx where that caused it.
func (c *patientConn) why(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return fmt.Errorf("mail server did not answer in time: %w", context.Cause(c.ctx))
	}
	return err
}
