package manifest

import "strings"

// maxFixes is how many blocks Fix moves at most.
const maxFixes = 100

// Fix repairs what can be repaired without guessing: it moves blocks whose
// keys are indented deeper than the key above them to where that key stands,
// and removes a byte order mark. It returns the new text and true only when
// that makes the file YAML; else the text as it was. What the values mean is
// not looked at: Parse the result.
func Fix(data []byte) ([]byte, bool) {
	if len(data) > MaxSize {
		return data, false
	}
	text := strings.TrimPrefix(string(data), byteOrderMark)
	fixed := text != string(data)
	for range maxFixes {
		if _, bad := badBytes([]byte(text)); bad {
			return data, false
		}
		_, err := decode([]byte(text))
		if err == nil {
			if !fixed {
				return data, false
			}
			return []byte(text), true
		}
		p := syntaxProblem(err, []byte(text))
		s := source{lines: splitLines(text)}
		m, ok := s.misindented(p.Line)
		if !ok {
			return data, false
		}
		text, fixed = s.moved(p.Line, m), true
	}
	return data, false
}

// moved is the text with the block that begins at the line moved to where the
// key above it stands.
func (s source) moved(line int, m misindentation) string {
	lines := append([]string(nil), s.lines...)
	for i := line - 1; i < len(lines); i++ {
		if s.indent(i+1) < m.have {
			if blankOrComment(lines[i]) {
				continue
			}
			break
		}
		lines[i] = lines[i][m.have-m.want:]
	}
	return strings.Join(lines, "\n")
}
