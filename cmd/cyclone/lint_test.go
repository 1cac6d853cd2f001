package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	valid    = "pre_build:\n  image: golang:1.26\n  commands:\n    - go build ./...\n"
	warned   = "pre_build:\n  image: golang:1.26\n  enviroment:\n    - A=b\n  commands: [ls]\n"
	wrong    = "pre_build:\n  image: golang:1.26\n  comands:\n    - ls\n"
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
	if code != 0 || !strings.Contains(problems, "corrected") {
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
