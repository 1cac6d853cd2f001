package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"cyclone/pkg/manifest"
)

func (a *app) fmtCommand() *cobra.Command {
	var write, check bool
	c := &cobra.Command{
		Use: "fmt [FILE...]", Short: "Bring caicloud.yml into its canonical form; needs no server", Args: cobra.ArbitraryArgs,
		Long: "Print caicloud.yml, the file that is named, or standard input for -, in canonical form:\n" +
			"two spaces a level, lists indented below their key, at most one blank line in a row.\n" +
			"Order, comments, anchors, quotes and every value stay as they are. A file that is not\n" +
			"YAML is refused with the place (exit code 1); what its keys mean is for lint to check.",
	}
	c.Flags().BoolVarP(&write, "write", "w", false, "write the file in place and print only its name, when that changes it")
	c.Flags().BoolVarP(&check, "check", "d", false, "print the differences; exit code 1 when there are some")
	c.RunE = a.does(func(_ *cobra.Command, names []string) error {
		if len(names) == 0 {
			names = []string{defaultFile}
		}
		switch {
		case write && check:
			return usage("--write and --check cannot both be given")
		case len(names) > 1 && !write && !check:
			return usage("several files need --write or --check")
		}
		failed := false
		for _, name := range names {
			fine, err := a.format(name, write, check)
			if err != nil {
				return err
			}
			failed = failed || !fine
		}
		if failed {
			return errSilent
		}
		return nil
	})
	return c
}

// format brings one file in order. It reports whether the file is fine.
func (a *app) format(name string, write, check bool) (bool, error) {
	data, err := a.readSource(name)
	if err != nil {
		return false, err
	}
	out, problems := manifest.Canonical(data)
	if manifest.Errors(problems) > 0 {
		for _, p := range problems {
			_, _ = fmt.Fprintln(a.err, problem(name, p, data, a.colours(a.err))) // there is nowhere else to say it
		}
		return false, nil
	}
	changed := !bytes.Equal(data, out)
	switch {
	case check && changed:
		return false, a.printf("%s", differences(name, data, out, a.colours(a.out)))
	case check:
	case write && name != "-":
		if !changed {
			return true, nil
		}
		if err := overwrite(name, out); err != nil {
			return false, fmt.Errorf("write %s: %w", name, err)
		}
		return true, a.printf("%s\n", name)
	default:
		return true, a.printf("%s", out)
	}
	return true, nil
}
