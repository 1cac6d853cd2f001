package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) secretCommand() *cobra.Command {
	c := &cobra.Command{Use: "secret", Short: "Set, list and delete a project's secrets", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.secretSet(), a.secretList(), a.secretDelete())
	return c
}

func (a *app) secretSet() *cobra.Command {
	var file string
	var events []string
	var visible bool
	c := &cobra.Command{
		Use: "set PROJECT NAME", Short: "Store a secret, over one of the same name", Args: named("PROJECT", "NAME"),
		Long: "Store a secret, over one of the same name. The value is read from standard input\nor from --file; of standard input one line end at the end is left out. It is\nnever shown again.",
		Example: "  cyclone secret set orders DB_PASSWORD < password.txt\n" +
			"  cyclone secret set orders DEPLOY_KEY --file id_ed25519",
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "-", "file that holds the value, - for standard input")
	f.StringSliceVar(&events, "event", nil, "kind of event that may see it; may be repeated (default all but pull requests of forks)")
	f.BoolVar(&visible, "no-mask", false, "do not hide it in logs")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		data, err := a.readSource(file)
		if err != nil {
			return err
		}
		value := client.SecretValue{Value: string(data), Masked: !visible}
		if file == "-" {
			value.Value = strings.TrimSuffix(strings.TrimSuffix(value.Value, "\n"), "\r")
		}
		if value.Value == "" {
			return usage("the value is empty; give it on standard input or with --file")
		}
		for _, e := range events {
			value.Events = append(value.Events, cyclone.TriggerKind(e))
		}
		secret, err := c.PutSecret(cmd.Context(), args[0], args[1], value)
		if err != nil || !a.json {
			return err
		}
		return a.printJSON(secret)
	})
	return c
}

func (a *app) secretList() *cobra.Command {
	c := &cobra.Command{Use: "list PROJECT", Short: "List a project's secrets, without values", Args: named("PROJECT")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		list, err := c.Secrets(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printList(a, list, "NAME EVENTS MASKED UPDATED", func(v *cyclone.Secret) []string {
			var kinds []string
			for _, k := range v.Events {
				kinds = append(kinds, string(k))
			}
			if len(kinds) == 0 {
				kinds = []string{"all but forks"}
			}
			return []string{v.Name, strings.Join(kinds, ","), fmt.Sprint(v.Masked), clock(v.UpdatedAt)}
		})
	})
	return c
}

func (a *app) secretDelete() *cobra.Command {
	c := &cobra.Command{Use: "delete PROJECT NAME", Short: "Remove a secret", Args: named("PROJECT", "NAME")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		return c.DeleteSecret(cmd.Context(), args[0], args[1])
	})
	return c
}
