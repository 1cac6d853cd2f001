package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// document is a JSON object in the making: a file first, flags above it. What
// this program does not know passes through for the server to judge.
type document map[string]any

// document reads a JSON object from a file, "-" for standard input; it is
// empty without a name.
func (a *app) document(name string) (document, error) {
	d := document{}
	if name == "" {
		return d, nil
	}
	data, err := a.readSource(name)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&d); err != nil {
		return nil, usage("%s does not hold a JSON object: %v", name, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, usage("%s holds more than one JSON object", name)
	}
	return d, nil
}

// set puts a value at a path like "repository.url". Where the path goes
// through something that is no object, that is replaced.
func (d document) set(path string, value any) {
	head, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		d[head] = value
		return
	}
	inner, ok := d[head].(map[string]any)
	if !ok {
		inner = map[string]any{}
		d[head] = inner
	}
	document(inner).set(rest, value)
}

// text is the text at a path, "" when there is none.
func (d document) text(path string) string {
	head, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		s, _ := d[head].(string)
		return s
	}
	inner, _ := d[head].(map[string]any)
	return document(inner).text(rest)
}

// fromFlags puts the flags that were given to their paths.
func (d document) fromFlags(cmd *cobra.Command, paths map[string]string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		path, ok := paths[f.Name]
		if !ok {
			return
		}
		switch value := f.Value.(type) {
		case pflag.SliceValue:
			d.set(path, value.GetSlice())
		default:
			d.set(path, plain(f))
		}
	})
}

// plain is a flag's value as JSON knows it.
func plain(f *pflag.Flag) any {
	switch f.Value.Type() {
	case "bool":
		return f.Value.String() == "true"
	case "int", "float64":
		return json.Number(f.Value.String())
	}
	return f.Value.String()
}
