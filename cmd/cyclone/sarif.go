package main

import (
	"net/url"
	"path/filepath"
	"strings"

	"cyclone/pkg/cyclone"
)

// SARIF 2.1.0, as far as a list of problems needs it.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string    `json:"id"`
		Short   sarifText `json:"shortDescription"`
		Default struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
	}
	sarifLogical struct {
		FullName string `json:"fullyQualifiedName"`
	}
)

// lintRules are the kinds of problems that tools may want to tell apart. A
// problem belongs to the first whose words are in its message.
var lintRules = []struct {
	id, what string
	severity cyclone.Severity
	says     []string
}{
	{"credential-in-clear-text", "A credential stands in the file in clear text.", cyclone.SeverityWarning, []string{"in clear text", "unencrypted connection", "can be read by everybody"}},
	{"image-without-tag", "An image has no tag, so what it means can change.", cyclone.SeverityWarning, []string{"has no tag"}},
	{"misspelling", "A misspelling is accepted.", cyclone.SeverityWarning, []string{"is accepted for"}},
	{"unknown-key", "A key is not known, or not in this place.", cyclone.SeverityError, []string{"is not a key of", "names and keys may not be mixed"}},
	{"missing-key", "A key that must be there is missing.", cyclone.SeverityError, []string{"is missing"}},
	{"duplicate", "Something is given more than once.", cyclone.SeverityError, []string{"is already given", "more than once", "is mounted twice", "already has a volume"}},
	{"unknown-name", "A name refers to nothing in the file.", cyclone.SeverityError, []string{"there is no ", "is not a variable"}},
	{"path-leaves", "A path leaves the repository or the source tree.", cyclone.SeverityError, []string{"leaves the", "outside the source tree"}},
	{"syntax", "The file is not YAML as Cyclone reads it.", cyclone.SeverityError, []string{
		"is not YAML", "indented deeper", "line up", "UTF-", "byte order mark", "is not allowed in the file", "stands where", "document",
		"is not closed", `is not "key: value"`, "anchor", "refers to itself", "cannot begin with", "begins with * or &", "nested more than", "has the tag", "merges", "values once its aliases",
	}},
	{"warning", "Something is allowed and probably not meant.", cyclone.SeverityWarning, nil},
	{"value", "A value is not what its key can hold.", cyclone.SeverityError, nil},
}

// ruleOf is the index of the rule that a problem belongs to.
func ruleOf(p cyclone.Problem) int {
	for i, r := range lintRules {
		for _, words := range r.says {
			if strings.Contains(p.Message, words) {
				return i
			}
		}
		if r.says == nil && p.Severity == r.severity {
			return i
		}
	}
	return len(lintRules) - 1
}

// lintSARIF prints problems for tools that show them beside the code.
func (a *app) lintSARIF(files []linted) error {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "cyclone lint", Version: version, Rules: []sarifRule{}}
	for _, r := range lintRules {
		rule := sarifRule{ID: r.id, Short: sarifText{r.what}}
		rule.Default.Level = string(r.severity)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
	}
	for _, f := range files {
		for _, p := range f.problems {
			run.Results = append(run.Results, sarifOf(f.name, p))
		}
	}
	return a.printJSON(sarifLog{
		Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run},
	})
}

// sarifOf is one problem of a file.
func sarifOf(name string, p cyclone.Problem) sarifResult {
	text := p.Message
	if p.Path != "" {
		text = p.Path + ": " + text
	}
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	if name == "-" {
		name = "stdin"
	}
	rule := ruleOf(p)
	location := sarifLocation{Physical: sarifPhysical{
		Artifact: sarifArtifact{(&url.URL{Path: filepath.ToSlash(name)}).String()},
		Region:   sarifRegion{p.Line, p.Column},
	}}
	if p.Path != "" {
		location.Logical = []sarifLogical{{p.Path}}
	}
	return sarifResult{
		RuleID: lintRules[rule].id, RuleIndex: rule, Level: string(p.Severity),
		Message: sarifText{text}, Locations: []sarifLocation{location},
	}
}
