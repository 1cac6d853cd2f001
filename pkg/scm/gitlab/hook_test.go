package gitlab_test

import (
	"errors"
	"flag"
	"net/http"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/gitlab"
	"cyclone/pkg/scm/scmtest"
)

var update = flag.Bool("update", false, "write the golden files")

func sign(header http.Header, _, secret []byte) { header.Set("X-Gitlab-Token", string(secret)) }

func TestContract(t *testing.T) {
	scmtest.Run(t, scmtest.Suite{
		Forge: gitlab.Forge{}, Sign: sign, IDHeader: "Idempotency-Key", OtherIDs: []string{"X-Gitlab-Event-UUID"},
		Dir: "testdata", Update: *update,
	})
}

func TestDeliveryID(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		header map[string]string
		want   string // or the beginning of it
	}{
		{"sent again", map[string]string{"Idempotency-Key": "kept", "X-Gitlab-Event-UUID": "new"}, "kept"},
		{"before 17.4", map[string]string{"X-Gitlab-Event-UUID": "event", "X-Gitlab-Webhook-UUID": "hook"}, "event"},
		{"only the webhook's", map[string]string{"X-Gitlab-Webhook-UUID": "hook"}, "sha256-"},
		{"not usable", map[string]string{"Idempotency-Key": "../../x"}, "sha256-"},
	}
	for _, c := range cases {
		header := http.Header{}
		for name, value := range c.header {
			header.Set(name, value)
		}
		if id := (gitlab.Forge{}).DeliveryID(header, []byte("{}")); !strings.HasPrefix(string(id), c.want) {
			t.Errorf("%s: id is %q, not %q", c.name, id, c.want)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	secret := []byte("it is a secret")
	for _, c := range []struct{ name, token, says string }{
		{"nothing", "", "is missing"},
		{"another", "it is a secreT", "is wrong"},
		{"the beginning", "it is a", "is wrong"},
		{"more", "it is a secret ", "is wrong"},
	} {
		header := http.Header{}
		header.Set("X-Gitlab-Token", c.token)
		err := gitlab.Forge{}.Verify(header, []byte("{}"), secret)
		if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Verify = %v; want ErrForbidden that says %q", c.name, err, c.says)
		}
		if err != nil && c.token != "" && strings.Contains(err.Error(), c.token) {
			t.Errorf("%s: the error repeats the token", c.name)
		}
	}
}

func FuzzParse(f *testing.F) {
	cases, err := scmtest.Load("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add(c.Header.Get("X-Gitlab-Event"), c.Header.Get("Content-Type"), c.Body)
	}
	f.Fuzz(func(t *testing.T, kind, contentType string, body []byte) {
		header := http.Header{}
		header.Set("X-Gitlab-Event", kind)
		header.Set("Content-Type", contentType)
		hook, err := gitlab.Forge{}.Parse(header, body)
		scmtest.Check(t, hook, err)
		if id := (gitlab.Forge{}).DeliveryID(header, body); id == "" {
			t.Error("no delivery id")
		}
	})
}
