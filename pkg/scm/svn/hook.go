// Package svn understands the post-commit hooks of Subversion repositories, and
// runs the svn command: it checks revisions out and reads what branches and
// tags a repository has.
//
// Trunk, branches and tags are folders, and their names are the refs that the
// rest of the server knows: trunk is refs/heads/trunk, branches/x refs/heads/x,
// tags/x refs/tags/x. A commit is "r" and the number of its revision. Whether a
// hook starts anything is trigger's decision. Nothing here writes to a
// repository, and nobody tells Subversion a result: it has no place for one.
package svn

import (
	"net/http"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// The headers of a post-commit hook. Subversion itself calls nobody: a script
// of the repository does.
const (
	headerDelivery  = "X-Cyclone-Delivery"
	headerSignature = "X-Cyclone-Signature-256"
	headerPlain     = "X-Cyclone-Token"
)

// Forge is the cyclone.Forge of Subversion's post-commit hooks. Reading one
// calls nobody.
type Forge struct{}

// DeliveryID is the value of X-Cyclone-Delivery; without a usable one a digest
// of the body, which names the revision.
func (Forge) DeliveryID(header http.Header, body []byte) cyclone.DeliveryID {
	return payload.ID(header.Get(headerDelivery), []byte("svn"), body)
}

// Verify checks X-Cyclone-Signature-256 over the raw body or, when only that
// was sent, compares X-Cyclone-Token with the secret; both in constant time.
func (Forge) Verify(header http.Header, body, secret []byte) error {
	given, token := header.Get(headerSignature), header.Get(headerPlain)
	sum, prefixed := strings.CutPrefix(given, "sha256=")
	switch {
	case len(secret) == 0:
		return cyclone.Forbidden("the project has no webhook secret, so no signature can be right")
	case given == "" && token == "":
		return cyclone.Forbidden("%s is missing; sign the body in the post-commit script with the project's webhook secret", headerSignature)
	case given != "" && (!prefixed || !payload.Signed(body, secret, sum)):
		return cyclone.Forbidden("%s does not match the body; the secret of the post-commit script is not the project's", headerSignature)
	case given == "" && !payload.Same(token, secret):
		return cyclone.Forbidden("%s is wrong; the secret of the post-commit script is not the project's", headerPlain)
	}
	return nil
}

// committed is what a post-commit hook says.
type committed struct {
	Repository string        `json:"repository"`
	Revision   int64         `json:"revision"`
	Author     string        `json:"author"`
	Message    string        `json:"message"`
	Changed    payload.Lines `json:"changed"`
}

// maxRevision is the largest number that every reader of JSON keeps exactly.
const maxRevision = 1<<53 - 1

// Parse reads a delivery that Verify accepted: JSON, or a form with the same
// fields, which is easier to write in a script.
func (Forge) Parse(header http.Header, body []byte) (*cyclone.Hook, error) {
	c, err := decode(header.Get("Content-Type"), body)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Revision < 1 || c.Revision > maxRevision:
		return nil, cyclone.Invalid("revision", "is missing or not the number of a revision")
	case c.Changed == nil:
		return nil, cyclone.Invalid("changed", "is missing; send what `svnlook changed` prints")
	}
	return c.hook(), nil
}

func decode(media string, body []byte) (*committed, error) {
	c := &committed{}
	if !payload.IsForm(media) {
		return c, payload.Decode(media, body, c)
	}
	form, err := payload.Form(body, "payload", "repository", "revision", "author", "message", "changed")
	if err != nil {
		return c, err
	}
	if text, ok := form["payload"]; ok {
		return c, payload.Decode("", []byte(text), c)
	}
	// What is no number stays 0, which is no revision.
	c.Revision, _ = strconv.ParseInt(strings.TrimPrefix(strings.TrimSpace(form["revision"]), "r"), 10, 64)
	c.Repository, c.Author, c.Message = strings.TrimSpace(form["repository"]), form["author"], form["message"]
	if text, ok := form["changed"]; ok {
		c.Changed = strings.Split(strings.ToValidUTF8(text, "\uFFFD"), "\n")
	}
	return c, nil
}

// hook finds the line of development that the commit is about: the first of
// those it touched, in the order trunk, branches, tags.
func (c *committed) hook() *cyclone.Hook {
	at := layoutOf(c.Repository)
	touched := at.touched(c.Changed)
	line, why := choose(touched)
	hook := &cyclone.Hook{Actor: payload.Line(c.Author), Ignored: why, Repositories: at.repositories(line, touched)}
	if why != "" {
		return hook
	}
	hook.Action, hook.Ref = cyclone.ActionStart, line.ref
	hook.Commit = cyclone.Commit{
		SHA: "r" + strconv.FormatInt(c.Revision, 10), Message: message(c.Message), Author: payload.Line(c.Author),
	}
	if tag, ok := strings.CutPrefix(line.ref, tagsRef); ok {
		hook.Kind, hook.Tag = cyclone.KindTag, tag
		return hook
	}
	hook.Kind, hook.Branch = cyclone.KindPush, strings.TrimPrefix(line.ref, headsRef)
	if !line.added && c.Revision > 1 {
		hook.Before = "r" + strconv.FormatInt(c.Revision-1, 10)
		hook.Changed = at.below(line, c.Changed)
	}
	return hook
}

// message is a commit's message, which svnlook ends with one line break more.
func message(s string) string { return strings.TrimRight(strings.ToValidUTF8(s, "\uFFFD"), "\r\n") }

// choose picks the line that a commit is about, or says why there is none.
func choose(touched []*line) (*line, string) {
	if len(touched) == 0 {
		return nil, "the commit changed nothing of the repository's trunk, branches and tags"
	}
	var best *line
	for _, l := range touched {
		if !l.removed && l.usable() && (best == nil || l.rank() < best.rank()) {
			best = l
		}
	}
	switch first := touched[0]; {
	case best != nil:
		return best, ""
	case first.removed:
		return nil, payload.Short(first.name()) + " was deleted"
	default:
		return nil, payload.Short(first.name()) + " has a name that cannot be used"
	}
}
