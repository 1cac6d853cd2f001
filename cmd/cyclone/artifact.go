package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) artifactCommand() *cobra.Command {
	c := &cobra.Command{Use: "artifact", Short: "List and download what an event's steps left", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.artifactList(), a.artifactGet())
	return c
}

func (a *app) artifactList() *cobra.Command {
	var page cyclone.Page
	c := &cobra.Command{Use: "list EVENT", Short: "List an event's artifacts by path", Args: named("EVENT")}
	pageFlags(c, &page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		list, err := c.Artifacts(cmd.Context(), cyclone.EventID(args[0]), page)
		if err != nil {
			return err
		}
		return printList(a, list, "PATH SIZE STEP CREATED", func(i *client.Artifact) []string {
			return []string{i.Path, space(cyclone.Size(i.Size)), place(cyclone.TestCase{Stage: i.Stage, Step: i.Step}), clock(i.CreatedAt)}
		})
	})
	return c
}

// fetch is one call of artifact get.
type fetch struct {
	*app
	client *client.Client
	event  cyclone.EventID
	output string // a folder, a file, or - for standard output
	all    bool
	force  bool
}

func (a *app) artifactGet() *cobra.Command {
	g := fetch{app: a}
	c := &cobra.Command{
		Use: "get EVENT [PATH...]", Short: "Download artifacts", Args: cobra.ArbitraryArgs,
		Long: "Download artifacts into the folder -o (default: here), each to its own path below it.\n" +
			"With a single PATH, -o may also be the name of a file, or - for standard output.\n" +
			"A file that is there already is left alone unless --force is given.",
		Example: "  cyclone artifact get 01jd9x3v7k6m bin/orders -o orders\n  cyclone artifact get 01jd9x3v7k6m --all -o out",
	}
	c.Flags().StringVarP(&g.output, "output", "o", ".", "folder, file (with one PATH) or - for standard output")
	c.Flags().BoolVar(&g.all, "all", false, "all artifacts of the event")
	c.Flags().BoolVar(&g.force, "force", false, "replace files that are there already")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		if err := g.check(args); err != nil {
			return err
		}
		g.client, g.event = c, cyclone.EventID(args[0])
		return g.run(cmd.Context(), args[1:])
	})
	return c
}

// check refuses arguments that do not fit together.
func (g *fetch) check(args []string) error {
	switch {
	case len(args) == 0:
		return usage("cyclone artifact get wants EVENT and the PATH of an artifact")
	case len(args) == 1 && !g.all:
		return usage("give the PATH of an artifact, or --all")
	case len(args) > 1 && g.all:
		return usage("give either PATH or --all")
	case g.output == "":
		return usage("-o is empty")
	case g.output == "-" && len(args) != 2:
		return usage("only a single PATH can go to standard output")
	}
	return nil
}

func (g *fetch) run(ctx context.Context, paths []string) error {
	if g.output == "-" {
		return g.client.Artifact(ctx, g.event, paths[0], g.out)
	}
	if g.all {
		var err error
		if paths, err = g.everything(ctx); err != nil {
			return err
		}
	}
	// What comes from the server must not lead anywhere else.
	for _, p := range paths {
		if !cyclone.ValidFilePath(p) || !filepath.IsLocal(filepath.FromSlash(p)) {
			return usage("%q cannot be the path of an artifact", p)
		}
	}
	folder, names := g.output, paths
	if g.toFile(paths) {
		folder, names = filepath.Dir(g.output), []string{filepath.Base(g.output)}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //#nosec G301 -- a folder like any other of the user's
		return fmt.Errorf("make folder: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = root.Close() }() // it is only a place
	return g.save(ctx, root, folder, paths, names)
}

// toFile reports whether -o names a file.
func (g *fetch) toFile(paths []string) bool {
	if g.all || len(paths) != 1 || os.IsPathSeparator(g.output[len(g.output)-1]) {
		return false
	}
	info, err := os.Stat(g.output)
	return err != nil || !info.IsDir()
}

// everything lists the paths of all artifacts.
func (g *fetch) everything(ctx context.Context) ([]string, error) {
	var paths []string
	page := cyclone.Page{Limit: 200}
	for {
		list, err := g.client.Artifacts(ctx, g.event, page)
		if err != nil {
			return nil, err
		}
		for _, o := range list.Items {
			paths = append(paths, o.Value.Path)
		}
		if page.Cursor = list.Next; page.Cursor == "" {
			return paths, nil
		}
	}
}

// saved is a downloaded artifact, as --json prints it.
type saved struct {
	Path string `json:"path"`
	File string `json:"file"`
}

// save downloads artifacts to names below a folder. What is in the way is
// found before anything is downloaded.
func (g *fetch) save(ctx context.Context, root *os.Root, folder string, paths, names []string) error {
	for _, name := range names {
		if _, err := root.Lstat(name); err == nil && !g.force {
			return cyclone.Conflict("%s is there already; --force replaces it", filepath.Join(folder, name))
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for %s: %w", filepath.Join(folder, name), err)
		}
	}
	done := []saved{}
	for i, name := range names {
		if err := g.download(ctx, root, paths[i], name); err != nil {
			return err
		}
		file := filepath.Join(folder, filepath.FromSlash(name))
		done = append(done, saved{paths[i], file})
		if !g.json {
			if err := g.printf("%s\n", oneLine(file)); err != nil {
				return err
			}
		}
	}
	if g.json {
		return g.printJSON(map[string]any{"items": done})
	}
	return nil
}

// download fetches one artifact. It appears under its name when it is whole.
func (g *fetch) download(ctx context.Context, root *os.Root, from, name string) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil { //#nosec G301 -- as above
		return fmt.Errorf("make folder of %s: %w", name, err)
	}
	part := path.Join(path.Dir(name), ".cyclone-download.part")
	if err := root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an earlier download left: %w", err)
	}
	file, err := root.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644) //#nosec G302 -- as above
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	err = errors.Join(g.client.Artifact(ctx, g.event, from, file), file.Close())
	if err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		_ = root.Remove(part) // a second failure adds nothing to the first
		return fmt.Errorf("download %s: %w", from, err)
	}
	return nil
}
