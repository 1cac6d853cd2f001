package payload

import (
	"strings"

	"cyclone/pkg/cyclone"
)

// Commit is a commit as GitHub, GitLab and Gitea write it.
type Commit struct {
	ID        string   `json:"id"`
	Message   string   `json:"message"`
	URL       string   `json:"url"`
	Author    Person   `json:"author"`
	Committer Person   `json:"committer"`
	Added     []string `json:"added"`
	Modified  []string `json:"modified"`
	Removed   []string `json:"removed"`
}

// Person is somebody whom git names.
type Person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// String writes a git signature: "Alice <a@example.com>". It is one line.
func (p Person) String() string {
	name, email := signature(p.Name), signature(p.Email)
	if email == "" {
		return name
	}
	return strings.TrimSpace(name + " <" + email + ">")
}

// signature takes out of a part of a signature what would end it.
func signature(s string) string {
	return strings.TrimSpace(strings.NewReplacer("<", "", ">", "").Replace(Line(s)))
}

// Word is the commit in Cyclone's words.
func (c Commit) Word() cyclone.Commit {
	return cyclone.Commit{SHA: c.ID, Message: c.Message, Author: c.Author.String(), URL: Link(c.URL)}
}

// Address is the e-mail address of who committed c; empty when not said.
func (c Commit) Address() string { return signature(c.Committer.Email) }

// Find is the commit with the hash among those that are known, the first of
// them first; when it is in none, nothing but the hash.
func Find(sha string, known ...Commit) Commit {
	for _, c := range known {
		if c.ID == sha {
			return c
		}
	}
	return Commit{ID: sha}
}

// Changed are the paths that commits touched, each once; nil when one of them
// does not tell, or there are none.
func Changed(commits []Commit) []string {
	var paths []string
	seen := map[string]bool{}
	for _, c := range commits {
		for _, files := range [][]string{c.Added, c.Modified, c.Removed} {
			if files == nil {
				return nil
			}
			for _, path := range files {
				if path != "" && !seen[path] {
					seen[path] = true
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}

// Command is what a comment asks for: its first line that is nothing but /test
// or /retest. Lines of code (indented or fenced) and quoted ones ask for
// nothing. Empty when no line does.
func Command(text string) cyclone.CommentCommand {
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		word := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(word, "```"), strings.HasPrefix(word, "~~~"):
			fenced = !fenced
		case fenced, strings.HasPrefix(line, "    "), strings.HasPrefix(line, "\t"):
		case word == "/"+string(cyclone.CommentTest), word == "/"+string(cyclone.CommentRetest):
			return cyclone.CommentCommand(word[1:])
		}
	}
	return ""
}
