// Package manifest reads caicloud.yml: bytes in, a cyclone.Pipeline out,
// together with everything that is wrong with the file, each problem with its
// line, column, key and advice.
//
//	pipeline, problems := manifest.Parse(data)
//
// Parse judges a file on its own (lint). Before a run, Expand reads the same
// bytes again with the run's variables in place of ${NAME}, so that a path or
// an image that is only known now passes the same checks. Trusted lists what
// a pipeline asks for that only trusted projects may have, Format writes a
// problem for people, and Fix repairs what can be repaired mechanically.
//
// It is not the place where anything is run, where files of the repository
// are looked at, or where it is decided which stages an event runs.
package manifest

import (
	"cmp"
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// Bounds on a file. What goes beyond them is refused with a problem.
const (
	// MaxSize is the most bytes a caicloud.yml may have.
	MaxSize = 1 << 20
	// maxValues is the most values it may have with every alias written out.
	maxValues = 20_000
	// maxDepth is how deep values may nest, aliases written out.
	maxDepth = 40
	// maxProblems is the most problems that are listed.
	maxProblems = 200
)

// Values is what ${NAME} may stand for in one event.
type Values struct {
	// Variables are known everywhere: those of every step (CYCLONE_BRANCH, ...)
	// with the project's and the event's own over them.
	Variables map[string]string
	// Secrets are the project's secrets that the event may see, by the
	// secret's name. A step knows those that its own `secrets` names, under
	// the variables given there. A reference to a secret that is not here is
	// left as written: whoever runs the step refuses it anyway.
	Secrets map[string]string
}

// Parse reads a caicloud.yml. The problems are sorted by line and column; the
// pipeline is nil when one of them is an error. References such as ${NAME}
// are checked for form and left as written; see Expand.
func Parse(data []byte) (*cyclone.Pipeline, []cyclone.Problem) {
	return read(data, nil)
}

// Expand is Parse with ${NAME} replaced in image, environment values,
// auth_config and the fields of build and deploy, and $$ by a dollar; it is
// called once per event, before anything is run. A name that is neither in
// values.Variables nor a variable of the step's own secrets is an error.
// Commands are never touched.
func Expand(data []byte, values Values) (*cyclone.Pipeline, []cyclone.Problem) {
	return read(data, &values)
}

// Errors counts the problems that are errors.
func Errors(problems []cyclone.Problem) int {
	n := 0
	for _, p := range problems {
		if p.Severity == cyclone.SeverityError {
			n++
		}
	}
	return n
}

// parser collects what is wrong while a file is read.
type parser struct {
	values    *Values           // nil: references are checked, not replaced
	secrets   map[string]string // of the step that is being read: variable -> secret
	built     []builtRef        // uses of the built image, checked at the end
	deploy    value             // the stage, to report what it lacks at
	words     []respelling      // what Fix may write differently
	role      role              // of the step that is being read; 0 for a build
	secretive []suspect         // variables that seem to hold secrets, looked at at the end
	problems  []cyclone.Problem
}

// read is Parse, or Expand when values are given.
func read(data []byte, values *Values) (*cyclone.Pipeline, []cyclone.Problem) {
	p := &parser{values: values}
	var pipeline *cyclone.Pipeline
	if root, ok := p.load(data); ok {
		pipeline = p.pipeline(root)
	}
	problems := sorted(p.problems)
	if Errors(problems) > 0 {
		return nil, problems
	}
	return pipeline, problems
}

// report adds a problem at a node.
func (p *parser) report(at *yaml.Node, problem cyclone.Problem) {
	problem.Line, problem.Column = max(at.Line, 1), max(at.Column, 1)
	p.problems = append(p.problems, problem)
}

// sorted orders problems by place, drops those that a shared anchor made
// appear more than once, and cuts a list that nobody would read.
func sorted(problems []cyclone.Problem) []cyclone.Problem {
	slices.SortStableFunc(problems, func(a, b cyclone.Problem) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column, cmp.Compare(a.Path, b.Path))
	})
	type place struct {
		line, column int
		message      string
	}
	seen, out := map[place]bool{}, []cyclone.Problem{}
	for _, p := range problems {
		if at := (place{p.Line, p.Column, p.Message}); !seen[at] {
			seen[at] = true
			out = append(out, p)
		}
	}
	return cut(out)
}

// cut keeps the first maxProblems. Errors must not vanish behind warnings, so
// the line that stands for the rest is as severe as the worst of them.
func cut(problems []cyclone.Problem) []cyclone.Problem {
	if len(problems) <= maxProblems {
		return problems
	}
	rest := problems[maxProblems:]
	last := rest[0]
	last.Severity = cyclone.SeverityWarning
	if Errors(rest) > 0 {
		last.Severity = cyclone.SeverityError
	}
	last.Message, last.Hint = fmt.Sprintf("%d more problems from here on are not listed", len(rest)), "solve those above first"
	return append(problems[:maxProblems:maxProblems], last)
}
