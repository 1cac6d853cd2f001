package manifest

import (
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

var (
	// secretForm matches text that is a credential, whatever its name.
	secretForm = regexp.MustCompile(`\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{16,}|` +
		`\bxox[abprs]-[\w-]{10,}|\b[rs]k_live_\w{16,}|\bnpm_[A-Za-z0-9]{30,}|\bdckr_pat_[\w-]{16,}|\bAIza[\w-]{30,}|` +
		`\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----`)
	// noSecret matches values that give nothing away: switches, numbers of a
	// few digits, paths, placeholders, and what a shell or Cyclone replaces.
	noSecret = regexp.MustCompile(`(?i)^(|true|false|yes|no|on|off|none|null|\d{1,3}|[./~].*|<.*>|.*\$[{(A-Za-z_].*)$`)
)

// secretMarks are parts of what secretForm matches. Looking for them first
// spares most text the dear search.
var secretMarks = []string{"AKIA", "ASIA", "gh", "glpat-", "xox", "k_live_", "npm_", "dckr_pat_", "AIza", "eyJ", "-----BEGIN "}

// isSecret reports whether text holds a credential, whatever its name.
func isSecret(text string) bool {
	for _, mark := range secretMarks {
		if strings.Contains(text, mark) {
			return secretForm.MatchString(text)
		}
	}
	return false
}

// secretNames are the last words of names of variables that hold what nobody
// may see.
var secretNames = []string{
	"TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "APIKEY", "API_KEY", "ACCESSKEY", "ACCESS_KEY",
	"SECRETKEY", "SECRET_KEY", "PRIVATEKEY", "PRIVATE_KEY", "CREDENTIAL", "CREDENTIALS",
}

// namesSecret reports whether a variable of this name should be a secret.
func namesSecret(name string) bool {
	name = strings.ToUpper(name)
	return slices.ContainsFunc(secretNames, func(last string) bool {
		rest, ok := strings.CutSuffix(name, last)
		return ok && (rest == "" || rest[len(rest)-1] == '_')
	})
}

// suspect is a variable whose name says that its value is a secret.
type suspect struct {
	value
	name, text string
	role       role
}

// suspects notes a variable that seems to hold a secret in clear text, or
// reports it at once when there can be no doubt.
func (v value) suspects(name, text string) {
	switch {
	case isSecret(text):
		v.inClearText(name)
	case namesSecret(name) && !noSecret.MatchString(text):
		v.p.secretive = append(v.p.secretive, suspect{v, name, text, v.p.role})
	}
}

// inClearText warns of a secret in an environment.
func (v value) inClearText(name string) {
	v.warnf("keep it as a secret of the project and name that in `secrets`",
		"%s seems to be a secret that stands in the file in clear text", clip(name))
}

// checkSecretive reports the variables that seem to hold secrets. Services are
// made for one event, so passwords that are only theirs, and of who reaches
// them, protect nothing.
func (p *parser) checkSecretive() {
	var made []string
	for _, s := range p.secretive {
		if s.role == roleService {
			made = append(made, s.text)
		}
	}
	for _, s := range p.secretive {
		if !slices.Contains(made, s.text) {
			s.inClearText(s.name)
		}
	}
}

// checkCommand warns of a credential in a command.
func (v value) checkCommand(text string) {
	if isSecret(text) {
		v.warnf("keep it as a secret of the project, name that in `secrets` and write $NAME here",
			"seems to hold a secret in clear text")
	}
}

// clearText warns of a credential that everybody who reads the file can see.
func (v value) clearText(what string) {
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) && !refersTo(v.node) {
		v.warnf("keep it as a secret of the project, name that in `secrets` and write ${NAME} here",
			"%s stands in the file in clear text", what)
	}
}

// masked hides what a line holds behind the name of a credential, and
// credentials by their form. It reports from which character on the line says
// something else than it did.
func masked(line string) (string, int) {
	cut := len(line)
	if at := credential.FindStringIndex(line); at != nil {
		rest := strings.TrimSpace(line[at[1]:])
		if rest != "" && !onlyReference.MatchString(rest) {
			cut = at[1]
		}
	}
	if at := secretForm.FindStringIndex(line); at != nil {
		cut = min(cut, at[0])
	}
	if cut == len(line) {
		return line, len([]rune(line))
	}
	shown := strings.TrimRight(line[:cut], " ") + " ***"
	return shown, len([]rune(shown)) - len("***")
}

// onlyReference matches a value that refers to a secret and holds none, or
// that begins a mapping or list of names.
var onlyReference = regexp.MustCompile(`^["']?\$\{\w+\}["']?\s*[,}\]]*\s*$|^[\[{|>][-+0-9]*$`)
