package local_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/local"
)

func TestLogins(t *testing.T) {
	dir := t.TempDir()
	helper := "#!/bin/sh\nread host\ncase $host in kept.test) echo '{\"Username\":\"bob\",\"Secret\":\"of-bob\"}';; token.test) echo '{\"Username\":\"<token>\",\"Secret\":\"x\"}';; *) exit 1;; esac\n"
	file := filepath.Join(dir, "config.json")
	auth := base64.StdEncoding.EncodeToString([]byte("alice:pass:word"))
	config := `{"auths": {"https://index.docker.io/v1/": {"auth": "` + auth + `"}, "kept.test": {}, "token.test": {}, "gone.test": {}, "bad.test": {"auth": "%"}},
		"credsStore": "test", "credHelpers": {"other.test": "missing", "x.test": "../evil"}}`
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(helper), 0o700), os.WriteFile(file, []byte(config), 0o600)); err != nil { //#nosec G306 -- a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	got, err := local.Logins(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]cyclone.RegistryAuth{"docker.io": {Username: "alice", Password: "pass:word"}, "kept.test": {Username: "bob", Password: "of-bob"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := local.Logins(t.Context(), filepath.Join(dir, "none")); got != nil || err != nil {
		t.Errorf("without a file: %v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Logins(t.Context(), file); err == nil {
		t.Error("a broken file was read")
	}
}
