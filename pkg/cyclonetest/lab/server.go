package lab

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Server is a cyclone-server process.
type Server struct {
	URL, Token string
	// Dir is its data folder.
	Dir string

	store, engine string // the settings; an empty engine is the machine's own
	process       *process
	start         func() (*process, error)
}

// ServerOptions says how a server is started.
type ServerOptions struct {
	Bin   string            // folder of cyclone-server
	Dir   string            // data folder
	Store string            // empty for the embedded store in Dir
	Token string            // the administrator's; empty for one made up
	Env   map[string]string // settings beyond those that the lab makes
	Log   io.Writer         // gets the server's own log; may be nil
}

// StartServer starts cyclone-server on any port of the loopback interface and
// waits until it is ready.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	s, err := NewServer(o)
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// NewServer finds a port for a server and starts nothing yet.
func NewServer(o ServerOptions) (*Server, error) {
	address, err := freeAddress("127.0.0.1", 0)
	if err != nil {
		return nil, err
	}
	if o.Store == "" {
		o.Store = "embedded:" + o.Dir
	}
	if o.Token == "" {
		o.Token = rand.Text()
	}
	s := &Server{URL: "http://" + address, Token: o.Token, Dir: o.Dir, store: o.Store, engine: o.Env["CYCLONE_DOCKER_HOST"]}
	env := append(without(os.Environ(), "CYCLONE_"), "CYCLONE_LISTEN="+address, "CYCLONE_STORE="+o.Store, "CYCLONE_ADMIN_TOKEN="+s.Token)
	for name, value := range o.Env {
		env = append(env, name+"="+value)
	}
	s.start = func() (*process, error) {
		return startProcess(filepath.Join(o.Bin, "cyclone-server"), nil, env, o.Log)
	}
	return s, nil
}

// Spawn starts the server, again after Stop or Kill, and waits for nothing.
func (s *Server) Spawn() error {
	p, err := s.start()
	if err == nil {
		s.process = p
	}
	return err
}

// Start starts the server, again after Stop or Kill, and waits until it is ready.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := s.Spawn()
	if err != nil {
		return err
	}
	err = s.process.waitFor(ctx, "cyclone-server", func() error { return answers(ctx, s.URL+"/readyz") })
	if err != nil {
		s.process.stop()
	}
	return err
}

// Stop ends the server as an operator does, and removes what it kept between
// events outside of its folder.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.stop()
		_ = s.RemoveCaches() // System.Stop says when that does not work
	}
}

// Exited is closed when the process that was started last has ended.
func (s *Server) Exited() <-chan struct{} { return s.process.exited }

// Kill ends the server without warning.
func (s *Server) Kill() { s.process.kill() }

// PID is the server's process id.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// Log is the end of what the server logged.
func (s *Server) Log() string { return s.process.log.String() }

// Call sends a request with the administrator's token and reads the answer's
// JSON into out, which may be nil. Any status but success is an error.
func (s *Server) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	req.Header.Set("Content-Type", "application/json")
	return do(req, out)
}

func do(req *http.Request, out any) error {
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return &StatusError{Code: answer.StatusCode, text: fmt.Sprintf("%s %s: %s: %s", req.Method, req.URL.Path, answer.Status, text)}
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = text
		return nil
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// StatusError is an answer that is no success.
type StatusError struct {
	Code int // of HTTP
	text string
}

func (e *StatusError) Error() string { return e.text }

// Answer is what a hook is answered.
type Answer struct {
	Delivery string   `json:"delivery"`
	Events   []string `json:"events"`
	Ignored  string   `json:"ignored"`
}

// Deliver sends a delivery the way GitHub does: signed over the body, under an
// id of its own.
func (s *Server) Deliver(ctx context.Context, project, secret, kind string, payload any) (Answer, error) {
	return s.DeliverAs(ctx, rand.Text(), project, secret, kind, payload)
}

// DeliverAs is Deliver under a chosen id, as a forge does that sends a
// delivery again.
func (s *Server) DeliverAs(ctx context.Context, id, project, secret, kind string, payload any) (Answer, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/api/v1/hooks/github/"+project, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/lab", "X-GitHub-Event": kind,
		"X-GitHub-Delivery": id, "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		req.Header.Set(name, value)
	}
	var a Answer
	return a, do(req, &a)
}

// Push is GitHub's payload for a push of one commit, as its documentation
// shows it, cut to what a receiver may rely on.
func Push(url, branch, sha, message string) map[string]any {
	web := strings.TrimSuffix(url, ".git")
	return map[string]any{
		"ref": "refs/heads/" + branch, "before": strings.Repeat("0", 40), "after": sha, "deleted": false, "forced": false,
		"repository": map[string]any{"full_name": "acme/shop", "clone_url": url, "html_url": web, "default_branch": "main"},
		"pusher":     map[string]any{"name": "alice", "email": "alice@example.com"},
		"sender":     map[string]any{"login": "alice"},
		"head_commit": map[string]any{
			"id": sha, "message": message, "url": web + "/commit/" + sha,
			"author": map[string]any{"name": "Alice", "email": "alice@example.com"},
		},
	}
}

// PullRequest is GitHub's payload for an opened pull request from the
// repository itself.
func PullRequest(url string, number int, branch, sha, title string) map[string]any {
	repo := map[string]any{"full_name": "acme/shop", "clone_url": url, "html_url": strings.TrimSuffix(url, ".git"), "default_branch": "main"}
	return map[string]any{
		"action": "opened", "number": number, "repository": repo, "sender": map[string]any{"login": "alice"},
		"pull_request": map[string]any{
			"number": number, "title": title, "draft": false, "html_url": strings.TrimSuffix(url, ".git") + "/pull/1",
			"head": map[string]any{"ref": branch, "sha": sha, "repo": repo, "user": map[string]any{"login": "alice"}},
			"base": map[string]any{"ref": "main", "sha": strings.Repeat("0", 40), "repo": repo},
			"user": map[string]any{"login": "alice"},
		},
	}
}

// without is env less the variables with a prefix.
func without(env []string, prefix string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, prefix) {
			kept = append(kept, e)
		}
	}
	return kept
}
