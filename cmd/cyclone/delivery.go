package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) deliveryCommand() *cobra.Command {
	c := &cobra.Command{Use: "delivery", Short: "List, show and redeliver what forges delivered", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.deliveryList(), a.deliveryShow(), a.deliveryRedeliver())
	return c
}

func (a *app) deliveryList() *cobra.Command {
	var page cyclone.Page
	c := &cobra.Command{Use: "list PROJECT", Short: "List a project's deliveries, newest first", Args: named("PROJECT")}
	pageFlags(c, &page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		list, err := c.Deliveries(cmd.Context(), args[0], page)
		if err != nil {
			return err
		}
		return printList(a, list, "ID KIND STATE RECEIVED FAILED NEXT RESULT", func(d *cyclone.Delivery) []string {
			return []string{string(d.ID), d.Kind, stateOf(d), clock(d.ReceivedAt), fmt.Sprint(d.Attempts), clockOf(d.NextAt), cameOf(d)}
		})
	})
	return c
}

// stateOf says in a word where a delivery stands.
func stateOf(d *cyclone.Delivery) string {
	switch {
	case d.HandledAt != nil && d.Error != "":
		return "refused"
	case d.HandledAt != nil:
		return "handled"
	case d.ParkedAt != nil:
		return "parked"
	}
	return "waiting"
}

// cameOf says what became of a delivery.
func cameOf(d *cyclone.Delivery) string {
	switch {
	case d.Error != "":
		return d.Error
	case d.Ignored != "":
		return "ignored: " + d.Ignored
	}
	return eventIDs(d.Events)
}

func eventIDs(ids []cyclone.EventID) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = string(id)
	}
	return strings.Join(all, ",")
}

func (a *app) deliveryShow() *cobra.Command {
	c := &cobra.Command{Use: "show PROJECT DELIVERY", Short: "Show what became of a delivery, and why", Args: named("PROJECT", "DELIVERY")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		o, err := c.Delivery(cmd.Context(), args[0], cyclone.DeliveryID(args[1]))
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(o)
		}
		d := &o.Value
		failed := ""
		if d.Attempts > 0 {
			failed = fmt.Sprint(d.Attempts)
		}
		return a.facts("ID", string(d.ID), "Project", string(d.Project), "Forge", d.SCM, "Kind", d.Kind, "State", stateOf(d),
			"Received", clock(d.ReceivedAt), "Handled", clockOf(d.HandledAt), "Parked", clockOf(d.ParkedAt), "Failed", failed,
			"Next attempt", clockOf(d.NextAt), "Events", eventIDs(d.Events), "Ignored", d.Ignored, "Error", d.Error)
	})
	return c
}

func (a *app) deliveryRedeliver() *cobra.Command {
	c := &cobra.Command{
		Use: "redeliver PROJECT DELIVERY", Short: "Have a delivery handled once more", Args: named("PROJECT", "DELIVERY"),
		Long: "Have a delivery handled once more, with the project as it is now, also one that\n" +
			"was parked. What it started the first time is not started again.",
	}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		o, err := c.Redeliver(cmd.Context(), args[0], cyclone.DeliveryID(args[1]))
		if err != nil {
			return err
		}
		if a.json {
			err = a.printJSON(o)
		} else {
			err = a.printf("%s\n", oneLine(fmt.Sprintf("%s: %s", args[1], redelivered(o.Value))))
		}
		if err == nil && o.Value.Error != "" {
			return errSilent
		}
		return err
	})
	return c
}

func redelivered(o client.DeliveryOutcome) string {
	switch {
	case o.Error != "":
		return o.Error
	case o.Ignored != "":
		return "ignored: " + o.Ignored
	case len(o.Events) > 0:
		return "event " + eventIDs(o.Events)
	}
	return "not handled yet; `cyclone delivery show` tells what becomes of it"
}
