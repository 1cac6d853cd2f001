package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) logsCommand() *cobra.Command {
	var q client.LogQuery
	var stage string
	var follow bool
	c := &cobra.Command{
		Use: "logs EVENT", Short: "Print the log of an event", Args: named("EVENT"),
		Long: "Print the log of an event. With --follow it goes on until the event is over;\na lost connection is made again and no line is printed twice. With --json every\nline is an object of its own.",
	}
	f := c.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on until the event is over")
	f.StringVar(&stage, "stage", "", "only of this stage")
	f.StringVar(&q.Step, "step", "", "only of this step")
	f.Int64Var(&q.From, "from", 0, "begin at this line")
	f.Int64Var(&q.Tail, "tail", 0, "only the last so many lines")
	f.BoolVar(&q.Timestamps, "timestamps", false, "print the time before each line")
	c.MarkFlagsMutuallyExclusive("from", "tail")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		if q.From < 0 || q.Tail < 0 {
			return usage("--from and --tail count from 1")
		}
		q.Stage, q.NDJSON = cyclone.Stage(stage), a.json
		if !follow {
			return c.Log(cmd.Context(), cyclone.EventID(args[0]), q, a.out)
		}
		_, err := a.follow(cmd.Context(), c, cyclone.EventID(args[0]), q)
		return err
	})
	return c
}

// follow prints a log until its event is over.
func (a *app) follow(ctx context.Context, c *client.Client, id cyclone.EventID, q client.LogQuery) (client.End, error) {
	p := &linePrinter{w: bufio.NewWriter(a.out), query: q}
	stop := p.keepFlushed()
	end, err := c.Follow(ctx, id, client.Start{From: q.From, Tail: q.Tail}, client.Watcher{Line: p.print})
	return end, errors.Join(err, stop())
}

// wait prints the log of an event and then how it ended. With --json the
// event alone is printed, when it is over.
func (a *app) wait(ctx context.Context, c *client.Client, e cyclone.Event) error {
	quiet := *a
	if a.json {
		quiet.out = io.Discard
	} else if err := a.printf("%s\n", eventName(&e)); err != nil {
		return err
	}
	if _, err := quiet.follow(ctx, c, e.ID, client.LogQuery{}); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("event %s goes on without us; end it with `cyclone event cancel %s`: %w", e.ID, e.ID, err)
		}
		return err
	}
	final, err := c.Event(ctx, e.ID)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(final)
	} else {
		err = a.ended(&final.Value)
	}
	if err == nil && final.Value.Status != cyclone.StatusSuccess {
		return errSilent
	}
	return err
}

// ended prints what became of an event that was waited for.
func (a *app) ended(e *cyclone.Event) error {
	if err := a.showStages(e); err != nil {
		return err
	}
	if found := tests(e.Tests); found != "" {
		if err := a.printf("\ntests %s\n", found); err != nil {
			return err
		}
	}
	if kept := artifacts(e); kept != "" {
		if err := a.printf("\nartifacts %s\n", oneLine(kept)); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s #%d %s", e.Project, e.Number, e.Status)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return a.printf("\n%s\n", oneLine(text))
}
