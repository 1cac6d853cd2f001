package worker

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/mask"
)

// output receives what one step prints. It hides secrets, follows which
// command runs, and hands lines to the journal. It is a cyclone.Output and an
// io.Writer of the system stream.
type output struct {
	j      *journal
	mu     sync.Mutex
	stream map[cyclone.Stream]*stream
	script *script // nil when no script runs
	nonce  []byte  // begins a marker in stdout
	held   []byte  // the beginning of what may be a marker
	at     int     // number of the running command, from 1; 0 before the first
	last   ring
}

// stream is one of a step's streams: mask, then splitter.
type stream struct {
	split *splitter
	mask  *mask.Writer
}

// Write implements io.Writer for mask.
func (s *stream) Write(p []byte) (int, error) {
	s.split.j.mu.Lock()
	defer s.split.j.mu.Unlock()
	s.split.j.crowded()
	s.split.write(cyclone.Stamp(time.Now()), p)
	return len(p), nil
}

// open returns the output of a step.
func (j *journal) output(stage cyclone.Stage, step string) *output {
	o := &output{j: j, stream: map[cyclone.Stream]*stream{}}
	j.mu.Lock()
	set := j.secrets
	j.mu.Unlock()
	for _, name := range []cyclone.Stream{cyclone.Stdout, cyclone.Stderr, cyclone.System} {
		s := &stream{split: &splitter{j: j, stage: stage, step: step, stream: name}}
		s.mask = set.Writer(s)
		o.stream[name] = s
	}
	return o
}

// follow makes the output know the commands of a script by its markers.
func (o *output) follow(s *script) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.script, o.nonce, o.at = s, []byte(s.marker()), 0
	o.stream[cyclone.Stderr].split.ignore = s.nonce // what `set -x` shows of a marker
}

// remember keeps the last n lines for tail.
func (o *output) remember(n int) {
	o.last.size = n
	for _, name := range []cyclone.Stream{cyclone.Stdout, cyclone.Stderr} {
		o.stream[name].split.keep = o.last.add
	}
}

// tail returns the remembered lines.
func (o *output) tail() []string {
	o.j.mu.Lock()
	defer o.j.mu.Unlock()
	return o.last.lines()
}

// Write implements cyclone.Output.
func (o *output) Write(to cyclone.Stream, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if to == cyclone.Stdout && o.script != nil {
		o.filter(p)
	} else {
		o.put(to, p)
	}
	o.j.poke()
}

// put writes to a stream; the journal takes everything, so there is no error.
func (o *output) put(to cyclone.Stream, p []byte) {
	if len(p) > 0 {
		_, _ = o.stream[to].mask.Write(p)
	}
}

// filter takes the markers out of stdout.
func (o *output) filter(p []byte) {
	if len(o.held) > 0 {
		p = append(o.held, p...)
		o.held = nil
	}
	for {
		i := bytes.IndexByte(p, o.nonce[0])
		if i < 0 {
			o.put(cyclone.Stdout, p)
			return
		}
		o.put(cyclone.Stdout, p[:i])
		p = p[i:]
		n, whole := o.marker(p)
		if !whole {
			o.held = bytes.Clone(p)
			return
		}
		if n == 0 { // just a byte that looks like the beginning
			o.put(cyclone.Stdout, p[:1])
			n = 1
		}
		p = p[n:]
	}
}

// marker reads a marker at the beginning of p and returns its size, 0 when
// there is none; whole is false when more bytes are needed to tell.
func (o *output) marker(p []byte) (size int, whole bool) {
	head := p[:min(len(p), len(o.nonce))]
	if !bytes.HasPrefix(o.nonce, head) {
		return 0, true
	}
	end := bytes.IndexByte(p, '\n')
	if len(head) < len(o.nonce) || (end < 0 && len(p) < len(o.nonce)+8) {
		return 0, false
	}
	n, err := strconv.Atoi(string(p[len(o.nonce):max(end, len(o.nonce))]))
	if err != nil || n < 1 || n > len(o.script.commands) {
		return 0, true
	}
	o.begin(n)
	return end + 1, true
}

// begin notes that a command runs now and shows it.
func (o *output) begin(n int) {
	o.at = n
	o.settle(cyclone.Stdout)
	for line := range bytes.SplitSeq([]byte("$ "+o.script.commands[n-1]), []byte("\n")) {
		o.put(cyclone.Stdout, append(slices.Clip(line), '\n'))
	}
	o.settle(cyclone.Stdout)
}

// settle ends what a stream has unfinished.
func (o *output) settle(name cyclone.Stream) {
	s := o.stream[name]
	_ = s.mask.Flush() // the journal takes everything
	o.j.mu.Lock()
	defer o.j.mu.Unlock()
	s.split.end(cyclone.Stamp(time.Now()))
}

// command is the number and text of the running command; 0 before the first.
func (o *output) command() (int, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at == 0 {
		return 0, ""
	}
	return o.at, o.script.commands[o.at-1]
}

// say writes a line of Cyclone's own.
func (o *output) say(format string, args ...any) {
	o.Write(cyclone.System, fmt.Appendf(nil, format+"\n", args...))
}

// close ends all unfinished lines.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(cyclone.Stdout, o.held)
	o.held = nil
	for _, name := range []cyclone.Stream{cyclone.Stdout, cyclone.Stderr, cyclone.System} {
		o.settle(name)
	}
	o.j.poke()
}

// lineWriter is an output's system stream as an io.Writer.
type lineWriter struct {
	o  *output
	to cyclone.Stream
}

// Write implements io.Writer.
func (w lineWriter) Write(p []byte) (int, error) {
	w.o.Write(w.to, p)
	return len(p), nil
}

// ring keeps the last lines.
type ring struct {
	size int
	text []string
}

func (r *ring) add(text string) {
	r.text = append(r.text, text)
	if len(r.text) >= 2*r.size {
		r.text = slices.Clone(r.text[len(r.text)-r.size:])
	}
}

func (r *ring) lines() []string { return r.text[max(0, len(r.text)-r.size):] }
