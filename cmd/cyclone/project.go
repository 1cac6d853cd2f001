package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) projectCommand() *cobra.Command {
	c := &cobra.Command{Use: "project", Short: "Create, connect, list, show and delete projects", Args: cobra.NoArgs, RunE: a.group}
	c.AddCommand(a.projectCreate(), a.projectConnect(), a.projectDisconnect(), a.projectList(), a.projectShow(), a.projectDelete())
	return c
}

// projectPaths says where the flags of project create stand in a project.
var projectPaths = map[string]string{
	"description": "description", "owner": "owner", "visibility": "visibility", "config-file": "configFile", "image": "image",
	"type": "repository.type", "repository": "repository.url", "default-branch": "repository.defaultBranch", "credential": "repository.credential",
	"account": "repository.account", "host-key": "repository.hostKeys", "connect": "connect", "poll": "poll", "comment": "notifications.comment.enabled",
	"push-branch": "triggers.push.branches", "push-path": "triggers.push.paths", "no-push": "triggers.push.disabled",
	"tag-pattern": "triggers.tag.patterns", "no-tag": "triggers.tag.disabled", "releases": "triggers.release.enabled",
	"pull-requests": "triggers.pullRequest.enabled", "pull-request-path": "triggers.pullRequest.paths", "merge": "triggers.pullRequest.merge", "approval": "triggers.pullRequest.approval",
	"email": "notifications.email.recipients", "email-when": "notifications.email.when",
	"timeout": "limits.timeout", "cpus": "limits.cpus", "memory": "limits.memory", "concurrency": "limits.concurrency",
	"cancel-superseded": "cancelSuperseded", "trusted": "trusted", "webhook-secret": "webhookSecret",
}

func (a *app) projectCreate() *cobra.Command {
	var file string
	var token tokenSource
	var variables, crons, webhooks []string
	c := &cobra.Command{
		Use: "create [NAME]", Short: "Create a project", Args: cobra.MaximumNArgs(1),
		Long: "Create a project from flags, from a JSON file as the API takes it, or both; flags\nwin. It is called like its repository when it gets no name.\n\n" +
			"With the repository's token, from --token-file, --ask-token or " + tokenVariable + ",\nthe repository is checked first, the token is stored as a secret of the project,\n" +
			"and the webhook is made.",
		Example: "  cyclone project create --repo https://github.com/acme/orders.git --token-file token.txt\n" +
			"  cyclone project create orders --repo https://github.com/acme/orders.git --email dev@example.com\n" +
			"  cyclone project create -f orders.json",
	}
	projectFlags(c)
	tokenFlags(c, &token)
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "JSON to begin with, - for standard input")
	f.StringArrayVar(&variables, "variable", nil, "NAME=value for every step; may be repeated")
	f.StringArrayVar(&crons, "cron", nil, `schedule like "0 3 * * *" at which to run; may be repeated`)
	f.StringArrayVar(&webhooks, "webhook", nil, "URL to post final events to; may be repeated")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		if file == "-" && token.file == "-" {
			return usage("standard input holds the project or the token, not both")
		}
		d, err := a.document(file)
		if err != nil {
			return err
		}
		given, err := a.repositoryToken(token)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			d["name"] = args[0]
		}
		d.fromFlags(cmd, projectPaths)
		if err := d.lists(variables, crons, webhooks); err != nil {
			return err
		}
		if err := d.complete(given); err != nil {
			return err
		}
		p, err := c.CreateProject(cmd.Context(), d)
		if err != nil {
			return err
		}
		return a.showProject(p)
	})
	return c
}

func projectFlags(c *cobra.Command) {
	f := c.Flags()
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "repo" {
			name = "repository"
		}
		return pflag.NormalizedName(name)
	})
	f.String("repository", "", "URL of the repository, without credentials; --repo for short")
	f.String("type", "", "github, gitlab, gitea, git or svn (default from the URL)")
	f.String("default-branch", "", "the repository's default branch")
	f.String("credential", "", "name of the project's secret to reach the repository with (default repository, when a token is given)")
	f.String("account", "", "connected account to reach the repository with: github/alice")
	f.StringArray("host-key", nil, "public key of the ssh host to trust, as ssh-keyscan prints it behind the host; may be repeated")
	f.Bool("connect", true, "make the webhook; --connect=false only checks and stores the token, --connect does it without a token too")
	f.String("poll", "", "look at the repository for pushes so often: 5m")
	f.Bool("comment", false, "keep a comment with the stages on each pull request")
	f.String("description", "", "what it is, for people")
	f.String("owner", "", "who is responsible")
	f.String("visibility", "", "private or public")
	f.String("config-file", "", "path of the pipeline's file (default caicloud.yml)")
	f.String("image", "", "name of the image to build, without a tag (default <registry>/<name>)")
	f.StringSlice("push-branch", nil, "glob of branches whose pushes to build; ! excludes; may be repeated (default all)")
	f.StringSlice("push-path", nil, "glob of paths that a push must touch; may be repeated")
	f.Bool("no-push", false, "do not build pushes")
	f.StringSlice("tag-pattern", nil, "glob of tags to build; may be repeated (default all)")
	f.Bool("no-tag", false, "do not build tags")
	f.Bool("releases", false, "build published releases")
	f.Bool("pull-requests", false, "build pull requests")
	f.StringSlice("pull-request-path", nil, "glob of paths that a pull request must touch; may be repeated")
	f.Bool("merge", false, "of pull requests build the merge with the target branch, not the head (github, gitlab)")
	f.String("approval", "", "pull requests that wait for approval: forks, always or never")
	f.StringSlice("email", nil, "who gets the summary; may be repeated")
	f.String("email-when", "", "always, failure, change or never")
	f.String("timeout", "", "how long an event may run: 1h")
	f.Float64("cpus", 0, "processors of a worker")
	f.String("memory", "", "memory of a worker: 2g")
	f.Int("concurrency", 0, "events that run at the same time")
	f.Bool("cancel-superseded", false, "cancel events of a branch that a newer one supersedes")
	f.Bool("trusted", false, "steps may use privileges of the host; administrators only")
	f.String("webhook-secret", "", "key of the forge's signatures (default: one is made and shown once)")
}

// lists puts the flags that are lists of objects into a project.
func (d document) lists(variables, crons, webhooks []string) error {
	all, err := pairs("variable", variables)
	if err != nil {
		return err
	}
	for name, value := range all {
		inner, ok := d["variables"].(map[string]any)
		if !ok {
			inner = map[string]any{}
			d["variables"] = inner
		}
		inner[name] = value // names may have dots in them
	}
	if len(crons) > 0 {
		d.set("triggers.cron", objects("schedule", crons))
	}
	if len(webhooks) > 0 {
		d.set("notifications.webhooks", objects("url", webhooks))
	}
	return nil
}

func objects(key string, values []string) []map[string]string {
	var list []map[string]string
	for _, v := range values {
		list = append(list, map[string]string{key: v})
	}
	return list
}

func (a *app) projectList() *cobra.Command {
	var page cyclone.Page
	c := &cobra.Command{Use: "list", Short: "List projects", Args: cobra.NoArgs}
	pageFlags(c, &page)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, _ []string) error {
		list, err := c.Projects(cmd.Context(), page)
		if err != nil {
			return err
		}
		return printList(a, list, "NAME TYPE REPOSITORY OWNER VISIBILITY DESCRIPTION", func(p *client.Project) []string {
			return []string{string(p.Name), p.Repository.Type, p.Repository.URL, p.Owner, p.Visibility, p.Description}
		})
	})
	return c
}

func (a *app) projectShow() *cobra.Command {
	c := &cobra.Command{Use: "show PROJECT", Short: "Show a project", Args: named("PROJECT")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		p, err := c.Project(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return a.showProject(p)
	})
	return c
}

func (a *app) showProject(o client.Object[client.Project]) error {
	if a.json {
		return a.printJSON(o)
	}
	p := o.Value
	recipients := ""
	if p.Notifications.Email != nil {
		recipients = strings.Join(p.Notifications.Email.Recipients, ", ")
	}
	lines := []string{
		"Name", string(p.Name), "Description", p.Description, "Owner", p.Owner, "Visibility", p.Visibility,
		"Repository", p.Repository.URL, "Type", p.Repository.Type, "Branch", p.Repository.DefaultBranch, "Credential", p.Repository.Credential,
		"Pipeline", p.ConfigFile, "Image", p.Image, "Email", recipients, "Trusted", fmt.Sprint(p.Trusted),
		"Created", clock(p.CreatedAt), "Updated", clock(p.UpdatedAt),
	}
	for _, scm := range []string{"github", "gitlab", "gitea", "svn"} {
		if address := p.WebhookURLs[scm]; address != "" {
			lines = append(lines, "Webhook", scm+" "+address)
		}
	}
	if p.Poll > 0 {
		lines = append(lines, "Poll", p.Poll.String())
	}
	// Shown once only: the server does not tell it again.
	lines = append(lines, "Secret", p.WebhookSecret)
	return a.facts(append(lines, connectionFacts(p.Connection)...)...)
}

func (a *app) projectDelete() *cobra.Command {
	c := &cobra.Command{
		Use: "delete PROJECT", Short: "Delete a project with its events, logs and secrets", Args: named("PROJECT"),
	}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		return c.DeleteProject(cmd.Context(), args[0])
	})
	return c
}
