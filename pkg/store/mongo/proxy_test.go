package mongo_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// fate is what becomes of a command on its way through the proxy.
type fate int

const (
	passed     fate = iota
	refused         // answered as a server does that is no longer the primary
	cutBefore       // the connection breaks, the server never sees it
	cutAfter        // the server carries it out, the connection breaks before the answer
	swallowed       // no answer ever comes
	delayed         // comes and goes two seconds late
	lateAnswer = 2 * time.Second
)

// proxy stands in front of a server and does to each command what decide says.
type proxy struct {
	server string
	stop   chan struct{}

	mu     sync.Mutex
	decide func(command string) fate
}

// front starts a proxy before the server and returns the URI that leads through it.
func front(t testing.TB, uri string) (*proxy, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: strings.Trim(strings.TrimPrefix(uri, "mongodb://"), "/"), stop: make(chan struct{})}
	p.become(func(string) fate { return passed })
	t.Cleanup(func() {
		_ = l.Close() // the test is over
		close(p.stop)
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.connection(client)
		}
	}()
	return p, "mongodb://" + l.Addr().String() + "/"
}

// become changes what is done to commands from now on.
func (p *proxy) become(decide func(command string) fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

func (p *proxy) fateOf(command string) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.decide(command)
}

func (p *proxy) connection(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	for {
		request, err := message(client)
		if err != nil {
			return
		}
		reply, ok := p.exchange(server, request)
		if !ok {
			return
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// exchange is one command and its answer; false when the connection breaks.
func (p *proxy) exchange(server net.Conn, request []byte) ([]byte, bool) {
	what := p.fateOf(command(request))
	switch what {
	case refused:
		return notPrimary(request), true
	case cutBefore:
		return nil, false
	case swallowed:
		<-p.stop
		return nil, false
	case delayed:
		select {
		case <-time.After(lateAnswer):
		case <-p.stop:
			return nil, false
		}
	}
	if _, err := server.Write(request); err != nil {
		return nil, false
	}
	reply, err := message(server)
	return reply, err == nil && what != cutAfter
}

const (
	header = 16
	opMsg  = 2013
)

// message reads one message of the wire protocol, which begins with its length.
func message(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	m := make([]byte, binary.LittleEndian.Uint32(size[:]))
	copy(m, size[:])
	_, err := io.ReadFull(r, m[4:])
	return m, err
}

// command is the name of an OP_MSG's command; empty for other messages.
func command(m []byte) string {
	const name = header + 4 + 1 + 4 + 1 // flags, kind, size of the document, type of its first element
	if len(m) <= name || binary.LittleEndian.Uint32(m[12:]) != opMsg {
		return ""
	}
	end := max(bytes.IndexByte(m[name:], 0), 0)
	return string(m[name : name+end])
}

// notPrimary answers a request as a primary does that stepped down.
func notPrimary(request []byte) []byte {
	doc, err := bson.Marshal(bson.D{
		{Key: "ok", Value: 0.0}, {Key: "code", Value: 10107}, {Key: "codeName", Value: "NotWritablePrimary"},
		{Key: "errmsg", Value: "not primary"},
	})
	if err != nil {
		return nil
	}
	m := make([]byte, header+5, header+5+len(doc)) // flags and kind are zero
	copy(m[8:12], request[4:8])                    // the answer to this request
	binary.LittleEndian.PutUint32(m[12:], opMsg)
	m = append(m, doc...)
	binary.LittleEndian.PutUint32(m, uint32(len(m))) //#nosec G115 -- about a hundred
	return m
}

// isWrite reports whether a command changes something.
func isWrite(command string) bool {
	switch command {
	case "insert", "update", "delete", "findAndModify":
		return true
	}
	return false
}
