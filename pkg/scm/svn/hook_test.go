package svn_test

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
	"cyclone/pkg/scm/scmtest"
	"cyclone/pkg/scm/svn"
)

var update = flag.Bool("update", false, "write the golden files")

func sum(text, secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}

func sign(header http.Header, body, secret []byte) {
	header.Set("X-Cyclone-Signature-256", "sha256="+sum(body, secret))
}

func TestContract(t *testing.T) {
	scmtest.Run(t, scmtest.Suite{
		Forge: svn.Forge{}, Sign: sign, IDHeader: "X-Cyclone-Delivery", Dir: "testdata", OwnNames: true, Update: *update,
	})
}

func TestVerify(t *testing.T) {
	t.Parallel()
	secret, body := []byte("it is a secret"), []byte(`{"revision":42}`)
	right := "sha256=" + sum(body, secret)
	cases := []struct{ name, signature, token, says string }{
		{"signed", right, "", ""},
		{"with the secret", "", string(secret), ""},
		{"both", right, string(secret), ""},
		{"signed wrongly, with the secret", "sha256=00", string(secret), "does not match"},
		{"signed, with another secret", right, "x", ""},
		{"without prefix", right[len("sha256="):], "", "does not match"},
		{"cut off", right[:len(right)-2], "", "does not match"},
		{"another secret", "", "it is a secre", "is wrong"},
		{"nothing", "", "", "is missing"},
	}
	for _, c := range cases {
		header := http.Header{}
		header.Set("X-Cyclone-Signature-256", c.signature)
		header.Set("X-Cyclone-Token", c.token)
		err := svn.Forge{}.Verify(header, body, secret)
		if c.says == "" && err != nil {
			t.Errorf("%s: Verify = %v", c.name, err)
		}
		if c.says != "" && (!errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: Verify = %v; want ErrForbidden that says %q", c.name, err, c.says)
		}
	}
}

func FuzzParse(f *testing.F) {
	cases, err := scmtest.Load("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add(c.Header.Get("Content-Type"), c.Body)
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		header := http.Header{}
		header.Set("Content-Type", contentType)
		hook, err := svn.Forge{}.Parse(header, body)
		scmtest.Check(t, hook, err)
		if id := (svn.Forge{}).DeliveryID(header, body); id == "" {
			t.Error("no delivery id")
		}
	})
}
