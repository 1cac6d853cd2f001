package payload_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// What is taken as a name is what git takes as a ref, except that names neither
// begin with a hyphen nor have more than 1024 bytes.
func TestNamesAreThoseOfGit(t *testing.T) {
	t.Parallel()
	names := []string{
		"main", "a/b/c", "ünïcödé/分支/🚀", "it's", `say"hi"`, "a;b", "$(id)", "${IFS}", "`id`", "a|b&c", "<a>", "%s", "#1", "HEAD2", "a@b", "a{b}", "a.b", "-", "x-",
		strings.Repeat("n", 200), "refs/heads/x", "a\u200bb",
		"", "-x", "--output=x", "a b", "a\tb", "a\nb", "a\x7fb", "a..b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", `a\b`, "a.lock", "a.lock/b",
		".a", "a/.b", "/a", "a/", "a//b", "a.", "@", "a@{1}", "a/b.lock",
	}
	for _, name := range names {
		git := exec.Command("git", "check-ref-format", "refs/heads/"+name).Run() == nil && !strings.HasPrefix(name, "-")
		_, err := payload.Name("ref", name)
		if taken := err == nil; taken != git {
			t.Errorf("Name(%q) = %v, but git takes it: %v", name, err, git)
		}
		if err != nil && (!errors.Is(err, cyclone.ErrInvalid) || !strings.HasPrefix(err.Error(), "ref: ")) {
			t.Errorf("Name(%q) = %v; want ErrInvalid about ref", name, err)
		}
	}
	if _, err := payload.Name("ref", strings.Repeat("n", 1025)); !errors.Is(err, cyclone.ErrInvalid) {
		t.Errorf("a name of 1025 bytes: %v", err)
	}
	if name := strings.Repeat("é", 127) + "x"; len(name) == 255 {
		if _, err := payload.Name("ref", name); err != nil {
			t.Errorf("a name of 255 bytes: %v", err)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	one, long := strings.Repeat("0a", 20), strings.Repeat("0b", 32)
	for _, s := range []string{one, long} {
		if got, err := payload.Hash("after", s); got != s || err != nil || payload.Before(s) != s {
			t.Errorf("Hash(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", strings.Repeat("0", 40), one[:39], one + "0", strings.ToUpper(one), "--output=" + one[9:], one[:39] + "\n"} {
		if got, err := payload.Hash("after", s); !errors.Is(err, cyclone.ErrInvalid) || got != "" || payload.Before(s) != "" {
			t.Errorf("Hash(%q) = %q, %v; want ErrInvalid", s, got, err)
		}
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, got, want string }{
		{"line", payload.Line(" Fix\r\nBcc: x\x00\x1b[31m\u202eevil\u2028 "), "Fix  Bcc: x  [31m evil"},
		{"line of letters", payload.Line("Größe 👩\u200d💻"), "Größe 👩\u200d💻"},
		{"long line", payload.Line(strings.Repeat("é", 1000)), strings.Repeat("é", 512) + "..."},
		{"short", payload.Short("refs/" + strings.Repeat("é", 40)), "refs/" + strings.Repeat("é", 17) + "..."},
		{"author", payload.Person{Name: "Alice", Email: "a@example.com"}.String(), "Alice <a@example.com>"},
		{"author without address", payload.Person{Name: "Alice"}.String(), "Alice"},
		{"author without name", payload.Person{Email: "a@example.com"}.String(), "<a@example.com>"},
		{"author in two lines", payload.Person{Name: "A\r\nB <x@y>", Email: "a@b>\nc"}.String(), "A  B x@y <a@b c>"},
		{"link", payload.Link("https://example.com/a?b=c#d"), "https://example.com/a?b=c#d"},
		{"link to a script", payload.Link("javascript:alert(1)"), ""},
		{"link with a password", payload.Link("https://a:b@example.com/"), ""},
		{"link nowhere", payload.Link("https:///x"), ""},
		{"link with a line break", payload.Link("https://example.com/\nx"), ""},
		{"committer", payload.Commit{Committer: payload.Person{Email: "a@b\r\nX: 1"}}.Address(), "a@b  X: 1"},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("%s is %q, not %q", c.name, c.got, c.want)
		}
	}
	urls := payload.URLs("", "git@example.com:a/b.git", "https://example.com/a\nb", "https://example.com/"+strings.Repeat("x", 3000), "https://example.com/a")
	if diff := cmp.Diff([]string{"git@example.com:a/b.git", "https://example.com/a"}, urls); diff != "" {
		t.Errorf("URLs (-want +got):\n%s", diff)
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	if id := payload.ID("72d3162e-cc78-11e3-81ab-4c9367dc0958", []byte("x")); id != "72d3162e-cc78-11e3-81ab-4c9367dc0958" {
		t.Errorf("a usable id became %q", id)
	}
	seen := map[cyclone.DeliveryID]string{}
	for _, c := range []struct{ given, a, b string }{{"", "a", "b"}, {"", "ab", ""}, {"", "a", "c"}} {
		id := payload.ID(c.given, []byte(c.a), []byte(c.b))
		if other, ok := seen[id]; ok || !strings.HasPrefix(string(id), "sha256-") {
			t.Errorf("%q is the id of %q and of %q", id, other, c)
		}
		seen[id] = c.a + "+" + c.b
	}
	for _, bad := range []string{"a/b", "..\\x", "a b", "a\n", "é", strings.Repeat("x", 101)} {
		if id := payload.ID(bad); !strings.HasPrefix(string(id), "sha256-") {
			t.Errorf("%q was taken as an id", bad)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	text, secret := []byte("text"), []byte("secret")
	mac := hmac.New(sha256.New, secret)
	mac.Write(text)
	right := hex.EncodeToString(mac.Sum(nil))
	none := hmac.New(sha256.New, nil)
	none.Write(text)
	if !payload.Signed(text, secret, right) || !payload.Same("secret", secret) {
		t.Error("what is right is refused")
	}
	for _, sum := range []string{"", right[:62], right + "00", "zz", strings.Repeat("0", 64)} {
		if payload.Signed(text, secret, sum) {
			t.Errorf("the sum %q is taken", sum)
		}
	}
	if payload.Signed(text, nil, hex.EncodeToString(none.Sum(nil))) || payload.Same("", nil) || payload.Same("", []byte{}) {
		t.Error("without a secret something is right")
	}
	if payload.Same("secre", secret) || payload.Same("", secret) {
		t.Error("another secret is taken")
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	none := []string{}
	cases := []struct {
		name    string
		commits []payload.Commit
		want    []string
	}{
		{"nothing", nil, nil},
		{"each once", []payload.Commit{{Added: []string{"a"}, Modified: []string{"b"}, Removed: none}, {Added: none, Modified: []string{"a", ""}, Removed: []string{"c"}}}, []string{"a", "b", "c"}},
		{"one does not tell", []payload.Commit{{Added: []string{"a"}, Modified: none, Removed: none}, {Added: []string{"b"}}}, nil},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, payload.Changed(c.commits)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	cases := []struct {
		text string
		want cyclone.CommentCommand
	}{
		{"/test", "test"}, {"/retest", "retest"}, {"Fine.\r\n\r\n /test \r\nThanks", "test"}, {"/retest\n/test", "retest"},
		{"", ""}, {"test", ""}, {"please /test", ""}, {"/test all", ""}, {"/Test", ""}, {"/tests", ""}, {"//test", ""}, {"> /test", ""}, {"`/test`", ""},
		{"```\n/test\n```", ""}, {"~~~sh\n/test", ""}, {"```\nx\n```\n/test", "test"}, {"    /test", ""}, {"\t/test", ""}, {strings.Repeat("\n", 1<<16) + "/test", "test"},
	}
	for _, c := range cases {
		if got := payload.Command(c.text); got != c.want {
			t.Errorf("Command(%.30q) = %q, not %q", c.text, got, c.want)
		}
	}
}
