package manifest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// cases runs check for every input of a folder below testdata.
func cases(t *testing.T, folder string, check func(t *testing.T, base string, data []byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".yml")
		t.Run(filepath.Base(base), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			check(t, base, data)
		})
	}
}

// golden compares with a file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run with -update once", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// formatted is what `cyclone lint` prints.
func formatted(problems []cyclone.Problem, source []byte) []byte {
	var b bytes.Buffer
	for _, p := range problems {
		b.WriteString(manifest.Format("caicloud.yml", p, source) + "\n")
	}
	return b.Bytes()
}

func TestGood(t *testing.T) {
	cases(t, "good", func(t *testing.T, base string, data []byte) {
		pipeline, problems := manifest.Parse(data)
		if manifest.Errors(problems) > 0 || pipeline == nil {
			t.Fatalf("has errors:\n%s", formatted(problems, data))
		}
		text, err := json.MarshalIndent(pipeline, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, base+".json", append(text, '\n'))
		golden(t, base+".warnings", formatted(problems, data))
	})
}

func TestBad(t *testing.T) {
	cases(t, "bad", func(t *testing.T, base string, data []byte) {
		pipeline, problems := manifest.Parse(data)
		if manifest.Errors(problems) == 0 || pipeline != nil {
			t.Error("has no error")
		}
		golden(t, base+".txt", formatted(problems, data))
	})
}

func TestFix(t *testing.T) {
	cases(t, "fix", func(t *testing.T, base string, data []byte) {
		fixed, ok := manifest.Fix(data)
		if !ok {
			t.Fatal("is not fixed")
		}
		if _, problems := manifest.Parse(fixed); manifest.Errors(problems) > 0 {
			t.Errorf("has errors once fixed:\n%s", formatted(problems, fixed))
		}
		golden(t, base+".fixed", fixed)
		if again, ok := manifest.Fix(fixed); ok || !bytes.Equal(again, fixed) {
			t.Error("a fixed file is fixed again")
		}
	})
}

// TestFixKeepsWhatIsRight holds every file of testdata to what Fix promises.
func TestFixKeepsWhatIsRight(t *testing.T) {
	for _, folder := range []string{"good", "bad", "fix"} {
		cases(t, folder, func(t *testing.T, _ string, data []byte) { checkFix(t, data) })
	}
}

// TestGoldenFilesAreMany counts the files that the reading of caicloud.yml is
// held to.
func TestGoldenFilesAreMany(t *testing.T) {
	for folder, least := range map[string]int{"good": 60, "bad": 100, "fix": 15} {
		files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yml"))
		if err != nil || len(files) < least {
			t.Errorf("%s: %d files, not %d: %v", folder, len(files), least, err)
		}
	}
}
