package config_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/config"
	"cyclone/pkg/cyclone"
)

type values struct {
	Listen, TLS string
	Origins     []string
	Workers     int
	Timeout     cyclone.Duration
	Memory      cyclone.Size
}

func set(v *values, env map[string]string) *config.Set {
	s := &config.Set{Program: "prog", Lookup: func(k string) (string, bool) { t, ok := env[k]; return t, ok }}
	s.Text(&v.Listen, "listen", ":7099", "address")
	s.Choice(&v.TLS, "smtp-tls", "encryption", "starttls", "tls", "none")
	s.List(&v.Origins, "cors-origins", "origins")
	s.Int(&v.Workers, "workers", 2, 0, "workers at once")
	s.Duration(&v.Timeout, "timeout", "1h", "longest event")
	s.Size(&v.Memory, "memory", "", "per worker")
	s.Check(func() error {
		if v.Workers > 100 {
			return errors.New("too many workers")
		}
		return nil
	})
	return s
}

func TestParse(t *testing.T) {
	env := map[string]string{"CYCLONE_LISTEN": ":1", "CYCLONE_WORKERS": "5", "CYCLONE_CORS_ORIGINS": "https://a, https://b", "CYCLONE_MEMORY": "2g"}
	var got values
	if err := set(&got, env).Parse([]string{"--listen=:2", "--smtp-tls", "none"}, nil); err != nil {
		t.Fatal(err)
	}
	hour, err := cyclone.ParseDuration("1h")
	if err != nil {
		t.Fatal(err)
	}
	want := values{":2", "none", []string{"https://a", "https://b"}, 5, hour, 2 << 30}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryWrongValueIsReported(t *testing.T) {
	var v values
	err := set(&v, map[string]string{"CYCLONE_SMTP_TLS": "ssl", "CYCLONE_TIMEOUT": "soon"}).Parse([]string{"--workers=-1"}, nil)
	want := "CYCLONE_SMTP_TLS: \"ssl\" is none of starttls, tls, none\n" +
		"--workers: \"-1\" is not a whole number of at least 0\n" +
		"CYCLONE_TIMEOUT: \"soon\" is not a duration; write for instance 90s, 10m or 1h30m"
	if err == nil || err.Error() != want {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
}

func TestRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--nope":        "flag provided but not defined: -nope; see prog --help",
		"extra":         `unexpected argument "extra"; see prog --help`,
		"--workers=101": "too many workers",
	} {
		var v values
		if err := set(&v, nil).Parse([]string{args}, nil); err == nil || err.Error() != want {
			t.Errorf("%s: error is %v, want %s", args, err, want)
		}
	}
}

func TestHelp(t *testing.T) {
	var v values
	var out bytes.Buffer
	if err := set(&v, nil).Parse([]string{"--help"}, &out); !errors.Is(err, config.ErrHelp) {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{"--smtp-tls", "CYCLONE_SMTP_TLS", "starttls", "--workers", "encryption"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not mention %s:\n%s", want, out.String())
		}
	}
}
