package sshagent

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"cyclone/pkg/cyclone"
)

// keyServer offers one private key to ssh from this process's memory, on a
// socket that only this user can reach.
type keyServer struct {
	listener net.Listener
	keys     agent.Agent
	wait     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool // nil once stopped
}

// serveKey serves a private key in PEM on a socket until stop.
func serveKey(pem, socket string) (*keyServer, error) {
	key, err := ssh.ParseRawPrivateKey([]byte(pem))
	if err != nil {
		var locked *ssh.PassphraseMissingError
		if errors.As(err, &locked) {
			return nil, cyclone.Forbidden("the repository's credential is an ssh key with a passphrase; store one without")
		}
		return nil, cyclone.Forbidden("the repository's credential is not an ssh private key; over ssh a password cannot be used")
	}
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return nil, fmt.Errorf("load ssh key: %w", err)
	}
	a := &keyServer{keys: keys, conns: map[net.Conn]bool{}}
	if a.listener, err = net.Listen("unix", socket); err != nil {
		return nil, fmt.Errorf("listen for ssh: %w", err)
	}
	a.wait.Go(a.accept)
	return a, nil
}

func (a *keyServer) accept() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		if a.conns == nil {
			a.mu.Unlock()
			_ = conn.Close() // stopped meanwhile
			return
		}
		a.conns[conn] = true
		a.mu.Unlock()
		a.wait.Go(func() { a.serve(conn) })
	}
}

func (a *keyServer) serve(conn net.Conn) {
	_ = agent.ServeAgent(a.keys, conn) // ends when ssh hangs up
	_ = conn.Close()
	a.mu.Lock()
	delete(a.conns, conn)
	a.mu.Unlock()
}

// stop ends the server and forgets the key. What closing says does not matter.
func (a *keyServer) stop() {
	_ = a.listener.Close()
	a.mu.Lock()
	for conn := range a.conns {
		_ = conn.Close()
	}
	a.conns = nil
	a.mu.Unlock()
	a.wait.Wait()
	_ = a.keys.RemoveAll()
}
