package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cyclone/pkg/manifest"
)

const (
	valid    = "pre_build:\n  image: golang:1.26\n  commands:\n    - go build ./...\n"
	warned   = "pre_build:\n  image: golang:1.26\n  enviroment:\n    - A=b\n  commands: [ls]\n"
	wrong    = "pre_build:\n  image: golang\n  comands:\n    - ls\n"
	indented = "pre_build:\n  image: golang:1.26\n    commands:\n      - ls\n"
)

func TestLint(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		code int
	}{"valid": {valid, 0}, "warned": {warned, 0}, "wrong": {wrong, 1}, "indented": {indented, 1}} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "caicloud.yml")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			none := &api{} // lint asks no server
			code, out, problems := none.cli(t.Context(), "", "lint", file)
			if code != tt.code || problems != "" || !strings.Contains(out, "caicloud.yml") {
				t.Errorf("exit code %d\n%s%s", code, out, problems)
			}
			var answer struct {
				Valid    bool
				Problems []struct{ Line, Column int }
			}
			code, out, _ = none.cli(t.Context(), tt.text, "lint", "--format", "json", "-")
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				t.Fatal(err)
			}
			if code != tt.code || answer.Valid != (tt.code == 0) || (len(answer.Problems) == 0) != (name == "valid") {
				t.Errorf("exit code %d, %s", code, out)
			}
			if again, same, _ := none.cli(t.Context(), tt.text, "lint", "--json", "-"); again != code || same != out {
				t.Errorf("--json differs: %s", same)
			}
		})
	}
}

func TestLintFix(t *testing.T) {
	file := filepath.Join(t.TempDir(), "caicloud.yml")
	if err := os.WriteFile(file, []byte(indented), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, problems := (&api{}).cli(t.Context(), "", "lint", "--fix", file)
	if code != 0 || problems != file+": corrected: lines 3 to 4: indented by 2 less\n" {
		t.Errorf("exit code %d\n%s%s", code, out, problems)
	}
	fixed, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(fixed), "\n  commands:\n") {
		t.Errorf("%s, %v", fixed, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode became %v, %v", info.Mode(), err)
	}
	code, out, _ = (&api{}).cli(t.Context(), indented, "lint", "--fix", "-")
	if code != 0 || out != string(fixed) {
		t.Errorf("standard input: exit code %d, %q", code, out)
	}
}

// TestLintFixLeavesWhatIsRight does not touch a file that needs no correction.
func TestLintFixLeavesWhatIsRight(t *testing.T) {
	file := put(t, strings.ReplaceAll(warned, "enviroment", "environment"))
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o400); err != nil {
		t.Fatal(err)
	}
	code, out, problems := (&api{}).cli(t.Context(), "", "lint", "--fix", file)
	after, err := os.Stat(file)
	if err != nil || code != 0 || problems != "" || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("exit code %d, %v\n%s%s", code, err, out, problems)
	}
}

// TestLintSeveralFiles names the file with each problem.
func TestLintSeveralFiles(t *testing.T) {
	first, second := put(t, wrong), put(t, warned)
	code, out, _ := (&api{}).cli(t.Context(), "", "lint", first, second)
	if code != 1 || !strings.Contains(out, first+":3:3: ") || !strings.Contains(out, second+":3:3: warning: ") ||
		!strings.Contains(out, first+": 1 error, 1 warning\n") || !strings.Contains(out, second+": valid, 1 warning\n") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	var answer lintAnswer
	code, out, _ = (&api{}).cli(t.Context(), "", "lint", "--format", "json", second, first)
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != 1 || answer.Valid {
		t.Fatalf("exit code %d, %v, %s", code, err, out)
	}
	if answer.Problems[0].File != second || answer.Problems[1].File != first {
		t.Errorf("%+v", answer.Problems)
	}
	code, out, _ = (&api{}).cli(t.Context(), "", "lint", "--format", "json", first)
	if code != 1 || strings.Contains(out, `"file"`) {
		t.Errorf("one file: exit code %d, %s", code, out)
	}
}

func TestCorrections(t *testing.T) {
	for _, tt := range []struct{ before, after, want string }{
		{"\xef\xbb\xbfa: 1\n", "a: 1\n", "removed the byte order mark"},
		{"a: 1\n    b: 2\n\n    c: 3\n\nd:\n", "a: 1\nb: 2\n\nc: 3\n\nd:\n", "lines 2 to 4: indented by 4 less"},
		{"a: 1\n  b: 2\n    c: 3\n", "a: 1\nb: 2\nc: 3\n", "line 2: indented by 2 less; line 3: indented by 4 less"},
		{"enviroment: []\n", "environment: []\n", `line 1: "enviroment: []" became "environment: []"`},
		{"a:\n\tb: 1\n\tc: 2\nd: 3\n", "a:\n  b: 1\n  c: 2\nd: 3\n", "lines 2 to 3: tabs became spaces"},
		{"a: 1\r\n  b: 2\r\n", "a: 1\nb: 2\n", "line ends of Windows became plain ones; line 2: indented by 2 less"},
		{"a\nb\n", "a\n", "the lines were put in order"},
	} {
		if got := strings.Join(corrections([]byte(tt.before), []byte(tt.after)), "; "); got != tt.want {
			t.Errorf("%q to %q: %s", tt.before, tt.after, got)
		}
	}
}

// TestColours colours only for a terminal that is to have it.
func TestColours(t *testing.T) {
	env := map[string]string{}
	a := &app{getenv: func(name string) string { return env[name] }}
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as terminals are
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }() // nothing was written
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // nothing was written
	if !a.colours(terminal) || a.colours(file) || a.colours(&strings.Builder{}) {
		t.Error("colours are not for terminals only")
	}
	for name, value := range map[string]string{"NO_COLOR": "1", "TERM": "dumb"} {
		if env[name] = value; a.colours(terminal) {
			t.Errorf("%s=%s is not heeded", name, value)
		}
		delete(env, name)
	}
	_, problems := manifest.Parse([]byte(wrong))
	last := problems[len(problems)-1]
	plain, coloured := problem("f", last, []byte(wrong), false), problem("f", last, []byte(wrong), true)
	for _, c := range []string{colourBold, colourRed, colourFaint, colourOff} {
		if !strings.Contains(coloured, c) || strings.Contains(plain, c) {
			t.Errorf("%q, %q", plain, coloured)
		}
	}
	for _, c := range []string{colourBold, colourRed, colourFaint, colourOff} {
		coloured = strings.ReplaceAll(coloured, c, "")
	}
	if coloured != plain {
		t.Errorf("the text is changed: %q, %q", plain, coloured)
	}
}
