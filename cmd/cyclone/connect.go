package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

// tokenSource says where a repository's token comes from. It is never an
// argument: other users of the machine see those.
type tokenSource struct {
	file string
	ask  bool
}

// tokenVariable holds a repository's token when no flag says where it is.
const tokenVariable = "CYCLONE_SCM_TOKEN" // #nosec G101 -- a name, no credential

func tokenFlags(c *cobra.Command, s *tokenSource) {
	f := c.Flags()
	f.StringVar(&s.file, "token-file", "", "file with the repository's token, user:token or private key, - for standard input ("+tokenVariable+")")
	f.BoolVar(&s.ask, "ask-token", false, "ask for the repository's token at the terminal")
	c.MarkFlagsMutuallyExclusive("token-file", "ask-token")
}

// repositoryToken reads the token; it is empty when none is given.
func (a *app) repositoryToken(s tokenSource) (string, error) {
	switch {
	case s.file != "":
		data, err := a.readSource(s.file)
		if err != nil {
			return "", err
		}
		token := strings.TrimSpace(string(data))
		if token == "" {
			return "", usage("there is no token in %s", s.file)
		}
		return token, nil
	case s.ask:
		return a.askToken()
	}
	return strings.TrimSpace(a.getenv(tokenVariable)), nil
}

// askToken reads a token without showing it.
func (a *app) askToken() (string, error) {
	in, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", usage("there is no terminal at which to ask for a token; use --token-file")
	}
	_, _ = fmt.Fprint(a.err, "Token of the repository: ") // only a question
	token, err := term.ReadPassword(int(in.Fd()))
	_, _ = fmt.Fprintln(a.err)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	if len(token) == 0 {
		return "", usage("no token was given")
	}
	return string(token), nil
}

func (a *app) projectConnect() *cobra.Command {
	var token tokenSource
	c := &cobra.Command{
		Use: "connect PROJECT", Short: "Connect a project to its forge, or repair that", Args: named("PROJECT"),
		Long: "Check that the project's repository can be read, and make or mend the webhook.\n" +
			"With a token, it is checked first and then used from now on.",
		Example: "  cyclone project connect orders\n  cyclone project connect orders --token-file token.txt",
	}
	tokenFlags(c, &token)
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		given, err := a.repositoryToken(token)
		if err != nil {
			return err
		}
		made, err := c.ConnectProject(cmd.Context(), args[0], given)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(made)
		}
		return a.facts(connectionFacts(&made.Value)...)
	})
	return c
}

func (a *app) projectDisconnect() *cobra.Command {
	c := &cobra.Command{Use: "disconnect PROJECT", Short: "Remove the webhook that connecting a project made", Args: named("PROJECT")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		return c.DisconnectProject(cmd.Context(), args[0])
	})
	return c
}

// connectionFacts are the lines about a connection; none without one.
func connectionFacts(made *cyclone.Connection) []string {
	if made == nil {
		return nil
	}
	hook := made.HookURL
	if hook == "" {
		hook = "none"
	}
	lines := []string{"Account", made.Account, "Hook", hook, "Checked", clock(made.CheckedAt)}
	for _, problem := range made.Problems {
		lines = append(lines, "Problem", problem)
	}
	return lines
}

// repositoryHost is the host of a repository's URL, in each of its forms.
func repositoryHost(repository string) string {
	if u, err := url.Parse(repository); err == nil && u.Host != "" {
		return strings.ToLower(u.Hostname())
	}
	if user, _, ok := strings.Cut(repository, ":"); ok {
		return strings.ToLower(user[strings.LastIndexByte(user, '@')+1:])
	}
	return ""
}

// guessType names the forge of a URL: by its scheme, or by the host, where that
// says what it is.
func guessType(repository string) string {
	if scheme, _, ok := strings.Cut(repository, "://"); ok && (scheme == "svn" || scheme == "svn+ssh") {
		return "svn"
	}
	host := repositoryHost(repository)
	switch first, _, _ := strings.Cut(host, "."); {
	case host == "gitea.com", host == "codeberg.org", first == "gitea", first == "forgejo":
		return "gitea"
	case first == "github":
		return "github"
	case first == "gitlab":
		return "gitlab"
	case first == "svn":
		return "svn"
	}
	return "git"
}

// unnameable are the characters that no name of a project has.
var unnameable = regexp.MustCompile(`[^a-z0-9._-]+`)

// guessName makes a project's name of its repository's: the last part of the
// path, of Subversion the last one that is not trunk.
func guessName(repository string) string {
	path := strings.TrimRight(repository, "/")
	path = strings.TrimSuffix(strings.TrimSuffix(path, "/trunk"), ".git")
	name := unnameable.ReplaceAllString(strings.ToLower(path[strings.LastIndexAny(path, "/:")+1:]), "-")
	name = strings.Trim(name[:min(len(name), 40)], "._-")
	if !cyclone.ValidName(name) {
		return ""
	}
	return name
}

// errNoName asks for what cannot be guessed.
var errNoName = errors.New("the project needs a name")

// complete fills in what the repository's URL says.
func (d document) complete(token string) error {
	repository := d.text("repository.url")
	if d.text("repository.type") == "" && repository != "" {
		d.set("repository.type", guessType(repository))
	}
	if d.text("name") == "" && repository != "" {
		name := guessName(repository)
		if name == "" {
			return usage("%v: give it behind create", errNoName)
		}
		d["name"] = name
	}
	if token != "" {
		d.set("repository.token", token)
	}
	return nil
}
