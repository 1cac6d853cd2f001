package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/patience"
)

// helperFD is the descriptor by which git's credential helper reads; shells
// know single digits only, and git and its scripts use the lower ones.
const helperFD = 9

// helper is git's credential helper: it takes one user name and one password
// off the inherited pipe, with what every /bin/sh has built in.
const helper = `!f() { test "$1" = get || exit 0; IFS= read -r u <&9 && IFS= read -r p <&9 && printf 'username=%s\npassword=%s\n' "$u" "$p"; }; f`

// allowed are the transports that git may use, for submodules and redirects too.
const allowed = "http:https:ssh"

// git runs a command that needs no network and returns what it printed.
func (r *run) git(ctx context.Context, args ...string) (string, error) {
	var out, problems bytes.Buffer
	cmd := r.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, lastLine(problems.String()))
	}
	return out.String(), nil
}

// command makes git with the surroundings that hold for every call.
func (r *run) command(ctx context.Context, args ...string) *exec.Cmd {
	name := r.cloner.Command
	if name == "" {
		name = "git"
	}
	cmd := exec.CommandContext(ctx, name, append(r.options(), args...)...)
	cmd.Dir = r.spec.Dir
	cmd.Env = r.environment(cmd.Environ())
	// git starts programs of its own: all of them must end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (r *run) options() []string {
	settings := []string{
		"credential.helper=", "core.askPass=", "core.hooksPath=/dev/null", "core.fsmonitor=false",
		"http.followRedirects=initial", "http.lowSpeedLimit=1", "http.lowSpeedTime=60",
		"advice.detachedHead=false", "init.defaultBranch=main", "gc.auto=0", "maintenance.auto=false",
		"submodule.fetchJobs=1", "fetch.recurseSubmodules=false", "fetch.parallel=1",
	}
	if r.secret() {
		settings = append(settings, "credential."+r.from.base+".helper="+helper)
	}
	if r.lfs {
		settings = append(settings, lfsSettings...)
		if !r.from.file {
			// What another repository on this disk has is nobody's business.
			settings = append(settings, "lfs.customtransfer.lfs-standalone-file.path=false")
		}
	}
	var options []string
	for _, s := range settings {
		options = append(options, "-c", s)
	}
	return options
}

// secret reports whether git gets a user name and password.
func (r *run) secret() bool {
	return !r.from.ssh && (r.spec.Username != "" || r.spec.Password != "")
}

// allowed are the transports of this call.
func (r *run) allowed() string {
	if r.from.file && !r.inSubmodules {
		return allowed + ":file"
	}
	return allowed
}

// environment is what git inherits: not its own settings of whoever started
// us, nor anything that could ask a person or carries Cyclone's tokens.
func (r *run) environment(inherited []string) []string {
	var env []string
	for _, pair := range inherited {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "GIT_") && !strings.HasPrefix(name, "CYCLONE_") && !strings.HasPrefix(name, "SSH_ASKPASS") {
			env = append(env, pair)
		}
	}
	env = append(env,
		"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL="+r.allowed(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CEILING_DIRECTORIES="+filepath.Dir(r.spec.Dir),
		"GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND="+r.sshCommand(),
		// What moves says so, although nobody watches a terminal.
		"GIT_LFS_FORCE_PROGRESS=1",
	)
	return env
}

// sshCommand is how git reaches hosts over ssh. A submodule's host, which no
// project names, is trusted when it is first seen: there is nobody to ask.
func (r *run) sshCommand() string {
	if r.ssh != nil {
		return r.ssh.Command()
	}
	return "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=20 -oStrictHostKeyChecking=accept-new"
}

// remoteGit runs a command that talks to the repository's host, and again
// when the network failed. All that it prints goes to the log.
func (r *run) remoteGit(ctx context.Context, args ...string) (*failure, error) {
	return r.persist(ctx, func() (*failure, error) { return r.attempt(ctx, nil, args...) })
}

// persist tries again while the network fails.
func (r *run) persist(ctx context.Context, attempt func() (*failure, error)) (*failure, error) {
	pauses := r.cloner.Pauses
	if pauses == nil {
		pauses = []time.Duration{time.Second, 3 * time.Second}
	}
	for try := 0; ; try++ {
		f, err := attempt()
		if err == nil || f.kind != unreachable || try == len(pauses) || ctx.Err() != nil {
			return f, err
		}
		r.say("%s; trying again in %s", f.summary(), pauses[try])
		if patience.Sleep(ctx, pauses[try]) != nil {
			return f, err
		}
	}
}

var errStalled = errors.New("git made no progress")

// attempt runs git once; answer takes what it prints on stdout, nil for the log.
func (r *run) attempt(ctx context.Context, answer io.Writer, args ...string) (*failure, error) {
	stall := r.cloner.Stall
	if stall == 0 {
		stall = DefaultStall
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watch := time.AfterFunc(stall, func() { stop(errStalled) })
	defer watch.Stop()

	output := &progress{out: r.out, moved: func() { watch.Reset(stall) }}
	cmd := r.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = output, output
	if answer != nil {
		cmd.Stdout = answer
	}
	if r.secret() {
		feed, err := r.feed(cmd)
		if err != nil {
			return &failure{remote: r.from, err: err}, err
		}
		defer feed.stop()
	}
	err := cmd.Run()
	if err == nil {
		return nil, nil
	}
	f := &failure{remote: r.from, text: output.text(), err: err}
	f.kind = classify(f.text)
	if errors.Is(context.Cause(ctx), errStalled) {
		f.kind, f.text = unreachable, fmt.Sprintf("no answer for %s", stall)
	}
	if f.kind == hostKey && r.ssh != nil && !r.inSubmodules {
		f.refused = r.ssh.Refused(ctx, f.text)
	}
	return f, err
}

// lfsLogins is how often git-lfs is told the login in one call: it remembers it,
// and with one that is refused some versions of it would ask for ever.
const lfsLogins = 3

// feed hands user name and password to the helper through a pipe, as often as
// git asks.
func (r *run) feed(cmd *exec.Cmd) (*feed, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for git's credentials: %w", err)
	}
	cmd.ExtraFiles = make([]*os.File, helperFD-2)
	cmd.ExtraFiles[helperFD-3] = reader
	user := r.spec.Username
	if user == "" {
		user = "x-access-token" // with a token the forges take any name
	}
	f := &feed{reader: reader, writer: writer, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		text := []byte(user + "\n" + r.spec.Password + "\n")
		for n := 0; !r.lfs || n < lfsLogins; n++ {
			if _, err := writer.Write(text); err != nil {
				return
			}
		}
		_ = writer.Close() // who asks again gets no answer
	}()
	return f, nil
}

type feed struct {
	reader, writer *os.File
	done           chan struct{}
}

// stop ends the writing goroutine. Errors of closing a pipe mean nothing.
func (f *feed) stop() {
	_ = f.writer.Close()
	_ = f.reader.Close()
	<-f.done
}

// progress passes on what git prints and keeps its end for the reason of a
// failure.
type progress struct {
	out   cyclone.Output
	moved func()
	mu    sync.Mutex
	tail  []byte
}

const tailSize = 8 << 10

func (p *progress) Write(b []byte) (int, error) {
	p.moved()
	p.out.Write(cyclone.Stderr, b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail = append(p.tail, b...)
	if len(p.tail) > 2*tailSize {
		p.tail = append([]byte{}, p.tail[len(p.tail)-tailSize:]...)
	}
	return len(b), nil
}

func (p *progress) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.tail)
}
