package main

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cyclone/pkg/manifest"
)

// TestLintSARIF holds the output to what SARIF 2.1.0 demands of a log.
func TestLintSARIF(t *testing.T) {
	bad, good := put(t, wrong), put(t, warned)
	code, out, problems := (&api{}).cli(t.Context(), "", "lint", "--format", "sarif", bad, good)
	if code != 1 || problems != "" {
		t.Fatalf("exit code %d, %s", code, problems)
	}
	var log sarifLog
	if err := json.Unmarshal([]byte(out), &log); err != nil {
		t.Fatal(err)
	}
	checkSARIF(t, log)
	results := log.Runs[0].Results
	if len(results) != 3 || results[1].RuleID != "unknown-key" || results[1].Level != "error" {
		t.Fatalf("%+v", results)
	}
	want := sarifRegion{StartLine: 3, StartColumn: 3}
	at := results[1].Locations[0]
	if at.Physical.Region != want || at.Logical[0].FullName != "pre_build.comands" || !strings.Contains(results[1].Message.Text, `did you mean "commands"?`) {
		t.Errorf("%+v", results[1])
	}
	// Two files, each under its own name.
	if other := results[2].Locations[0].Physical.Artifact.URI; at.Physical.Artifact.URI != bad || other != good {
		t.Errorf("%s and %s, not %s and %s", at.Physical.Artifact.URI, other, bad, good)
	}
	code, out, _ = (&api{}).cli(t.Context(), valid, "lint", "--format", "sarif", "-")
	if code != 0 || !strings.Contains(out, `"results": []`) {
		t.Errorf("exit code %d, %s", code, out)
	}
}

func checkSARIF(t *testing.T, log sarifLog) {
	t.Helper()
	if log.Version != "2.1.0" || !strings.HasSuffix(log.Schema, "sarif-schema-2.1.0.json") || len(log.Runs) != 1 {
		t.Fatalf("%s %s, %d runs", log.Version, log.Schema, len(log.Runs))
	}
	run := log.Runs[0]
	if run.Tool.Driver.Name == "" || run.ColumnKind != "unicodeCodePoints" {
		t.Errorf("%+v", run)
	}
	level := map[string]bool{"error": true, "warning": true}
	ids := map[string]bool{}
	for _, r := range run.Tool.Driver.Rules {
		if r.ID == "" || ids[r.ID] || r.Short.Text == "" || !level[r.Default.Level] {
			t.Errorf("the rule %+v", r)
		}
		ids[r.ID] = true
	}
	for _, r := range run.Results {
		if r.RuleIndex >= len(run.Tool.Driver.Rules) || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || !level[r.Level] || r.Message.Text == "" || len(r.Locations) != 1 {
			t.Errorf("the result %+v", r)
			continue
		}
		p := r.Locations[0].Physical
		if u, err := url.Parse(p.Artifact.URI); err != nil || u.Path == "" || p.Region.StartLine < 1 || p.Region.StartColumn < 1 {
			t.Errorf("the place %+v", p)
		}
	}
}

// TestEveryRuleIsMet finds each rule, and the words it goes by, among the
// problems of the files that are known to be bad or doubtful: words that no
// message has any more would be met by none.
func TestEveryRuleIsMet(t *testing.T) {
	files, err := filepath.Glob("../../pkg/manifest/testdata/*/*.yml")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	met, messages := map[string]bool{}, ""
	files = append(files, filepath.Join(t.TempDir(), "version.yml"))
	if err := os.WriteFile(files[len(files)-1], []byte("%YAML 9.9\n---\na: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, problems := manifest.Parse(data)
		for _, p := range problems {
			r := sarifOf(file, p)
			met[r.RuleID] = true
			messages += p.Message + "\n"
			if string(lintRules[r.RuleIndex].severity) != r.Level && r.RuleID != "unknown-name" && r.RuleID != "duplicate" {
				t.Errorf("%s: %+v is taken for %s", file, p, r.RuleID)
			}
		}
	}
	for _, r := range lintRules {
		if !met[r.id] {
			t.Errorf("no problem belongs to %s", r.id)
		}
		for _, words := range r.says {
			if !strings.Contains(messages, words) {
				t.Errorf("no message has the words %q of %s", words, r.id)
			}
		}
	}
}
