package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) eventCommand() *cobra.Command {
	c := &cobra.Command{Use: "event", Short: "Start, list, show, approve, cancel and rerun events", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.eventStart(), a.eventList(), a.eventShow(), a.eventApprove(), a.eventCancel(), a.eventRerun())
	return c
}

func (a *app) eventStart() *cobra.Command {
	var r cyclone.StartRequest
	var stages, variables []string
	var wait bool
	c := &cobra.Command{
		Use: "start PROJECT", Short: "Start an event by hand", Args: named("PROJECT"),
		Long: "Start an event by hand, of the default branch's head unless another source is named.\n" +
			"With --wait the log is printed, and the exit code is 0 only when the event succeeds.",
	}
	f := c.Flags()
	f.StringVar(&r.Ref, "ref", "", "ref to build, as git writes it: refs/heads/main")
	f.StringVar(&r.Branch, "branch", "", "branch to build the head of")
	f.StringVar(&r.Tag, "tag", "", "tag to build")
	f.StringVar(&r.Commit, "commit", "", "hash of the commit to build")
	f.StringVar(&r.Version, "set-version", "", "version to give the image")
	f.StringSliceVar(&stages, "stage", nil, "stage to run; may be repeated (default all)")
	f.StringArrayVar(&variables, "variable", nil, "NAME=value for the steps; may be repeated")
	f.BoolVar(&wait, "wait", false, "print the log and wait for the end")
	c.MarkFlagsMutuallyExclusive("ref", "branch", "tag", "commit")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		var err error
		if r.Stages, err = stageList(stages); err != nil {
			return err
		}
		if r.Variables, err = pairs("variable", variables); err != nil {
			return err
		}
		e, err := c.StartEvent(cmd.Context(), args[0], r)
		if err != nil {
			return err
		}
		return a.started(cmd, c, e, wait)
	})
	return c
}

// started tells of a new event, and of its end when that is waited for.
func (a *app) started(cmd *cobra.Command, c *client.Client, e client.Object[cyclone.Event], wait bool) error {
	if wait {
		return a.wait(cmd.Context(), c, e.Value)
	}
	if a.json {
		return a.printJSON(e)
	}
	return a.printf("%s\n", eventName(&e.Value))
}

func eventName(e *cyclone.Event) string {
	return oneLine(fmt.Sprintf("%s #%d %s: %s", e.Project, e.Number, e.Status, e.ID))
}

func (a *app) eventList() *cobra.Command {
	var q cyclone.EventQuery
	var statuses []string
	var kind, since, until string
	c := &cobra.Command{Use: "list [PROJECT]", Short: "List events, newest first", Args: cobra.MaximumNArgs(1)}
	f := c.Flags()
	f.StringSliceVar(&statuses, "status", nil, "only of this status; may be repeated")
	f.StringVar(&q.Branch, "branch", "", "only of this branch")
	f.StringVar(&kind, "kind", "", "only of this kind: push, tag, pull_request, manual, ...")
	f.StringVar(&since, "since", "", "created at or after this time: 2026-01-31T12:00:00Z, or 24h for a day ago")
	f.StringVar(&until, "until", "", "created before this time")
	pageFlags(c, &q.Page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		if len(args) == 1 {
			q.Project = cyclone.ProjectName(args[0])
		}
		q.Kind = cyclone.TriggerKind(kind)
		for _, s := range statuses {
			q.Statuses = append(q.Statuses, cyclone.Status(s))
		}
		var err error
		if q.Since, err = moment("since", since); err != nil {
			return err
		}
		if q.Until, err = moment("until", until); err != nil {
			return err
		}
		list, err := c.Events(cmd.Context(), q)
		if err != nil {
			return err
		}
		return a.showEvents(list)
	})
	return c
}

func (a *app) showEvents(list client.EventList) error {
	return printList(a, list, "ID PROJECT NUMBER STATUS TRIGGER SOURCE COMMIT TOOK CREATED MESSAGE", func(e *cyclone.Event) []string {
		return []string{
			string(e.ID), string(e.Project), fmt.Sprint(e.Number), string(e.Status), string(e.Trigger.Kind), e.Source(),
			e.Commit.ShortSHA(), took(e.StartedAt, e.FinishedAt), clock(e.CreatedAt), firstLine(e.Commit.Message),
		}
	})
}

func (a *app) eventApprove() *cobra.Command {
	c := &cobra.Command{Use: "approve EVENT", Short: "Let a blocked event run", Args: named("EVENT")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		e, err := c.ApproveEvent(cmd.Context(), cyclone.EventID(args[0]))
		if err != nil {
			return err
		}
		return a.started(cmd, c, e, false)
	})
	return c
}

func (a *app) eventCancel() *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "cancel EVENT", Short: "Cancel an event that is not over", Args: named("EVENT")}
	c.Flags().StringVar(&reason, "reason", "", "why, for the others")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		e, err := c.CancelEvent(cmd.Context(), cyclone.EventID(args[0]), reason)
		if err != nil {
			return err
		}
		return a.started(cmd, c, e, false)
	})
	return c
}

func (a *app) eventRerun() *cobra.Command {
	var from string
	var wait bool
	c := &cobra.Command{
		Use: "rerun EVENT", Short: "Make a new event of the same commit and file", Args: named("EVENT"),
		Long: "Make a new event of the same commit and file. With --from it begins at that stage,\n" +
			"with the image and the outputs that the earlier event made.",
	}
	c.Flags().StringVar(&from, "from", "", "stage to begin at (default: run all)")
	c.Flags().BoolVar(&wait, "wait", false, "print the log and wait for the end")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		stages, err := stageList([]string{from})
		if from != "" && err != nil {
			return err
		}
		var begin cyclone.Stage
		if from != "" {
			begin = stages[0]
		}
		e, err := c.RerunEvent(cmd.Context(), cyclone.EventID(args[0]), begin)
		if err != nil {
			return err
		}
		return a.started(cmd, c, e, wait)
	})
	return c
}

func stageList(names []string) ([]cyclone.Stage, error) {
	var list []cyclone.Stage
	for _, name := range names {
		if !slices.Contains(cyclone.Stages, cyclone.Stage(name)) {
			return nil, usage("%q is not a stage; write one of %v", name, cyclone.Stages)
		}
		list = append(list, cyclone.Stage(name))
	}
	return list, nil
}

// pairs reads NAME=value arguments.
func pairs(flag string, list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	all := map[string]string{}
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usage("--%s %q is not NAME=value", flag, text)
		}
		all[name] = value
	}
	return all, nil
}

// moment reads a time, or a span before now.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if span, err := time.ParseDuration(text); err == nil && span >= 0 {
		return time.Now().Add(-span), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usage("--%s %q is neither a time like 2026-01-31T12:00:00Z nor a span like 24h", flag, text)
	}
	return t, nil
}

func pageFlags(c *cobra.Command, p *cyclone.Page) {
	c.Flags().IntVar(&p.Limit, "limit", 0, "how many to list at most (default 50, at most 200)")
	c.Flags().StringVar(&p.Cursor, "cursor", "", "go on where the list before ended")
}
