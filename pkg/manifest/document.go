package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

const (
	byteOrderMark = "\xef\xbb\xbf"
	utf16LE       = "\xff\xfe"
	utf16BE       = "\xfe\xff"
)

// load turns bytes into a tree that can be walked without fear: bounded, free
// of cycles, with text for keys. It reports false when there is none.
func (p *parser) load(data []byte) (*yaml.Node, bool) {
	if problem, bad := badBytes(data); bad {
		p.problems = append(p.problems, problem)
		return nil, false
	}
	root, err := decode(data)
	if err != nil {
		p.problems = append(p.problems, syntaxProblem(err, data))
		return nil, false
	}
	if root == nil {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}, true
	}
	return root, p.sound(root)
}

// badBytes finds what makes a file no text at all.
func badBytes(data []byte) (cyclone.Problem, bool) {
	if len(data) > MaxSize { // before anything is done with so much
		return textProblem("", 0, fmt.Sprintf("the file is larger than %d bytes, which is the most that is read", MaxSize),
			"move long scripts into files of the repository and call them"), true
	}
	text := string(data)
	switch {
	case strings.HasPrefix(text, byteOrderMark):
		return textProblem("", 0, "the file begins with a byte order mark",
			"save it as UTF-8 without a byte order mark; `cyclone lint --fix` removes it"), true
	case strings.HasPrefix(text, utf16LE), strings.HasPrefix(text, utf16BE):
		return textProblem("", 0, "the file is UTF-16", "save it as UTF-8"), true
	}
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)) {
			return textProblem(text, i, fmt.Sprintf("byte 0x%02x is not UTF-8", text[i]), "save the file as UTF-8"), true
		}
		if refused(r) {
			return textProblem(text, i, fmt.Sprintf("character %U is not allowed in the file", r), "remove it"), true
		}
	}
	return cyclone.Problem{}, false
}

// refused tells characters that YAML does not allow in a file.
func refused(r rune) bool {
	switch {
	case r == '\t' || r == '\n' || r == '\r' || r == 0x85:
		return false
	case r < 0x20, r >= 0x7f && r < 0xa0, r == 0xfffe, r == 0xffff:
		return true
	}
	return r == 0xfeff // a byte order mark in the middle of the file
}

// textProblem is an error at an offset of the text.
func textProblem(text string, offset int, message, hint string) cyclone.Problem {
	before := text[:offset]
	start := strings.LastIndexByte(before, '\n') + 1
	return cyclone.Problem{
		Line: strings.Count(before, "\n") + 1, Column: utf8.RuneCountInString(before[start:]) + 1,
		Severity: cyclone.SeverityError, Message: message, Hint: hint,
	}
}

// secondDocument is the error for a file that holds more than one document.
type secondDocument struct{ line int }

func (e secondDocument) Error() string { return "more than one document" }

// decode reads the one document of a file; nil for a file without any.
func decode(data []byte) (root *yaml.Node, err error) {
	// The YAML library reports through panics inside, and a few of them are
	// known to have got out on malformed input.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, next yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	switch err := decoder.Decode(&next); {
	case err == nil:
		return nil, secondDocument{next.Line}
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	if len(document.Content) == 0 || isNull(document.Content[0]) {
		return nil, nil
	}
	return document.Content[0], nil
}

// isNull tells a value that was left out, or written as null or ~.
func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// pipeline reads the five stages. They are executed in Cyclone's order
// whatever their order in the file.
func (p *parser) pipeline(root *yaml.Node) *cyclone.Pipeline {
	out := &cyclone.Pipeline{}
	file, ok := value{p: p, node: root}.block("the five stages pre_build, build, integration, post_build and deploy")
	if !ok {
		return out
	}
	for _, v := range file.keys {
		switch cyclone.Stage(v.name) {
		case cyclone.StagePreBuild:
			out.PreBuild = p.steps(v, rolePreBuild)
		case cyclone.StageBuild:
			out.Build = p.builds(v)
		case cyclone.StageIntegration:
			out.Integration = p.integration(v)
		case cyclone.StagePostBuild:
			out.PostBuild = p.steps(v, rolePostBuild)
		case cyclone.StageDeploy:
			out.Deploy = p.targets(v)
			p.deploy = v
		default:
			v.unknown(inFile, stageNames)
		}
	}
	p.checkBuilt(out)
	p.checkSecretive()
	return out
}

// stageNames are the keys of the file.
var stageNames = []string{
	string(cyclone.StagePreBuild), string(cyclone.StageBuild), string(cyclone.StageIntegration),
	string(cyclone.StagePostBuild), string(cyclone.StageDeploy),
}
