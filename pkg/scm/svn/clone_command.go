package svn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/patience"
	"cyclone/pkg/sshagent"
)

const (
	// answerLimit bounds what a server may answer to a question.
	answerLimit = 64 << 20
	tailSize    = 8 << 10
)

// run is one call of Clone, Changed or Heads.
type run struct {
	cloner *Cloner
	spec   cyclone.CloneSpec
	from   remote
	out    cyclone.Output
	config string            // svn's own folder, for the length of the call
	ssh    *sshagent.Session // nil for other transports
}

// start checks what is asked for and prepares svn's surroundings; end must follow.
func (c *Cloner) start(s cyclone.CloneSpec, out cyclone.Output) (*run, error) {
	from, err := check(s)
	if err != nil {
		return nil, err
	}
	r := &run{cloner: c, spec: s, from: from, out: out}
	if r.config, err = os.MkdirTemp("", "cyclone-svn-"); err != nil {
		return nil, fmt.Errorf("make a folder for svn: %w", err)
	}
	if from.ssh {
		r.ssh, err = sshagent.Open(sshagent.Options{Host: from.host, Port: from.port, Key: s.Password, HostKeys: s.HostKeys})
		if err != nil {
			r.end()
			return nil, fmt.Errorf("log in at %s: %w", from.shown, err)
		}
	}
	return r, nil
}

func (r *run) end() {
	if r.ssh != nil {
		r.ssh.Close()
	}
	_ = os.RemoveAll(r.config) // svn's default settings are all there is
}

// learn tells the host's keys that were seen for the first time, once the host
// has shown that it has what was asked for.
func (r *run) learn() {
	if r.ssh == nil || r.spec.Learned == nil {
		return
	}
	if keys := r.ssh.Learned(); len(keys) > 0 {
		r.spec.Learned(keys)
	}
}

func (r *run) say(format string, args ...any) {
	r.out.Write(cyclone.System, []byte(fmt.Sprintf(format, args...)+"\n"))
}

// ask runs a question to the server and returns the answer, again when the
// network failed.
func (r *run) ask(ctx context.Context, args ...string) ([]byte, *failure) {
	var answer *bounded
	f := r.persist(ctx, func() *failure {
		answer = &bounded{}
		return r.attempt(ctx, answer, args...)
	})
	if answer.over {
		return nil, &failure{kind: tooLarge, from: r.from, text: fmt.Sprintf("the answer is larger than %d MiB", answerLimit>>20)}
	}
	return answer.text.Bytes(), f
}

// persist tries again while the network fails.
func (r *run) persist(ctx context.Context, attempt func() *failure) *failure {
	pauses := r.cloner.Pauses
	if pauses == nil {
		pauses = []time.Duration{time.Second, 3 * time.Second}
	}
	for try := 0; ; try++ {
		f := attempt()
		if f == nil || f.kind != unreachable || try == len(pauses) || ctx.Err() != nil {
			return f
		}
		r.say("%s; trying again in %s", f.summary(), pauses[try])
		if patience.Sleep(ctx, pauses[try]) != nil {
			return f
		}
	}
}

var errStalled = errors.New("svn made no progress")

// attempt runs svn once; answer takes what it prints.
func (r *run) attempt(ctx context.Context, answer io.Writer, args ...string) *failure {
	stall := r.cloner.Stall
	if stall == 0 {
		stall = DefaultStall
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := r.command(ctx, args...)
	watch := &watch{stall: stall, stop: func() { stop(errStalled) }}
	complaints := &complaints{out: r.out, moved: watch.moved}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(answer, watch), complaints
	err := cmd.Start()
	if err == nil {
		defer watch.begin(cmd.Process.Pid)()
		err = cmd.Wait()
	}
	if err == nil {
		return nil
	}
	f := &failure{from: r.from, text: complaints.text(), err: err}
	f.kind = classify(f.text)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		f.kind, f.text = noProgram, "the program "+cmd.Path+" (Debian's package subversion) is not installed here"
	case errors.Is(context.Cause(ctx), errStalled):
		f.kind, f.text = unreachable, fmt.Sprintf("no answer for %s", stall)
	case f.kind == hostKey && r.ssh != nil:
		f.refused = r.ssh.Refused(ctx, f.text)
	}
	return f
}

// command makes svn with the surroundings that hold for every call.
func (r *run) command(ctx context.Context, args ...string) *exec.Cmd {
	name := r.cloner.Command
	if name == "" {
		name = "svn"
	}
	cmd := exec.CommandContext(ctx, name, append(args, r.options()...)...)
	cmd.Dir = r.spec.Dir
	if cmd.Dir == "" {
		cmd.Dir = r.config
	}
	cmd.Env = r.environment(cmd.Environ())
	if r.login() {
		cmd.Stdin = strings.NewReader(r.spec.Password + "\n")
	}
	// svn starts ssh: both must end together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// login reports whether svn gets a user name and password.
func (r *run) login() bool { return !r.from.ssh && r.spec.Password != "" }

// options hold for every call. They come last: a subcommand is first.
func (r *run) options() []string {
	options := []string{
		"--non-interactive", "--no-auth-cache", "--config-dir=" + r.config,
		"--config-option=servers:global:http-timeout=60", "--config-option=config:auth:password-stores=",
	}
	if r.login() {
		options = append(options, "--password-from-stdin")
	}
	if r.spec.Username != "" && !r.from.ssh {
		options = append(options, "--username="+r.spec.Username)
	}
	return options
}

// environment is what svn inherits: not the settings of whoever started us,
// nor anything that could ask a person or carries Cyclone's tokens.
func (r *run) environment(inherited []string) []string {
	var env []string
	for _, pair := range inherited {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "SVN_") && !strings.HasPrefix(name, "CYCLONE_") && !strings.HasPrefix(name, "SSH_ASKPASS") && name != "LANGUAGE" {
			env = append(env, pair)
		}
	}
	// Names of files are UTF-8, messages English.
	env = append(env, "LC_ALL=C.UTF-8")
	if r.ssh != nil {
		env = append(env, "SVN_SSH="+r.sshCommand())
	}
	return env
}

func (r *run) sshCommand() string {
	if r.from.port == "" {
		return r.ssh.Command()
	}
	return r.ssh.Command() + " -p " + r.from.port
}

// bounded takes so many bytes and then fails.
type bounded struct {
	text bytes.Buffer
	over bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > answerLimit {
		b.over = true
		return 0, errors.New("the answer is too large")
	}
	return b.text.Write(p)
}

// complaints passes on what svn prints on stderr and keeps its end for the
// reason of a failure.
type complaints struct {
	out   cyclone.Output
	moved func()
	mu    sync.Mutex
	tail  []byte
}

// Write implements io.Writer.
func (c *complaints) Write(b []byte) (int, error) {
	c.moved()
	c.out.Write(cyclone.Stderr, b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail = append(c.tail, b...)
	if len(c.tail) > 2*tailSize {
		c.tail = append([]byte{}, c.tail[len(c.tail)-tailSize:]...)
	}
	return len(b), nil
}

func (c *complaints) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.tail)
}
