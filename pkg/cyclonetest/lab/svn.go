package lab

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Svn is a real Subversion server: svnserve.
type Svn struct {
	Addr    string
	dir     string
	process *process
}

// StartSvn serves the repositories below dir on any port of the bind address.
// The package subversion must be installed.
func StartSvn(ctx context.Context, bind, dir string) (*Svn, error) {
	address, err := freeAddress(bind, 0)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("start svnserve: %w", err)
	}
	s := &Svn{Addr: address, dir: dir}
	if s.process, err = startProcess("svnserve", []string{"-d", "--foreground", "--listen-host", host, "--listen-port", port, "-r", dir}, os.Environ(), nil); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return s, s.process.waitFor(ctx, "svnserve", func() error { return dials(ctx, address) })
}

// URL is where a repository is checked out from.
func (s *Svn) URL(name string) string { return "svn://" + s.Addr + "/" + url.PathEscape(name) }

// Create makes a repository that everybody may read.
func (s *Svn) Create(ctx context.Context, name string) error {
	if _, err := svn(ctx, s.dir, "svnadmin", "create", filepath.Join(s.dir, name)); err != nil {
		return err
	}
	return s.configure(name, "[general]\nanon-access = read\nauth-access = write\n")
}

// Close asks for this login on a repository from now on.
func (s *Svn) Close(name, user, password string) error {
	text := "[users]\n" + user + " = " + password + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, name, "conf", "passwd"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("close the repository %s: %w", name, err)
	}
	return s.configure(name, "[general]\nanon-access = none\nauth-access = write\npassword-db = passwd\n")
}

func (s *Svn) configure(name, text string) error {
	if err := os.WriteFile(filepath.Join(s.dir, name, "conf", "svnserve.conf"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("set up the repository %s: %w", name, err)
	}
	return nil
}

// Commit writes files (path in the repository -> content) as one revision and
// returns its number. Content nil removes the path; folders are made, and a
// path that ends in a slash is one.
func (s *Svn) Commit(ctx context.Context, name, message string, files map[string][]byte) (int, error) {
	tree, err := os.MkdirTemp("", "cyclone-lab-")
	if err != nil {
		return 0, fmt.Errorf("make a work tree: %w", err)
	}
	defer os.RemoveAll(tree)
	if _, err := svn(ctx, tree, "svn", "checkout", "-q", s.onDisk(name, ""), "."); err != nil {
		return 0, err
	}
	for path, content := range files {
		if err := s.put(ctx, tree, path, content); err != nil {
			return 0, err
		}
	}
	if _, err := svn(ctx, tree, "svn", "add", "-q", "--force", "--no-ignore", "."); err != nil {
		return 0, err
	}
	return revision(svn(ctx, tree, "svn", "commit", "--username", "alice", "-m", message, "."))
}

func (s *Svn) put(ctx context.Context, tree, path string, content []byte) error {
	if strings.HasSuffix(path, "/") {
		return os.MkdirAll(filepath.Join(tree, path), 0o755)
	}
	if content == nil {
		_, err := svn(ctx, tree, "svn", "delete", "-q", "--", path+"@")
		return err
	}
	return write(filepath.Join(tree, path), content)
}

// Copy makes a branch or a tag: a copy of one path of the repository to another.
func (s *Svn) Copy(ctx context.Context, name, from, to string) (int, error) {
	return revision(svn(ctx, s.dir, "svn", "copy", "--parents", "--username", "alice", "-m", "Copy "+from+" to "+to, s.onDisk(name, from)+"@HEAD", s.onDisk(name, to)+"@"))
}

// Remove removes a path of the repository.
func (s *Svn) Remove(ctx context.Context, name, path string) (int, error) {
	return revision(svn(ctx, s.dir, "svn", "delete", "--username", "alice", "-m", "Remove "+path, s.onDisk(name, path)+"@"))
}

// Set sets a property of a path.
func (s *Svn) Set(ctx context.Context, name, path, property, value string) (int, error) {
	return revision(svn(ctx, s.dir, "svnmucc", "-U", s.onDisk(name, ""), "-u", "alice", "-m", "Set "+property, "propset", property, value, path))
}

// onDisk is the URL by which the server's own machine writes.
func (s *Svn) onDisk(name, path string) string {
	u := url.URL{Scheme: "file", Path: filepath.Join(s.dir, name, path)}
	return u.String()
}

// committed is how svn and svnmucc name what they committed.
var committed = regexp.MustCompile(`(?m)^(?:Committed revision |r)(\d+)`)

// revision reads the number of what was committed.
func revision(printed string, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	m := committed.FindStringSubmatch(printed)
	if m == nil {
		return 0, fmt.Errorf("nothing was committed: %s", printed)
	}
	return strconv.Atoi(m[1])
}

// DeliverSvn sends what a post-commit script of a repository does, signed over
// the body.
func (s *Server) DeliverSvn(ctx context.Context, project, secret string, committed any) (Answer, error) {
	body, err := json.Marshal(committed)
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/api/v1/hooks/svn/"+project, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Cyclone-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	var a Answer
	return a, do(req, &a)
}

// Stop ends the server.
func (s *Svn) Stop() { s.process.stop() }

func svn(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
