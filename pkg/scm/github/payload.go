package github

import (
	"encoding/json"
	"strings"

	"cyclone/pkg/cyclone"
)

// node is a place in a payload; a place that is not there is a node too.
type node struct{ v any }

// at goes down the keys.
func (n node) at(keys ...string) node {
	for _, k := range keys {
		m, ok := n.v.(map[string]any)
		if !ok {
			return node{}
		}
		n = node{m[k]}
	}
	return n
}

func (n node) text() string {
	s, _ := n.v.(string)
	return s
}

func (n node) truth() bool {
	b, _ := n.v.(bool)
	return b
}

// number is the node's whole number, or 0.
func (n node) number() int64 {
	s, ok := n.v.(json.Number)
	if !ok {
		return 0
	}
	i, err := s.Int64()
	if err != nil {
		return 0
	}
	return i
}

// list is the node's items; ok is false when it is no list.
func (n node) list() (items []node, ok bool) {
	l, ok := n.v.([]any)
	for _, v := range l {
		items = append(items, node{v})
	}
	return items, ok
}

func actor(p node) string {
	if login := p.at("sender", "login").text(); login != "" {
		return login
	}
	return p.at("pusher", "name").text()
}

// repositories are all the URLs by which the payload names its repository.
func repositories(p node) []string {
	var urls []string
	for _, key := range []string{"clone_url", "ssh_url", "git_url", "html_url", "svn_url"} {
		if u := p.at("repository", key).text(); u != "" {
			urls = append(urls, u)
		}
	}
	return urls
}

// author writes a git signature: "Alice <a@example.com>".
func author(p node) string {
	name, email := p.at("name").text(), p.at("email").text()
	if email == "" {
		return name
	}
	return strings.TrimSpace(name + " <" + email + ">")
}

// hash reads a commit's hash. It ends up as an argument of git, so nothing
// else than a hash is taken.
func hash(p node, field string) (string, error) {
	sha := p.text()
	if !isHash(sha) {
		return "", cyclone.Invalid(field, "%q is not a commit hash", shorten(sha))
	}
	return sha, nil
}

func isHash(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// name reads the name of a branch or tag and refuses what git would not take.
func name(p node, field string) (string, error) {
	s := p.text()
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }
	if s == "" || len(s) > 1024 || strings.HasPrefix(s, "-") || strings.Contains(s, "..") || strings.ContainsFunc(s, bad) {
		return "", cyclone.Invalid(field, "%q is not a name that git takes", shorten(s))
	}
	return s, nil
}
