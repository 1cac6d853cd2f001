package manifest_test

import (
	"os"
	"strings"
	"testing"

	"cyclone/pkg/manifest"
)

// TestReferenceNamesEveryVariable holds the user reference against the code.
func TestReferenceNamesEveryVariable(t *testing.T) {
	text, err := os.ReadFile("../../docs/caicloud-yml.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range manifest.Variables() {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("the reference does not name %s", name)
		}
	}
}

// TestReferenceExamplesParse reads every whole example of the reference.
func TestReferenceExamplesParse(t *testing.T) {
	text, err := os.ReadFile("../../docs/caicloud-yml.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	whole := 0
	for _, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		stage, _, _ := strings.Cut(b, ":")
		if stage == "when" || stage == "commands" || strings.Contains(b, "# compile in a container") {
			continue // parts, or the list of stages
		}
		whole++
		if _, problems := manifest.Parse([]byte(b)); manifest.Errors(problems) > 0 {
			t.Errorf("an example has errors:\n%s\n%s", b, formatted(problems, []byte(b)))
		}
	}
	if whole < 4 {
		t.Errorf("only %d examples found", whole)
	}
}
