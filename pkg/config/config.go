// Package config reads a program's settings from flags and environment
// variables that have the same names: --smtp-host and CYCLONE_SMTP_HOST, where
// the flag wins. Every wrong value is collected and reported at once, so that
// an operator corrects all of them in one go.
//
// It knows no setting of its own and reads no file.
package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"cyclone/pkg/cyclone"
)

// ErrHelp is returned by Parse when --help was asked for; it has been printed.
var ErrHelp = flag.ErrHelp

// Set is the settings of one program.
type Set struct {
	// Program is named in --help.
	Program string
	// Lookup reads an environment variable; os.LookupEnv in a program.
	Lookup func(string) (string, bool)

	settings []*setting
	checks   []func() error
}

// setting is one value: its raw text, where that came from, and how it is read.
type setting struct {
	name, fallback, usage string
	raw                   string
	given                 bool
	read                  func(string) error
}

func (s *setting) String() string { return s.raw }

// Set keeps the flag's text; it is read when all flags are known.
func (s *setting) Set(text string) error {
	s.raw, s.given = text, true
	return nil
}

// variable is the name of the setting's environment variable.
func (s *setting) variable() string {
	return "CYCLONE_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// Var adds a setting that read turns from text into a value. The fallback is
// read too, so that defaults are checked like everything else; an empty one is
// not read.
func (s *Set) Var(name, fallback, usage string, read func(string) error) {
	s.settings = append(s.settings, &setting{name: name, fallback: fallback, usage: usage, read: read})
}

// Text adds a setting that is any text.
func (s *Set) Text(to *string, name, fallback, usage string) {
	s.Var(name, fallback, usage, func(text string) error { *to = text; return nil })
}

// Secret adds a text without a default, whose value is never quoted in an error.
func (s *Set) Secret(to *string, name, usage string) {
	s.Text(to, name, "", usage)
}

// List adds a setting of several texts with commas between them.
func (s *Set) List(to *[]string, name, usage string) {
	s.Var(name, "", usage+" (several: with commas)", func(text string) error {
		*to = nil
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*to = append(*to, part)
			}
		}
		return nil
	})
}

// Int adds a whole number of at least least.
func (s *Set) Int(to *int, name string, fallback, least int, usage string) {
	s.Var(name, strconv.Itoa(fallback), usage, func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least {
			return fmt.Errorf("%q is not a whole number of at least %d", text, least)
		}
		*to = n
		return nil
	})
}

// Number adds a number of at least 0, such as 1.5.
func (s *Set) Number(to *float64, name, usage string) {
	s.Var(name, "", usage, func(text string) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) {
			return fmt.Errorf("%q is not a number of at least 0", text)
		}
		*to = n
		return nil
	})
}

// Choice adds a setting that is one of a few words; the first is the default.
func (s *Set) Choice(to *string, name, usage string, words ...string) {
	s.Var(name, words[0], usage+" ("+strings.Join(words, ", ")+")", func(text string) error {
		for _, w := range words {
			if text == w {
				*to = text
				return nil
			}
		}
		return fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
	})
}

// Duration adds a time span such as 90s, 10m or 1h30m.
func (s *Set) Duration(to *cyclone.Duration, name, fallback, usage string) {
	s.Var(name, fallback, usage, func(text string) (err error) {
		*to, err = cyclone.ParseDuration(text)
		return err
	})
}

// Size adds an amount of bytes such as 512m or 2g.
func (s *Set) Size(to *cyclone.Size, name, fallback, usage string) {
	s.Var(name, fallback, usage, func(text string) (err error) {
		*to, err = cyclone.ParseSize(text)
		return err
	})
}

// Check adds a condition between settings, tested when all could be read.
func (s *Set) Check(check func() error) { s.checks = append(s.checks, check) }

// Parse reads flags and environment. Its error names every wrong value; for
// --help it prints to out and returns ErrHelp.
func (s *Set) Parse(args []string, out io.Writer) error {
	flags := flag.NewFlagSet(s.Program, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, v := range s.settings {
		flags.Var(v, v.name, v.usage)
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return errors.Join(ErrHelp, s.help(out))
		}
		return fmt.Errorf("%w; see %s --help", err, s.Program)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see %s --help", flags.Arg(0), s.Program)
	}
	var wrong []error
	for _, v := range s.settings {
		wrong = append(wrong, s.readOne(v))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	for _, check := range s.checks {
		wrong = append(wrong, check())
	}
	return errors.Join(wrong...)
}

func (s *Set) readOne(v *setting) error {
	source := "--" + v.name
	if !v.given {
		source = v.variable()
		if text, ok := s.Lookup(source); ok && text != "" {
			v.raw = text
		} else {
			v.raw = v.fallback
		}
	}
	if v.raw == "" {
		return nil
	}
	if err := v.read(v.raw); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}

func (s *Set) help(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintf(t, "usage: %s [flags]\n\nflag\tenvironment\tdefault\tmeaning\n", s.Program) // Flush reports
	for _, v := range s.settings {
		fallback := v.fallback
		if fallback == "" {
			fallback = "-"
		}
		_, _ = fmt.Fprintf(t, "--%s\t%s\t%s\t%s\n", v.name, v.variable(), fallback, v.usage) // as above
	}
	return t.Flush()
}
