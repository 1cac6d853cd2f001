package worker

import (
	"strings"
	"time"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

const (
	// maxLine is the longest text of a line in bytes; what is longer is split,
	// and continued marks every part but the last.
	maxLine   = 64 << 10
	continued = " [line continues]"
)

// splitter makes lines of one stream of one step. Its methods need journal.mu.
type splitter struct {
	j      *journal
	stage  cyclone.Stage
	step   string
	stream cyclone.Stream
	// ignore drops lines that contain it; empty for none.
	ignore string
	// keep gets every finished line; nil for none.
	keep func(text string)

	rest  []byte // the unfinished line
	shown int    // len(rest) when it was last published, -1 for changed
}

// write takes the next piece of the stream.
func (s *splitter) write(at time.Time, p []byte) {
	// One string for the whole piece: its lines share it.
	text := string(p)
	for {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			break
		}
		if len(s.rest) > 0 || i > maxLine {
			s.hold(at, text[:i])
			s.end(at)
		} else {
			s.line(at, text[:i])
		}
		text = text[i+1:]
	}
	if text != "" {
		s.hold(at, text)
	}
}

// hold adds to the unfinished line, one rewrite after the other, so that it
// makes no difference how the text was cut. What a carriage return has
// overwritten is forgotten soon, so that an endless progress bar needs no memory.
func (s *splitter) hold(at time.Time, text string) {
	s.shown = -1
	s.j.open[s] = struct{}{}
	for text != "" {
		part := text
		if i := strings.IndexByte(text, '\r'); i >= 0 {
			part = text[:i+1]
		}
		text = text[len(part):]
		if n := len(s.rest); part == "\r" && n > 0 && s.rest[n-1] == '\r' {
			continue // a second return does nothing
		}
		s.rest = append(s.rest, part...)
		if len(s.rest) > maxLine {
			s.shorten(at)
		}
	}
}

// shorten emits what is too long of the unfinished line.
func (s *splitter) shorten(at time.Time) {
	visible := lastRewrite(string(s.rest))
	for len(strings.TrimSuffix(visible, "\r")) > maxLine {
		n := cut(visible)
		s.emit(at, visible[:n]+continued)
		visible = visible[n:]
	}
	s.rest = append(s.rest[:0], visible...)
}

// end finishes the unfinished line, if there is one.
func (s *splitter) end(at time.Time) {
	if len(s.rest) == 0 {
		return
	}
	text := string(s.rest)
	s.rest = s.rest[:0]
	delete(s.j.open, s)
	s.line(at, text)
}

// line emits one line, of at most maxLine, without its line end.
func (s *splitter) line(at time.Time, text string) {
	if strings.IndexByte(text, '\r') >= 0 {
		text = lastRewrite(strings.TrimRight(text, "\r"))
	}
	s.emit(at, text)
}

func (s *splitter) emit(at time.Time, text string) {
	if s.ignore != "" && strings.Contains(text, s.ignore) {
		return
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	if s.keep != nil {
		s.keep(text)
	}
	s.j.add(at, s.stage, s.step, s.stream, text)
}

// unfinished returns the unfinished line when it was not published as it is.
func (s *splitter) unfinished() (string, bool) {
	if len(s.rest) == 0 || s.shown == len(s.rest) {
		return "", false
	}
	s.shown = len(s.rest)
	text := lastRewrite(strings.TrimRight(string(s.rest), "\r"))
	return strings.ToValidUTF8(text, "\uFFFD"), text != ""
}

// lastRewrite is what is seen of a line with carriage returns: the text after
// the last one. A return at the very end has not overwritten anything yet.
func lastRewrite(text string) string {
	body := strings.TrimRight(text, "\r")
	i := strings.LastIndexByte(body, '\r')
	return text[i+1:]
}

// cut is where to split a long text: at maxLine, but not within a character.
func cut(text string) int {
	for n := maxLine; n > maxLine-utf8.UTFMax; n-- {
		if utf8.RuneStart(text[n]) {
			return n
		}
	}
	return maxLine
}
