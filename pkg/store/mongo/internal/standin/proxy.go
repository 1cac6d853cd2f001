package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// proxy passes messages on, one writing command at a time over all connections.
type proxy struct {
	backend string
	writing sync.Mutex
}

// writes are the commands that change something.
var writes = map[string]bool{
	"insert": true, "update": true, "delete": true, "findAndModify": true, "findandmodify": true,
	"create": true, "createIndexes": true, "drop": true, "dropDatabase": true, "dropIndexes": true,
}

func (p *proxy) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go p.connection(client)
	}
}

// connection passes requests and replies on until one side ends.
func (p *proxy) connection(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.backend)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	for {
		request, err := message(client)
		if err != nil {
			return
		}
		reply, err := p.exchange(server, request)
		if err != nil {
			return
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// exchange sends a request and reads its reply; while the request writes, no
// other that writes is under way.
func (p *proxy) exchange(server net.Conn, request []byte) ([]byte, error) {
	if writes[command(request)] {
		p.writing.Lock()
		defer p.writing.Unlock()
	}
	if _, err := server.Write(request); err != nil {
		return nil, err
	}
	return message(server)
}

const (
	headerSize = 16
	maxMessage = 48_000_000 // MongoDB's own limit
	opMsg      = 2013
)

// message reads one message of the wire protocol, which begins with its length.
func message(r io.Reader) ([]byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint32(header[:]))
	if size < headerSize || size > maxMessage {
		return nil, errors.New("message has an impossible size")
	}
	m := make([]byte, size)
	copy(m, header[:])
	_, err := io.ReadFull(r, m[headerSize:])
	return m, err
}

// command is the name of an OP_MSG's command, which is the first key of the
// document in its first section; empty for other messages.
func command(m []byte) string {
	const (
		flags    = 4 // after the header
		kind     = 1
		document = 4 // its size
		element  = 1 // its type
		name     = headerSize + flags + kind + document + element
	)
	if len(m) <= name || binary.LittleEndian.Uint32(m[12:]) != opMsg {
		return ""
	}
	end := bytes.IndexByte(m[name:], 0)
	if end < 0 {
		return ""
	}
	return string(m[name : name+end])
}
