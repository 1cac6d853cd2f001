package main

import (
	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) cacheCommand() *cobra.Command {
	c := &cobra.Command{Use: "cache", Short: "Show and clear what nodes keep between a project's events", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.cacheShow(), a.cacheClear())
	return c
}

func (a *app) cacheShow() *cobra.Command {
	var page cyclone.Page
	c := &cobra.Command{Use: "show PROJECT", Short: "Show what nodes keep between a project's events", Args: named("PROJECT")}
	pageFlags(c, &page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		list, err := c.Cache(cmd.Context(), args[0], page)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(list)
		}
		err = printList(a, list.List, "NODE KIND SIZE LAST-USED IN-USE", func(i *client.NodeCache) []string {
			use := "no"
			if i.InUse {
				use = "yes"
			}
			return []string{i.Node, string(i.Kind), space(cyclone.Size(i.Size)), clock(i.UsedAt), use}
		})
		if err != nil {
			return err
		}
		return a.printf("\n%s in all\n", space(cyclone.Size(list.Size)))
	})
	return c
}

func (a *app) cacheClear() *cobra.Command {
	c := &cobra.Command{
		Use: "clear PROJECT", Short: "Have all nodes forget what they keep between a project's events", Args: named("PROJECT"),
		Long: "Have all nodes forget what they keep between a project's events: paths of `cache`,\nimages and layers. Events that run go on with it; those that start from now on\nbegin with nothing.",
	}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		return c.ClearCache(cmd.Context(), args[0])
	})
	return c
}
