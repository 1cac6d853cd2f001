package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const untidy = "pre_build:\n    image:   golang:1.26\n    commands:\n    - go build ./...\n\n\nx-note: a # b\npost_build:\n  image: alpine:3.22\n  commands: [ls]\n  timeout: 1m\n  retries: 2\n  pull:  always\n"

// put writes a file for a command to find.
func put(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "caicloud.yml")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil { //#nosec G306 -- the mode is part of the test
		t.Fatal(err)
	}
	return file
}

func content(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFmt(t *testing.T) {
	none := &api{} // fmt asks no server
	file := put(t, untidy)
	code, tidy, problems := none.cli(t.Context(), "", "fmt", file)
	if code != 0 || problems != "" || !strings.Contains(tidy, "\n  image: golang:1.26\n  commands:\n    - go build ./...\n\nx-note") {
		t.Errorf("exit code %d\n%s%s", code, tidy, problems)
	}
	if code, out, _ := none.cli(t.Context(), untidy, "fmt", "-"); code != 0 || out != tidy {
		t.Errorf("standard input: exit code %d\n%s", code, out)
	}
	if content(t, file) != untidy {
		t.Error("the file is changed without --write")
	}
	for _, flag := range []string{"--check", "-d"} {
		code, out, problems := none.cli(t.Context(), "", "fmt", flag, file)
		if code != 1 || problems != "" {
			t.Errorf("%s: exit code %d, %s", flag, code, problems)
		}
		golden(t, "fmt-check.txt", strings.ReplaceAll(out, file, "caicloud.yml"))
	}
	if code, out, problems := none.cli(t.Context(), "", "fmt", "-w", file); code != 0 || out != file+"\n" || problems != "" {
		t.Errorf("-w: exit code %d, %q %s", code, out, problems)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 || content(t, file) != tidy {
		t.Errorf("%v, %v:\n%s", info.Mode(), err, content(t, file))
	}
	for _, flag := range []string{"--check", "-w"} {
		if code, out, problems := none.cli(t.Context(), "", "fmt", flag, file, file); code != 0 || out+problems != "" {
			t.Errorf("%s of a tidy file: exit code %d, %s%s", flag, code, out, problems)
		}
	}
}

func TestFmtRefuses(t *testing.T) {
	file := put(t, indented)
	code, out, problems := (&api{}).cli(t.Context(), "", "fmt", "-w", file)
	if code != 1 || out != "" || !strings.Contains(problems, file+":3:13: pre_build.commands:") || !strings.Contains(problems, "^") {
		t.Errorf("exit code %d\n%s%s", code, out, problems)
	}
	if content(t, file) != indented {
		t.Error("a file that is refused is changed")
	}
	for _, args := range [][]string{{"fmt", "-w", "-d", file}, {"fmt", file, file}, {"fmt", file + ".none"}, {"lint", file + ".none"}, {"lint", "--format", "xml", file}} {
		if code, _, problems := (&api{}).cli(t.Context(), "", args...); code != 2 || problems == "" {
			t.Errorf("%v: exit code %d, %s", args, code, problems)
		}
	}
}

// TestDefaultFile checks the file of the working directory when none is named.
func TestDefaultFile(t *testing.T) {
	t.Chdir(filepath.Dir(put(t, wrong)))
	code, out, _ := (&api{}).cli(t.Context(), "", "lint")
	if code != 1 || !strings.Contains(out, "\ncaicloud.yml:3:3: pre_build.comands: ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, _ := (&api{}).cli(t.Context(), "", "fmt"); code != 0 || out != wrong {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestDifferences walks through two texts that differ far apart.
func TestDifferences(t *testing.T) {
	before := "a:  1\n" + strings.Repeat("b\n", 20) + "\n\nc\n" + strings.Repeat("d\n", 9) + "e: \n"
	after := "a: 1\n" + strings.Repeat("b\n", 20) + "\nc\n" + strings.Repeat("d\n", 9) + "e:\n"
	golden(t, "fmt-differences.txt", differences("f", []byte(before), []byte(after), false))
	coloured := differences("f", []byte("a:  1\n"), []byte("a: 1\n"), true)
	if !strings.Contains(coloured, colourRed+"-a:  1"+colourOff) || !strings.Contains(coloured, colourGreen+"+a: 1"+colourOff) {
		t.Errorf("%q", coloured)
	}
}
