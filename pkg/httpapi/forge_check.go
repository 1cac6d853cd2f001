package httpapi

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"cyclone/pkg/cyclone"
)

// How often a repository may be looked at.
const (
	minPoll = time.Minute
	maxPoll = 24 * time.Hour
)

// The most host keys of a repository, and bytes of one.
const (
	maxHostKeys = 20
	maxHostKey  = 4096
)

// accountPattern is what names of accounts look like: github/alice, or
// gitlab/gitlab.example.com/alice.
var accountPattern = regexp.MustCompile(`^(github|gitlab)(/[A-Za-z0-9.:-]{1,255})?/[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$`)

// forgeTypes are the types of repositories at a forge with an API, mergeTypes
// those whose forge keeps the merge of each pull request as a ref.
var (
	forgeTypes = []string{"github", "gitlab", "gitea"}
	mergeTypes = []string{"github", "gitlab"}
)

func checkPoll(p *cyclone.Project, bad *cyclone.InvalidError) {
	if poll := time.Duration(p.Poll); poll != 0 && (poll < minPoll || poll > maxPoll) {
		bad.Add("poll", "must be from 1m to 24h, or 0s for never")
	}
}

func checkAccess(p *cyclone.Project, bad *cyclone.InvalidError) {
	if p.Repository.Account != "" && !accountPattern.MatchString(p.Repository.Account) {
		bad.Add("repository.account", "must be the name of a connected account, like github/alice")
	}
	if len(p.Repository.HostKeys) > maxHostKeys {
		bad.Add("repository.hostKeys", "must be at most %d keys", maxHostKeys)
		return
	}
	for i, key := range p.Repository.HostKeys {
		if !validHostKey(key) {
			bad.Add("repository.hostKeys["+strconv.Itoa(i)+"]", "is not a public key as ssh-keyscan prints it behind the host: ssh-ed25519 AAAA...")
		}
	}
}

// validHostKey reports whether a key is what known_hosts has behind the host.
func validHostKey(key string) bool {
	if len(key) > maxHostKey || strings.ContainsAny(key, "\r\n") {
		return false
	}
	parsed, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(key))
	return err == nil && len(options) == 0 && len(rest) == 0 && strings.HasPrefix(strings.TrimSpace(key), parsed.Type()+" ")
}

func checkComment(p *cyclone.Project, bad *cyclone.InvalidError) {
	if comment := p.Notifications.Comment; comment != nil && comment.Enabled && !slices.Contains(forgeTypes, p.Repository.Type) {
		bad.Add("notifications.comment.enabled", "needs a repository of type github, gitlab or gitea: there are no pull requests to comment on elsewhere")
	}
}

// possible refuses what is right in itself, but not for the project's forge.
func possible(p *cyclone.Project) error {
	pr := p.Triggers.PullRequest
	if pr == nil || !pr.Merge || slices.Contains(mergeTypes, p.Repository.Type) {
		return nil
	}
	return refuseField("triggers.pullRequest.merge", "is possible with github and gitlab only: a repository of type "+p.Repository.Type+
		" keeps no merge of a pull request that could be run; leave it out to run the head")
}
