package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

// defaultFile is what lint and fmt look at when no file is named.
const defaultFile = "caicloud.yml"

// lintAnswer is what POST /api/v1/lint answers too.
type lintAnswer struct {
	Valid    bool              `json:"valid"`
	Problems []cyclone.Problem `json:"problems"`
}

// linted is a file and what is wrong with it.
type linted struct {
	name     string
	data     []byte
	problems []cyclone.Problem
}

func (a *app) lintCommand() *cobra.Command {
	var format string
	var fix bool
	c := &cobra.Command{
		Use: "lint [FILE...]", Short: "Check caicloud.yml; needs no server", Args: cobra.ArbitraryArgs,
		Long: "Check caicloud.yml, the files that are named, or standard input for -. Exit code 0\n" +
			"when there is no error (warnings are allowed), 1 when there is one, 2 when a file\n" +
			"cannot be read. --fix first corrects what can be corrected without guessing, in\n" +
			"the file, and says what that was; of standard input it prints the result.",
	}
	c.Flags().StringVar(&format, "format", "text", "text, json (what the API's lint answers) or sarif (2.1.0)")
	c.Flags().BoolVar(&fix, "fix", false, "correct the file where there is no doubt")
	c.RunE = a.does(func(_ *cobra.Command, names []string) error {
		if a.json && format == "text" {
			format = "json"
		}
		show, ok := map[string]func(*app, []linted) error{
			"text": (*app).lintText, "json": (*app).lintJSON, "sarif": (*app).lintSARIF,
		}[format]
		if !ok {
			return usage("--format is text, json or sarif, not %q", format)
		}
		files, aside, err := a.lintAll(names, fix)
		if err != nil {
			return err
		}
		out := *a
		if aside {
			out.out = a.err // the corrected file has been printed
		}
		if err := show(&out, files); err != nil {
			return err
		}
		for _, f := range files {
			if manifest.Errors(f.problems) > 0 {
				return errSilent
			}
		}
		return nil
	})
	return c
}

// lintAll reads the files, corrects them when asked to, and checks them. It
// reports whether a corrected file was printed.
func (a *app) lintAll(names []string, fix bool) (files []linted, printed bool, err error) {
	if len(names) == 0 {
		names = []string{defaultFile}
	}
	for _, name := range names {
		data, err := a.readSource(name)
		if err != nil {
			return nil, false, err
		}
		if fix {
			if data, err = a.fix(name, data); err != nil {
				return nil, false, err
			}
			printed = printed || name == "-"
		}
		_, problems := manifest.Parse(data)
		files = append(files, linted{name, data, problems})
	}
	return files, printed, nil
}

// readSource reads a file, or standard input for "-".
func (a *app) readSource(name string) ([]byte, error) {
	if name == "-" {
		data, err := io.ReadAll(io.LimitReader(a.in, manifest.MaxSize+1))
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return data, nil
	}
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, usage("%s cannot be read: %v", name, errors.Unwrap(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, manifest.MaxSize+1))
	if err != nil {
		return nil, usage("%s cannot be read: %v", name, errors.Unwrap(err))
	}
	return data, nil
}

// fix writes the corrected text to where it came from, and says what changed.
func (a *app) fix(name string, data []byte) ([]byte, error) {
	fixed, changed := manifest.Fix(data)
	if name == "-" {
		return fixed, a.printf("%s", fixed)
	}
	if !changed {
		return data, nil
	}
	if err := overwrite(name, fixed); err != nil {
		return nil, fmt.Errorf("correct %s: %w", name, err)
	}
	for _, what := range corrections(data, fixed) {
		_, _ = fmt.Fprintf(a.err, "%s: corrected: %s\n", name, what) // only for information
	}
	return fixed, nil
}

// overwrite gives a file another content and leaves its mode.
func overwrite(name string, data []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, info.Mode().Perm())
}

// lintText prints problems for people.
func (a *app) lintText(files []linted) error {
	for _, f := range files {
		if err := a.showProblems(f.name, f.data, f.problems); err != nil {
			return err
		}
	}
	return nil
}

// showProblems prints what is wrong with a file, and whether it is valid.
func (a *app) showProblems(name string, data []byte, problems []cyclone.Problem) error {
	coloured := a.colours(a.out)
	for _, p := range problems {
		if err := a.printf("%s\n", problem(name, p, data, coloured)); err != nil {
			return err
		}
	}
	verdict := paint(coloured, colourGreen, "valid")
	wrong := manifest.Errors(problems)
	switch {
	case wrong > 0:
		verdict = paint(coloured, colourRed, several(wrong, "error")+", "+several(len(problems)-wrong, "warning"))
	case len(problems) > 0:
		verdict += ", " + several(len(problems), "warning")
	}
	return a.printf("%s: %s\n", name, verdict)
}

// several is a number of things: "1 error", "2 errors".
func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// lintJSON prints what the API's lint answers; with several files each problem
// names its file.
func (a *app) lintJSON(files []linted) error {
	answer := lintAnswer{Valid: true, Problems: []cyclone.Problem{}}
	for _, f := range files {
		answer.Valid = answer.Valid && manifest.Errors(f.problems) == 0
		for _, p := range f.problems {
			if len(files) > 1 {
				p.File = f.name
			}
			answer.Problems = append(answer.Problems, p)
		}
	}
	return a.printJSON(answer)
}
