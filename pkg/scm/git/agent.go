package git

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"cyclone/pkg/cyclone"
)

// sshAgent offers one private key to ssh from this process's memory, on a
// socket that only this user can reach.
type sshAgent struct {
	dir, socket string
	listener    net.Listener
	keys        agent.Agent
	wait        sync.WaitGroup
	mu          sync.Mutex
	conns       map[net.Conn]bool // nil once stopped
}

// startAgent serves a private key in PEM until stop.
func startAgent(pem string) (*sshAgent, error) {
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
	dir, err := os.MkdirTemp("", "cyclone-ssh-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("make folder for ssh agent: %w", err)
	}
	a := &sshAgent{dir: dir, socket: filepath.Join(dir, "agent.sock"), keys: keys, conns: map[net.Conn]bool{}}
	a.listener, err = net.Listen("unix", a.socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for ssh: %w", err), os.RemoveAll(dir))
	}
	a.wait.Add(1)
	go a.accept()
	return a, nil
}

func (a *sshAgent) accept() {
	defer a.wait.Done()
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
		a.wait.Go(func() {
			_ = agent.ServeAgent(a.keys, conn) // ends when ssh hangs up
			_ = conn.Close()
		})
	}
}

// stop ends the agent and forgets the key. What closing says does not matter.
func (a *sshAgent) stop() {
	_ = a.listener.Close()
	a.mu.Lock()
	for conn := range a.conns {
		_ = conn.Close()
	}
	a.conns = nil
	a.mu.Unlock()
	a.wait.Wait()
	_ = a.keys.RemoveAll()
	_ = os.RemoveAll(a.dir)
}
