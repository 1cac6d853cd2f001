package docker

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	buildkit "github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"

	"cyclone/pkg/cyclone"
)

// tailLines is how much of a failing instruction's output its error quotes.
const tailLines = 10

// buildLog writes the state of a build, which BuildKit tells as a changing
// graph, as lines that begin with the number of their instruction. Parallel
// instructions' lines mix as they come; BuildKit's own printer would hold those
// of all but one back for seconds.
type buildLog struct {
	out      cyclone.Output
	vertices map[digest.Digest]*vertex
	numbered int
	now      func() time.Time
}

// vertex is one instruction of the build.
type vertex struct {
	number    int
	name      string
	failure   string
	done      *time.Time
	quiet     bool                      // nothing was written since it ended
	pending   map[cyclone.Stream][]byte // an unfinished line
	transfers map[string]*layer
	tail      []string
}

func newBuildLog(out cyclone.Output) *buildLog {
	return &buildLog{out: out, vertices: map[digest.Digest]*vertex{}, now: time.Now}
}

// show writes what is new in a status.
func (b *buildLog) show(s *buildkit.SolveStatus) {
	for _, v := range s.Vertexes {
		b.begin(v)
	}
	for _, l := range s.Logs {
		b.printed(b.vertex(l.Vertex), l)
	}
	for _, t := range s.Statuses {
		b.transfer(b.vertex(t.Vertex), t)
	}
	for _, w := range s.Warnings {
		b.line(b.vertex(w.Vertex), cyclone.Stdout, "WARN: %s", w.Short)
	}
	for _, v := range s.Vertexes {
		b.end(v)
	}
}

// vertex finds an instruction, and numbers it when it is new.
func (b *buildLog) vertex(d digest.Digest) *vertex {
	v := b.vertices[d]
	if v == nil {
		b.numbered++
		v = &vertex{number: b.numbered, pending: map[cyclone.Stream][]byte{}, transfers: map[string]*layer{}}
		b.vertices[d] = v
	}
	return v
}

// begin writes an instruction's name when it starts for the first time.
func (b *buildLog) begin(from *buildkit.Vertex) {
	if from.Started == nil {
		return
	}
	v := b.vertex(from.Digest)
	if v.name == "" {
		v.name = from.Name
		b.line(v, cyclone.Stdout, "%s", v.name)
	}
}

// end writes how an instruction ended. One that is looked up in the cache and
// then run ends twice; the time that it took is that of the last.
func (b *buildLog) end(from *buildkit.Vertex) {
	if from.Completed == nil || from.Started == nil {
		return
	}
	v := b.vertex(from.Digest)
	if v.done != nil && !from.Completed.After(*v.done) {
		return
	}
	b.flush(v)
	switch {
	case v.quiet && from.Error == "":
	case strings.HasSuffix(from.Error, "context canceled"):
		b.line(v, cyclone.Stdout, "CANCELED")
	case from.Error != "":
		v.failure = from.Error
		b.line(v, cyclone.Stderr, "ERROR: %s", from.Error)
	case from.Cached:
		b.line(v, cyclone.Stdout, "CACHED")
	default:
		b.line(v, cyclone.Stdout, "DONE %.1fs", from.Completed.Sub(*from.Started).Seconds())
	}
	v.done, v.quiet = from.Completed, true
}

// printed writes the finished lines of what an instruction printed.
func (b *buildLog) printed(v *vertex, l *buildkit.VertexLog) {
	stream := cyclone.Stdout
	if l.Stream == 2 {
		stream = cyclone.Stderr
	}
	rest := append(v.pending[stream], l.Data...)
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		if !found {
			break
		}
		b.text(v, stream, line)
		rest = after
	}
	v.pending[stream] = bytes.Clone(rest)
}

// flush writes the unfinished lines of an instruction that has ended.
func (b *buildLog) flush(v *vertex) {
	for stream, rest := range v.pending {
		if len(rest) > 0 {
			b.text(v, stream, rest)
		}
		delete(v.pending, stream)
	}
}

func (b *buildLog) text(v *vertex, stream cyclone.Stream, line []byte) {
	text := strings.TrimSuffix(string(line), "\r")
	b.line(v, stream, "%s", text)
	v.tail = append(v.tail, text[:min(len(text), 500)])
	if len(v.tail) > tailLines {
		v.tail = v.tail[1:]
	}
}

// transfer writes where the copying of a layer or of the context stands: at
// its end, and now and then while it lasts.
func (b *buildLog) transfer(v *vertex, t *buildkit.VertexStatus) {
	l := v.transfers[t.ID]
	if l == nil {
		l = &layer{at: b.now()}
		v.transfers[t.ID] = l
	}
	if l.status == "done" || t.Completed == nil && b.now().Sub(l.at) < progressInterval {
		return
	}
	l.at = b.now()
	text := t.ID
	if t.Current > 0 {
		text += " " + units.HumanSize(float64(t.Current))
	}
	if t.Total > 0 {
		text += " of " + units.HumanSize(float64(t.Total))
	}
	if t.Completed != nil {
		l.status = "done"
		text += " done"
	}
	b.line(v, cyclone.Stdout, "%s", text)
}

func (b *buildLog) line(v *vertex, stream cyclone.Stream, format string, args ...any) {
	v.quiet = false
	b.out.Write(stream, fmt.Appendf(nil, "#%d %s\n", v.number, fmt.Sprintf(format, args...)))
}

// failing is the instruction whose error ended the build with this text, or
// nil. Others may have failed without harm, such as the look for a cache.
func (b *buildLog) failing(text string) *vertex {
	for _, v := range b.vertices {
		if v.failure != "" && strings.Contains(text, v.failure) {
			return v
		}
	}
	return nil
}
