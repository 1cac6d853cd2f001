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

// lintAnswer is what POST /api/v1/lint answers too.
type lintAnswer struct {
	Valid    bool              `json:"valid"`
	Problems []cyclone.Problem `json:"problems"`
}

func (a *app) lintCommand() *cobra.Command {
	var format string
	var fix bool
	c := &cobra.Command{
		Use: "lint FILE", Short: "Check a caicloud.yml; needs no server", Args: named("FILE"),
		Long: "Check a caicloud.yml, or standard input for -. Exit code 0 when there is no error\n" +
			"(warnings are allowed), 1 when there is one. --fix first corrects what can be\ncorrected without guessing, in the file; of standard input it prints the result.",
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	c.Flags().BoolVar(&fix, "fix", false, "correct the file where there is no doubt")
	c.RunE = a.does(func(_ *cobra.Command, args []string) error {
		if format != "text" && format != "json" {
			return usage("--format is text or json, not %q", format)
		}
		data, err := a.readSource(args[0])
		if err != nil {
			return err
		}
		if fix {
			if data, err = a.fix(args[0], data); err != nil {
				return err
			}
		}
		return a.lint(args[0], data, a.json || format == "json", fix && args[0] == "-")
	})
	return c
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
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, manifest.MaxSize+1))
	if err != nil {
		return nil, usage("%s cannot be read: %v", name, errors.Unwrap(err))
	}
	return data, nil
}

// fix writes the corrected text to where it came from.
func (a *app) fix(name string, data []byte) ([]byte, error) {
	fixed, changed := manifest.Fix(data)
	if name == "-" {
		return fixed, a.printf("%s", fixed)
	}
	if !changed {
		return data, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("correct %s: %w", name, err)
	}
	if err := os.WriteFile(name, fixed, info.Mode().Perm()); err != nil {
		return nil, fmt.Errorf("correct %s: %w", name, err)
	}
	_, _ = fmt.Fprintf(a.err, "%s: corrected\n", name) // only for information
	return fixed, nil
}

// lint prints the problems: on the side when the corrected file was printed.
func (a *app) lint(name string, data []byte, asJSON, aside bool) error {
	out := *a
	if aside {
		out.out = a.err
	}
	_, problems := manifest.Parse(data)
	wrong := manifest.Errors(problems)
	if asJSON {
		if err := out.printJSON(lintAnswer{wrong == 0, append([]cyclone.Problem{}, problems...)}); err != nil {
			return err
		}
	} else if err := out.showProblems(name, data, problems); err != nil {
		return err
	}
	if wrong > 0 {
		return errSilent
	}
	return nil
}

func (a *app) showProblems(name string, data []byte, problems []cyclone.Problem) error {
	for _, p := range problems {
		if err := a.printf("%s\n", manifest.Format(name, p, data)); err != nil {
			return err
		}
	}
	wrong := manifest.Errors(problems)
	switch {
	case wrong > 0:
		return a.printf("%s: %d errors, %d warnings\n", name, wrong, len(problems)-wrong)
	case len(problems) > 0:
		return a.printf("%s: valid, %d warnings\n", name, len(problems))
	}
	return a.printf("%s: valid\n", name)
}
