package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) nodeCommand() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "List, show, drain, resume and delete nodes", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.nodeList(), a.nodeShow(),
		a.nodeDrain("drain", "Keep new work away from a node; what runs goes on", true),
		a.nodeDrain("resume", "Let a drained node take work again", false),
		a.nodeDelete())
	return c
}

func (a *app) nodeList() *cobra.Command {
	var page cyclone.Page
	c := &cobra.Command{Use: "list", Short: "List nodes: where workers are started", Args: cobra.NoArgs}
	pageFlags(c, &page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, _ []string) error {
		list, err := c.Nodes(cmd.Context(), page)
		if err != nil {
			return err
		}
		return printList(a, list, "NAME KIND STATE RUNNING FREE SERVER SEEN REASON", func(n *client.Node) []string {
			return []string{n.Name, n.Kind, nodeState(n), running(n), free(n.Disk), n.Server, clock(n.SeenAt), n.Reason}
		})
	})
	return c
}

// nodeState says in a word whether a node takes work.
func nodeState(n *client.Node) string {
	switch {
	case n.Gone:
		return "gone"
	case n.Drain:
		return "drained"
	case !n.Ready:
		return "unready"
	}
	return "ready"
}

func running(n *client.Node) string { return fmt.Sprintf("%d/%d", n.Running, n.Capacity) }

// free is the free space of a disk, "" when it is not known.
func free(d *cyclone.Disk) string {
	if d == nil {
		return ""
	}
	return space(d.Free)
}

// space writes a number of bytes for people.
func space(n cyclone.Size) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value := float64(n)
	for _, unit := range units[:len(units)-1] {
		if value < 1024 {
			return fmt.Sprintf("%.4g %s", value, unit)
		}
		value /= 1024
	}
	return fmt.Sprintf("%.4g %s", value, units[len(units)-1])
}

func (a *app) nodeShow() *cobra.Command {
	c := &cobra.Command{Use: "show NODE", Short: "Show a node", Args: named("NODE")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		o, err := c.Node(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(o)
		}
		n, disk := &o.Value, ""
		if d := n.Disk; d != nil {
			disk = fmt.Sprintf("%s free of %s; takes no work below %s", space(d.Free), space(d.Total), space(d.Minimum))
		}
		return a.facts("Name", n.Name, "Kind", n.Kind, "State", nodeState(n), "Reason", n.Reason, "Running", running(n),
			"Disk", disk, "Server", n.Server, "Seen", clock(n.SeenAt))
	})
	return c
}

// nodeDrain makes the commands drain and resume.
func (a *app) nodeDrain(name, short string, drain bool) *cobra.Command {
	c := &cobra.Command{Use: name + " NODE", Short: short, Args: named("NODE")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		o, err := c.DrainNode(cmd.Context(), args[0], drain)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(o)
		}
		n := &o.Value
		return a.printf("%s\n", oneLine(fmt.Sprintf("%s: %s, %s", n.Name, nodeState(n), counted(n.Running))))
	})
	return c
}

func (a *app) nodeDelete() *cobra.Command {
	c := &cobra.Command{
		Use: "delete NODE", Short: "Forget a node that no server serves any more", Args: named("NODE"),
		Long: "Forget a node that no server serves any more and on which nothing runs.",
	}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		return c.DeleteNode(cmd.Context(), args[0])
	})
	return c
}

func (a *app) workerCommand() *cobra.Command {
	c := &cobra.Command{Use: "worker", Short: "List workers", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.workerList())
	return c
}

func (a *app) workerList() *cobra.Command {
	var page cyclone.Page
	c := &cobra.Command{Use: "list", Short: "List the workers that run now, and their events", Args: cobra.NoArgs}
	pageFlags(c, &page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, _ []string) error {
		list, err := c.Workers(cmd.Context(), page)
		if err != nil {
			return err
		}
		return printList(a, list, "ID NODE PROJECT NUMBER EVENT ATTEMPT STARTED SEEN LEASE", func(w *client.RunningWorker) []string {
			return []string{
				string(w.ID), w.Node, string(w.Project), fmt.Sprint(w.Number), string(w.Event), fmt.Sprint(w.Attempt),
				clockOf(w.StartedAt), clockOf(w.LastSeen), clock(w.LeaseUntil),
			}
		})
	})
	return c
}

func (a *app) retentionCommand() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use: "retention", Short: "Remove what is no longer kept", Args: cobra.NoArgs,
		Long: "Remove the events, logs and deliveries that are no longer kept, at once. The server\n" +
			"does it by itself too, now and then. With --dry-run only say what would be removed.",
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "remove nothing")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, _ []string) error {
		o, err := c.Retention(cmd.Context(), dry)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(o)
		}
		return a.showRetention(o.Value)
	})
	return c
}

func (a *app) showRetention(r cyclone.RetentionReport) error {
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	err := a.printf("%s: events with their logs %d, logs before their events %d, artifacts before their events %d, deliveries %d\n", verb, r.Events, r.Logs, r.Files, r.Deliveries)
	if err != nil || len(r.Projects) == 0 {
		return err
	}
	var rows [][]string
	for _, p := range r.Projects {
		rows = append(rows, []string{string(p.Project), fmt.Sprint(p.Events), fmt.Sprint(p.Logs), fmt.Sprint(p.Files), fmt.Sprint(p.Deliveries)})
	}
	return a.section("PROJECT EVENTS LOGS ARTIFACTS DELIVERIES", rows)
}

// counted says how many events run.
func counted(n int) string {
	switch n {
	case 0:
		return "nothing runs on it"
	case 1:
		return "1 event runs on it"
	}
	return fmt.Sprintf("%d events run on it", n)
}
