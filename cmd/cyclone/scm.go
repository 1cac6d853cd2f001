package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) scmCommand() *cobra.Command {
	c := &cobra.Command{Use: "scm", Short: "Look at forges, and connect accounts there", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.scmRepositories(), a.scmRefs("branches", (*client.Client).Branches), a.scmRefs("tags", (*client.Client).Tags),
		a.scmLogin(), a.scmAccounts(), a.scmLogout())
	return c
}

func forgeFlags(c *cobra.Command, q *client.ForgeQuery) {
	c.Flags().StringVar(&q.Query, "query", "", "only names that hold this")
	pageFlags(c, &q.Page)
}

func (a *app) scmRepositories() *cobra.Command {
	var q client.ForgeQuery
	c := &cobra.Command{
		Use: "repositories", Short: "List the repositories that a project's credential or an account may see", Args: cobra.NoArgs,
		Example: "  cyclone scm repositories --account github/alice --query orders\n  cyclone scm repositories --project orders",
	}
	c.Flags().StringVar(&q.Project, "project", "", "project whose credential to use")
	c.Flags().StringVar(&q.Account, "account", "", "connected account to use: github/alice")
	c.MarkFlagsMutuallyExclusive("project", "account")
	c.MarkFlagsOneRequired("project", "account")
	forgeFlags(c, &q)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, _ []string) error {
		if q.SCM, _, _ = strings.Cut(q.Account, "/"); q.Project != "" {
			p, err := c.Project(cmd.Context(), q.Project)
			if err != nil {
				return err
			}
			q.SCM = p.Value.Repository.Type
		}
		list, err := c.Repositories(cmd.Context(), q)
		if err != nil {
			return err
		}
		return printList(a, list, "NAME BRANCH PRIVATE PUSH ADMIN URL", func(r *cyclone.RepositoryInfo) []string {
			return []string{r.Name, r.DefaultBranch, fmt.Sprint(r.Private), fmt.Sprint(r.MayPush), fmt.Sprint(r.MayAdmin), r.URL}
		})
	})
	return c
}

// refLister is a call that lists refs.
type refLister func(*client.Client, context.Context, client.ForgeQuery) (client.RefList, error)

// scmRefs makes the commands that list refs.
func (a *app) scmRefs(what string, list refLister) *cobra.Command {
	var q client.ForgeQuery
	c := &cobra.Command{Use: what + " PROJECT", Short: "List the " + what + " of a project's repository", Args: named("PROJECT")}
	forgeFlags(c, &q)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		p, err := c.Project(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		q.Project, q.SCM = args[0], p.Value.Repository.Type
		found, err := list(c, cmd.Context(), q)
		if err != nil {
			return err
		}
		return printList(a, found, "NAME COMMIT", func(r *cyclone.RefInfo) []string { return []string{r.Name, r.Commit} })
	})
	return c
}

func (a *app) scmLogin() *cobra.Command {
	c := &cobra.Command{
		Use: "login github|gitlab", Short: "Connect your account at a forge", Args: named("github or gitlab"),
		Long: "Begin to connect your account at GitHub or GitLab, so that projects can use its\ntoken. Open the address that is printed in your browser within ten minutes.",
	}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		login, err := c.BeginLogin(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(login)
		}
		return a.printf("Open this address in your browser within ten minutes:\n%s\n", oneLine(login.Value.URL))
	})
	return c
}

func (a *app) scmAccounts() *cobra.Command {
	var page cyclone.Page
	c := &cobra.Command{Use: "accounts", Short: "List the accounts that you connected", Args: cobra.NoArgs}
	pageFlags(c, &page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, _ []string) error {
		list, err := c.Accounts(cmd.Context(), page)
		if err != nil {
			return err
		}
		return printList(a, list, "ID OWNER CONNECTED EXPIRES PROBLEM", func(v *cyclone.Account) []string {
			return []string{v.ID, v.Owner, clock(v.CreatedAt), clockOf(v.ExpiresAt), v.Broken}
		})
	})
	return c
}

func (a *app) scmLogout() *cobra.Command {
	c := &cobra.Command{
		Use: "logout ACCOUNT", Short: "Forget a connected account and its token", Args: named("ACCOUNT"),
		Long: "Forget a connected account and its token. The access that you gave can be taken\nback at the forge too, among the authorized applications of your account.",
	}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		return c.DeleteAccount(cmd.Context(), args[0])
	})
	return c
}
