package worker

import (
	"crypto/rand"
	"strconv"
	"strings"
)

// scriptTarget is where a step's script is mounted in its container.
const scriptTarget = "/.cyclone-script"

// script is the commands of a step as one shell script. Every command is
// given to eval in quotes, so that a syntax error belongs to its command and
// not to the whole file; before it a marker goes to stdout.
type script struct {
	commands []string
	nonce    string
}

// newScript returns the script of the commands; its marker cannot be guessed.
func newScript(commands []string) *script {
	return &script{commands: commands, nonce: rand.Text()}
}

// marker begins the line that tells which command begins. Its first byte is
// one that programs hardly print, so that output is searched quickly.
func (s *script) marker() string { return "\x1ecyclone " + s.nonce + " " }

// text is the script's source for a POSIX shell.
func (s *script) text() []byte {
	var b strings.Builder
	for i, c := range s.commands {
		b.WriteString("echo '" + s.marker() + strconv.Itoa(i+1) + "'\n")
		b.WriteString("eval " + quoted(c) + "\n")
	}
	return []byte(b.String())
}

// quoted is a text as one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
