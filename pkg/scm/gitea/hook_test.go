package gitea_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/gitea"
	"cyclone/pkg/scm/scmtest"
)

var update = flag.Bool("update", false, "write the golden files")

func sum(text, secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}

func sign(header http.Header, body, secret []byte) {
	header.Set("X-Gitea-Signature", sum(body, secret))
}

func TestContract(t *testing.T) {
	scmtest.Run(t, scmtest.Suite{
		Forge: gitea.Forge{}, Sign: sign, IDHeader: "X-Gitea-Delivery", OtherIDs: []string{"X-Forgejo-Delivery"},
		Dir: "testdata", Update: *update,
	})
}

func TestVerify(t *testing.T) {
	t.Parallel()
	secret, text := []byte("it is a secret"), `{"ref":"refs/heads/a b"}`
	form := "payload=" + url.QueryEscape(text)
	const asForm = "application/x-www-form-urlencoded"
	cases := []struct {
		name, media, body, header, value string
		says                             string // of the error; empty when there is none
	}{
		{"as Gitea signs", "", text, "X-Gitea-Signature", sum([]byte(text), secret), ""},
		{"as Forgejo signs", "", text, "X-Forgejo-Signature", sum([]byte(text), secret), ""},
		{"as GitHub signs", "", text, "X-Hub-Signature-256", "sha256=" + sum([]byte(text), secret), ""},
		{"a form, whose JSON is signed", asForm, form, "X-Gitea-Signature", sum([]byte(text), secret), ""},
		{"a form that is signed itself", asForm, form, "X-Gitea-Signature", sum([]byte(form), secret), ""},
		{"a form with another payload", asForm, form + "x", "X-Gitea-Signature", sum([]byte(text), secret), "does not match"},
		{"a form under the wrong type", "application/json", form, "X-Gitea-Signature", sum([]byte(text), secret), "does not match"},
		{"SHA-1 only", "", text, "X-Hub-Signature", "sha1=00", "SHA-1"},
		{"nothing", "", text, "X-Other", "x", "is missing"},
		{"empty, as without a secret", "", text, "X-Gitea-Signature", "", "is missing"},
		{"no hex", "", text, "X-Gitea-Signature", "zz", "does not match"},
		{"cut off", "", text, "X-Gitea-Signature", sum([]byte(text), secret)[:62], "does not match"},
		{"another secret", "", text, "X-Gitea-Signature", sum([]byte(text), []byte("x")), "does not match"},
	}
	for _, c := range cases {
		header := http.Header{}
		header.Set("Content-Type", c.media)
		header.Set(c.header, c.value)
		err := gitea.Forge{}.Verify(header, []byte(c.body), secret)
		if c.says == "" && err != nil {
			t.Errorf("%s: Verify = %v", c.name, err)
		}
		if c.says != "" && (!errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: Verify = %v; want ErrForbidden that says %q", c.name, err, c.says)
		}
	}
}

// A tag that is pushed comes as create and as push: one of them starts.
func TestNewTagStartsOnce(t *testing.T) {
	t.Parallel()
	cases, err := scmtest.Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	starts := map[string]bool{}
	for _, c := range cases {
		hook, err := gitea.Forge{}.Parse(c.Header, c.Body)
		if err == nil && bytes.Contains(c.Body, []byte("v1.0.0")) && hook.Ignored == "" {
			starts[c.Header.Get("X-Gitea-Event")] = true
		}
	}
	if len(starts) != 1 || !starts["push"] {
		t.Errorf("a new tag starts %v; want push alone", starts)
	}
}

func FuzzParse(f *testing.F) {
	cases, err := scmtest.Load("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add(c.Header.Get("X-Gitea-Event"), c.Header.Get("Content-Type"), c.Body)
	}
	f.Fuzz(func(t *testing.T, kind, contentType string, body []byte) {
		header := http.Header{}
		header.Set("X-Gitea-Event", kind)
		header.Set("Content-Type", contentType)
		hook, err := gitea.Forge{}.Parse(header, body)
		scmtest.Check(t, hook, err)
		if id := (gitea.Forge{}).DeliveryID(header, body); id == "" {
			t.Error("no delivery id")
		}
	})
}
