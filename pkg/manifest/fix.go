package manifest

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// maxFixes is how many blocks Fix moves at most.
	maxFixes = 100
	// maxFixWork is how many bytes Fix reads at most, all attempts together.
	maxFixWork = 16 * MaxSize
	// maxRespellings is how often Fix looks for misspelt keys: below one that
	// was set right there may be others.
	maxRespellings = 6
)

// Fix repairs what can be repaired without guessing: it removes a byte order
// mark and carriage returns at the ends of lines, replaces tabs that a file is
// indented with, moves blocks whose keys are indented deeper than the key above
// them to where that key stands, and sets keys right that are misspelt with one
// other near, enviroment and BUILT_IAMGE. Nothing else is touched. It returns
// the new text and true only when that is YAML and differs; else the text as
// it was. What values mean is not repaired: Parse the result.
func Fix(data []byte) ([]byte, bool) {
	if len(data) > MaxSize {
		return data, false
	}
	text := strings.TrimPrefix(string(data), byteOrderMark)
	if strings.Count(text, "\r") == strings.Count(text, "\r\n") { // one of its own is a line end
		text = strings.ReplaceAll(text, "\r\n", "\n")
	}
	if _, bad := badBytes([]byte(text)); bad {
		return data, false
	}
	text, ok := wellFormed(text)
	if !ok {
		return data, false
	}
	text = wellSpelt(text)
	if text == string(data) {
		return data, false
	}
	return []byte(text), true
}

// wellFormed is the text with tabs and indentation repaired until it is YAML;
// false when it does not get there.
func wellFormed(text string) (string, bool) {
	for range min(maxFixes, maxFixWork/(len(text)+1)) {
		_, err := decode([]byte(text))
		if err == nil {
			return text, true
		}
		if spaced, ok := untabbed(text); ok {
			return spaced, true
		}
		p := syntaxProblem(err, []byte(text))
		s := source{lines: splitLines(text)}
		m, ok := s.misindented(p.Line)
		if !ok {
			return text, false
		}
		text = s.moved(p.Line, m)
	}
	return text, false
}

// moved is the text with the block that begins at the line moved to where the
// key above it stands.
func (s source) moved(line int, m misindentation) string {
	lines := slices.Clone(s.lines)
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

// wellSpelt is the text with misspelt keys set right. What that does to a file
// is looked at: one that was right stays right, and no key comes twice.
func wellSpelt(text string) string {
	for range maxRespellings {
		p, sound := lookedAt(text)
		if !sound || len(p.words) == 0 {
			return text
		}
		next := respelt(text, p.words)
		after, sound := lookedAt(next)
		if next == text || !sound || after.broken > p.broken || Errors(p.problems) == 0 && Errors(after.problems) > 0 {
			return text
		}
		text = next
	}
	return text
}

// looked is what reading a file found out.
type looked struct {
	*parser
	broken int // problems of its structure, such as keys that come twice
}

// lookedAt reads a file; false for one that cannot be walked.
func lookedAt(text string) (looked, bool) {
	p := &parser{}
	root, ok := p.load([]byte(text))
	out := looked{p, len(p.problems)}
	if ok {
		p.pipeline(root)
	}
	return out, ok
}

// untabbed is the text with spaces for the tabs that lines begin with. How
// many spaces one tab is must not matter: every number of them that makes the
// text YAML must mean the same.
func untabbed(text string) (string, bool) {
	if !strings.HasPrefix(text, "\t") && !strings.Contains(text, "\n\t") {
		return text, false
	}
	const usual, most = indentation, 8
	var meant *yaml.Node
	best := ""
	for width := 1; width <= most; width++ {
		spaced := spaced(text, strings.Repeat(" ", width))
		root, err := decode([]byte(spaced))
		if err != nil || root == nil {
			continue
		}
		if meant != nil && !alike(meant, root) {
			return text, false
		}
		if meant = root; best == "" || width == usual {
			best = spaced
		}
	}
	return best, best != ""
}

// spaced replaces each tab that a line begins with. In a block of text only
// those go that indent the whole block: the others belong to the text.
func spaced(text, with string) string {
	lines := splitLines(text)
	outer, inner := -1, 0 // tabs before the line that began the block of text, and before its own first line
	for i, line := range lines {
		rest := strings.TrimLeft(line, "\t")
		tabs := len(line) - len(rest)
		blank := strings.TrimSpace(rest) == ""
		switch {
		case outer >= 0 && blank:
			continue
		case outer >= 0 && tabs > outer:
			if inner == 0 {
				inner = tabs
			}
			tabs = min(tabs, inner)
		default:
			outer, inner = -1, 0
			if blockText.MatchString(rest) {
				outer = tabs
			}
		}
		lines[i] = strings.Repeat(with, tabs) + line[tabs:]
	}
	return strings.Join(lines, "\n")
}
