package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) clusterCommand() *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Create, list, show, check and delete deployment targets", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.clusterCreate(), a.clusterList(), a.clusterShow(), a.clusterCheck(), a.clusterDelete())
	return c
}

func (a *app) clusterCreate() *cobra.Command {
	var file, tokenFile, caFile string
	c := &cobra.Command{
		Use: "create [NAME]", Short: "Register a deployment target", Args: cobra.MaximumNArgs(1),
		Long: "Register a deployment target. The token comes from --token-file, from the JSON\nof --file, or from standard input (--token-file -); it is never shown again.",
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "JSON to begin with, - for standard input; flags win")
	f.String("description", "", "what it is, for people")
	f.String("host", "", "address of the Kubernetes API server: https://10.0.0.1:6443")
	f.StringVar(&tokenFile, "token-file", "", "file with the token of a service account, - for standard input")
	f.StringVar(&caFile, "ca-file", "", "file with the certificate authority in PEM")
	f.StringSlice("namespace", nil, "namespace that may be deployed to; may be repeated (default all)")
	f.StringSlice("project", nil, "project that may use it; may be repeated (default all)")
	f.Bool("insecure", false, "do not check the server's certificate")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		d, err := a.document(file)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			d["name"] = args[0]
		}
		d.fromFlags(cmd, map[string]string{"description": "description", "host": "host", "namespace": "namespaces", "project": "projects", "insecure": "insecure"})
		for key, name := range map[string]string{"token": tokenFile, "ca": caFile} {
			if name == "" {
				continue
			}
			data, err := a.readSource(name)
			if err != nil {
				return err
			}
			d[key] = strings.TrimSpace(string(data))
		}
		cluster, err := c.CreateCluster(cmd.Context(), d)
		if err != nil {
			return err
		}
		return a.showCluster(cluster)
	})
	return c
}

func (a *app) clusterList() *cobra.Command {
	var page cyclone.Page
	c := &cobra.Command{Use: "list", Short: "List deployment targets", Args: cobra.NoArgs}
	pageFlags(c, &page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, _ []string) error {
		list, err := c.Clusters(cmd.Context(), page)
		if err != nil {
			return err
		}
		return printList(a, list, "NAME HOST NAMESPACES PROJECTS DESCRIPTION", func(v *cyclone.Cluster) []string {
			return []string{string(v.Name), v.Host, orAll(v.Namespaces), orAll(v.Projects), v.Description}
		})
	})
	return c
}

func orAll(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ",")
}

func (a *app) clusterShow() *cobra.Command {
	c := &cobra.Command{Use: "show CLUSTER", Short: "Show a deployment target", Args: named("CLUSTER")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		cluster, err := c.Cluster(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return a.showCluster(cluster)
	})
	return c
}

func (a *app) showCluster(o client.Object[cyclone.Cluster]) error {
	if a.json {
		return a.printJSON(o)
	}
	v := o.Value
	return a.facts("Name", string(v.Name), "Description", v.Description, "Host", v.Host, "Namespaces", orAll(v.Namespaces),
		"Projects", orAll(v.Projects), "Insecure", fmt.Sprint(v.Insecure), "Created", clock(v.CreatedAt), "Updated", clock(v.UpdatedAt))
}

func (a *app) clusterCheck() *cobra.Command {
	c := &cobra.Command{
		Use: "check CLUSTER", Short: "Ask a deployment target whether it answers", Args: named("CLUSTER"),
		Long: "Have the server ask a deployment target whether it answers and takes the token.\nExit code 1 when it does not.",
	}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		check, err := c.CheckCluster(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if a.json {
			err = a.printJSON(check)
		} else {
			err = a.printf("%s: %s\n", args[0], oneLine(check.Value.Message))
		}
		if err == nil && !check.Value.OK {
			return errSilent
		}
		return err
	})
	return c
}

func (a *app) clusterDelete() *cobra.Command {
	c := &cobra.Command{Use: "delete CLUSTER", Short: "Remove a deployment target", Args: named("CLUSTER")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		return c.DeleteCluster(cmd.Context(), args[0])
	})
	return c
}
