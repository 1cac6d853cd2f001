package mail_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"encoding/base64"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

// mailbox is a real SMTP server.
type mailbox struct {
	port   int
	server *smtp.Server

	mu       sync.Mutex
	messages []message
	logins   []string
	refuse   map[string]*smtp.SMTPError // by recipient
	hangUp   bool                       // after a refusal of a recipient
	// What is said to the message, and to its sender.
	refuseData, refuseFrom *smtp.SMTPError
	limit                  int64    // of a message, which is not told beforehand; 0 for none
	accepts                []string // mechanisms
}

type message struct {
	from, to string
	raw      []byte
}

const password = "s3cret"

// serve starts a mailbox; setup changes it before it listens.
func serve(t *testing.T, implicit *tls.Config, setup func(*mailbox)) *mailbox {
	t.Helper()
	m := &mailbox{refuse: map[string]*smtp.SMTPError{}, accepts: []string{sasl.Plain}}
	m.server = smtp.NewServer(m)
	m.server.Domain = "mail.example.com"
	m.server.ErrorLog = discard{}
	if setup != nil {
		setup(m)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.port = l.Addr().(*net.TCPAddr).Port
	if implicit != nil {
		l = tls.NewListener(l, implicit)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = m.server.Serve(l) }()
	t.Cleanup(func() { _ = m.server.Close(); <-done })
	return m
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

func (m *mailbox) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{box: m, conn: c}, nil
}

func (m *mailbox) all() []message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]message(nil), m.messages...)
}

type session struct {
	box      *mailbox
	conn     *smtp.Conn
	from, to string
}

func (s *session) AuthMechanisms() []string { return s.box.accepts }

func (s *session) Auth(mechanism string) (sasl.Server, error) {
	check := func(_, user, pass string) error {
		if pass != password {
			return smtp.ErrAuthFailed
		}
		s.box.mu.Lock()
		defer s.box.mu.Unlock()
		s.box.logins = append(s.box.logins, mechanism+" "+user)
		return nil
	}
	if mechanism == sasl.Plain {
		return sasl.NewPlainServer(check), nil
	}
	return &loginServer{check: check}, nil
}

// loginServer is the other side of AUTH LOGIN.
type loginServer struct {
	check  func(_, user, pass string) error
	answer []string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	if response != nil {
		l.answer = append(l.answer, string(response))
	}
	if len(l.answer) == 2 {
		return nil, true, l.check("", l.answer[0], l.answer[1])
	}
	return []byte([]string{"Username:", "Password:"}[len(l.answer)]), false, nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if err := s.box.refuseFrom; err != nil {
		return err
	}
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if err := s.box.refuse[to]; err != nil {
		if s.box.hangUp {
			// The answer is still on its way: nothing more is read.
			_ = s.conn.Conn().SetReadDeadline(time.Now())
		}
		return err
	}
	s.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.box.limit > 0 && int64(len(raw)) > s.box.limit {
		return &smtp.SMTPError{Code: 552, Message: "too large"}
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if err := s.box.refuseData; err != nil {
		return err
	}
	s.box.messages = append(s.box.messages, message{s.from, s.to, raw})
	return nil
}

// certificate makes one for 127.0.0.1 and the pool that trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12},
		&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// opened is a message taken apart.
type opened struct {
	header            netmail.Header
	subject           string
	text, html        string
	file, kind        string
	attached          []byte
	longest, segments int
}

func open(t *testing.T, m message) opened {
	t.Helper()
	var o opened
	for scan := bufio.NewScanner(bytes.NewReader(m.raw)); scan.Scan(); {
		o.longest = max(o.longest, len(scan.Text()))
	}
	parsed, err := netmail.ReadMessage(bytes.NewReader(m.raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, m.raw[:min(len(m.raw), 2000)])
	}
	o.header = parsed.Header
	if o.subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	o.parts(t, parsed.Header.Get("Content-Type"), parsed.Body)
	return o
}

func (o *opened) parts(t *testing.T, contentType string, body io.Reader) {
	t.Helper()
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	for r := multipart.NewReader(body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		o.segments++
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(kind, "multipart/"):
			o.parts(t, p.Header.Get("Content-Type"), p)
		case p.FileName() != "":
			o.file, o.kind = p.FileName(), kind
			o.attached = readAll(t, base64.NewDecoder(base64.StdEncoding, p))
		case kind == "text/plain":
			o.text = string(readAll(t, quotedprintable.NewReader(p)))
		case kind == "text/html":
			o.html = string(readAll(t, quotedprintable.NewReader(p)))
		}
	}
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unzip(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, r)
}

// logs is a cyclone.LogStore of one event, for reading.
type logs struct {
	cyclone.LogStore // the other methods are not called
	chunks           []cyclone.Chunk
	broken           error // the answer to a call after so many
	calls, good      int
}

func (l *logs) Chunks(_ context.Context, _ cyclone.EventID, from int64, limit int) ([]cyclone.Chunk, error) {
	if l.calls++; l.broken != nil && l.calls > l.good {
		return nil, l.broken
	}
	var found []cyclone.Chunk
	for _, c := range l.chunks {
		if c.Last() >= from && len(found) < limit {
			found = append(found, c)
		}
	}
	return found, nil
}

func (l *logs) Last(context.Context, cyclone.EventID) (int64, error) {
	if len(l.chunks) == 0 {
		return 0, nil
	}
	return l.chunks[len(l.chunks)-1].Last(), nil
}

// stored makes a store of the lines, so many to a chunk.
func stored(t *testing.T, lines []cyclone.Line, size int) *logs {
	t.Helper()
	l := &logs{}
	for i := range lines {
		lines[i].N = int64(i) + 1
	}
	for len(lines) > 0 {
		n := min(size, len(lines))
		c, err := logchunk.Encode(lines[:n])
		if err != nil {
			t.Fatal(err)
		}
		l.chunks = append(l.chunks, c)
		lines = lines[n:]
	}
	return l
}
