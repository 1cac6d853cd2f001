package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
)

const defaultServer = "http://127.0.0.1:7099"

// app is what all commands share.
type app struct {
	terminal
	getenv  func(string) string
	running bool // a command runs: the command line was understood

	server, token string
	json          bool
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "cyclone",
		Short: "The command line client of a Cyclone CI/CD server",
		Long: `The command line client of a Cyclone CI/CD server.

CYCLONE_SERVER is the server's address (default ` + defaultServer + `; also
https://... and unix:///path/to/server.sock), CYCLONE_TOKEN the token.

Exit codes: 0 done; 1 failed (the event did not succeed, the file has errors);
2 wrong usage; 3 server out of reach; 4 not logged in or not allowed;
5 not found; 6 refused as invalid or in conflict; 130 interrupted.`,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs, RunE: a.group,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", "", "address of the server (CYCLONE_SERVER)")
	flags.StringVar(&a.token, "token", "", "token; better set CYCLONE_TOKEN, which other users do not see")
	flags.BoolVar(&a.json, "json", false, "print the server's own JSON, for programs")
	root.AddCommand(a.projectCommand(), a.eventCommand(), a.logsCommand(), a.artifactCommand(), a.reportCommand(), a.cacheCommand(), a.lintCommand(), a.fmtCommand(),
		a.clusterCommand(), a.secretCommand(), a.scmCommand(), a.deliveryCommand(),
		a.nodeCommand(), a.workerCommand(), a.retentionCommand(), a.runCommand(), a.versionCommand())
	root.InitDefaultCompletionCmd()
	a.adoptCompletion(root)
	return root
}

// adoptCompletion makes cobra's own command behave like ours, and keeps a
// shell out of sight that is not there where this program is supported.
func (a *app) adoptCompletion(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args, c.RunE = cobra.NoArgs, a.group
		for _, shell := range c.Commands() {
			shell.Hidden = shell.Name() == "powershell"
		}
	}
}

// group is a command that only has subcommands.
func (a *app) group(cmd *cobra.Command, _ []string) error {
	if !cmd.HasParent() {
		return cmd.Help()
	}
	return usage("%s needs a command of its own", cmd.CommandPath())
}

// does makes the run function of a command.
func (a *app) does(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.running = true
		return f(cmd, args)
	}
}

// calls makes the run function of a command that talks to the server.
func (a *app) calls(f func(cmd *cobra.Command, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return a.does(func(cmd *cobra.Command, args []string) error {
		server, token := a.server, a.token
		if server == "" {
			server = a.getenv("CYCLONE_SERVER")
		}
		if server == "" {
			server = defaultServer
		}
		if token == "" {
			token = a.getenv("CYCLONE_TOKEN")
		}
		c, err := client.New(server, token)
		if err != nil {
			return usage("%v", err)
		}
		c.Agent = "cyclone/" + version
		return f(cmd, c, args)
	})
}

// named wants exactly these arguments.
func named(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return usage("%s wants %s, not %d arguments", cmd.CommandPath(), strings.Join(names, " and "), len(args))
	}
}

func (a *app) versionCommand() *cobra.Command {
	var local bool
	c := &cobra.Command{Use: "version", Short: "Show the versions of this program and of the server", Args: cobra.NoArgs}
	c.Flags().BoolVar(&local, "client", false, "ask no server")
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		own := map[string]any{"version": version, "commit": commit}
		if local {
			if a.json {
				return a.printJSON(map[string]any{"client": own})
			}
			return a.printf("client  %s (%s)\n", version, commit)
		}
		return a.calls(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			server, err := c.Version(cmd.Context())
			if a.json && err == nil {
				return a.printJSON(map[string]any{"client": own, "server": server})
			}
			if !a.json {
				err = errors.Join(a.printf("client  %s (%s)\n", version, commit), err)
			}
			if err != nil {
				return err
			}
			return a.printf("server  %s (%s)\n", oneLine(fmt.Sprint(server.Value["version"])), oneLine(fmt.Sprint(server.Value["commit"])))
		})(cmd, args)
	})
	return c
}
