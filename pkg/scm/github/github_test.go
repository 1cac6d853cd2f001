package github_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"net/http"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/github"
	"cyclone/pkg/scm/scmtest"
)

var update = flag.Bool("update", false, "write the golden files")

func sign(header http.Header, body, secret []byte) {
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

func TestContract(t *testing.T) {
	scmtest.Run(t, scmtest.Suite{
		Forge: github.Forge{}, Sign: sign, IDHeader: "X-GitHub-Delivery", Dir: "testdata", Update: *update,
	})
}

// The pair of GitHub's own page "Validating webhook deliveries".
func TestVerifyDocumentedPair(t *testing.T) {
	header := http.Header{}
	header.Set("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	if err := (github.Forge{}).Verify(header, []byte("Hello, World!"), []byte("It's a Secret to Everybody")); err != nil {
		t.Error(err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	body, secret := []byte("{}"), []byte("s")
	right := http.Header{}
	sign(right, body, secret)
	sum := right.Get("X-Hub-Signature-256")
	old := "sha1=" + strings.Repeat("0a", 20)
	cases := []struct{ name, header, value, says string }{
		{"SHA-1 only", "X-Hub-Signature", old, "SHA-1"},
		{"SHA-1 under the new name", "X-Hub-Signature-256", old, "does not match"},
		{"without prefix", "X-Hub-Signature-256", strings.TrimPrefix(sum, "sha256="), "does not match"},
		{"cut off", "X-Hub-Signature-256", sum[:len(sum)-2], "does not match"},
		{"no hex", "X-Hub-Signature-256", "sha256=zz", "does not match"},
		{"empty sum", "X-Hub-Signature-256", "sha256=", "does not match"},
		{"nothing", "X-Other", "x", "is missing"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			header := http.Header{}
			header.Set(c.header, c.value)
			err := github.Forge{}.Verify(header, body, secret)
			if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Verify = %v; want ErrForbidden that says %q", err, c.says)
			}
		})
	}
}

func TestChangedUnknownWhenCutOff(t *testing.T) {
	one := `{"added":["a"],"modified":[],"removed":[]}`
	sha := strings.Repeat("a", 40)
	body := `{"ref":"refs/heads/main","after":"` + sha + `","commits":[` + one + strings.Repeat(","+one, 2047) + `]}`
	hook, err := github.Forge{}.Parse(http.Header{"X-Github-Event": {"push"}}, []byte(body))
	if err != nil || hook.Changed != nil {
		t.Errorf("Parse = %+v, %v; want a hook whose changed paths are unknown", hook, err)
	}
}

// A commit's message may have any length: whoever stores it cuts it.
func TestLongMessage(t *testing.T) {
	message, sha := strings.Repeat("long ", 200_000), strings.Repeat("a", 40)
	body := `{"ref":"refs/heads/main","after":"` + sha + `","head_commit":{"id":"` + sha + `","message":"` + message + `"}}`
	hook, err := github.Forge{}.Parse(http.Header{"X-Github-Event": {"push"}}, []byte(body))
	if err != nil || hook.Commit.Message != message {
		t.Errorf("Parse = %v; want a message of %d bytes", err, len(message))
	}
}

func FuzzParse(f *testing.F) {
	cases, err := scmtest.Load("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add(c.Header.Get("X-GitHub-Event"), c.Header.Get("Content-Type"), c.Body)
	}
	f.Fuzz(func(t *testing.T, kind, contentType string, body []byte) {
		header := http.Header{}
		header.Set("X-GitHub-Event", kind)
		header.Set("Content-Type", contentType)
		hook, err := github.Forge{}.Parse(header, body)
		scmtest.Check(t, hook, err)
		if id := (github.Forge{}).DeliveryID(header, body); id == "" {
			t.Error("no delivery id")
		}
	})
}
