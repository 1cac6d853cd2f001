package kubernetes_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/kubestandin"
	"cyclone/pkg/deploy/kubernetes"
)

func TestAccessForms(t *testing.T) {
	s, err := kubestandin.Start(t.Context(), kubestandin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for _, tt := range []struct {
		name   string
		change func(a *cyclone.ClusterAccess)
		kind   error
		says   string
	}{
		{"as given", func(*cyclone.ClusterAccess) {}, nil, ""},
		{"slash at the end", func(a *cyclone.ClusterAccess) { a.Host += "/" }, nil, ""},
		{"no scheme", func(a *cyclone.ClusterAccess) { a.Host = strings.TrimPrefix(a.Host, "https://") }, nil, ""},
		{"blanks around", func(a *cyclone.ClusterAccess) { a.Host, a.Token = " "+a.Host+"\n", a.Token+"\n" }, nil, ""},
		{"base64 ca", func(a *cyclone.ClusterAccess) { a.CA = base64.StdEncoding.EncodeToString([]byte(a.CA)) }, nil, ""},
		{"folded base64 ca", func(a *cyclone.ClusterAccess) {
			b := base64.StdEncoding.EncodeToString([]byte(a.CA))
			a.CA = b[:64] + "\n  " + b[64:]
		}, nil, ""},
		{"insecure with ca", func(a *cyclone.ClusterAccess) { a.Insecure = true }, nil, ""},
		{"no host", func(a *cyclone.ClusterAccess) { a.Host = "" }, cyclone.ErrInvalid, "host: is missing"},
		{"another scheme", func(a *cyclone.ClusterAccess) { a.Host = "ftp://10.0.0.1" }, cyclone.ErrInvalid, "host: is not the URL"},
		{"not a URL", func(a *cyclone.ClusterAccess) { a.Host = "https://a b" }, cyclone.ErrInvalid, "host: is not the URL"},
		{"password in the URL", func(a *cyclone.ClusterAccess) { a.Host = "https://u:secret@10.0.0.1" }, cyclone.ErrInvalid, "give a token instead"},
		{"query", func(a *cyclone.ClusterAccess) { a.Host += "?x=1" }, cyclone.ErrInvalid, "query or fragment"},
		{"plain http", func(a *cyclone.ClusterAccess) { a.Host = "http://10.0.0.1" }, cyclone.ErrInvalid, "unprotected"},
		{"key instead of ca", func(a *cyclone.ClusterAccess) { a.CA = "-----BEGIN RSA PRIVATE KEY-----" }, cyclone.ErrInvalid, "no certificate"},
		{"wrong token", func(a *cyclone.ClusterAccess) { a.Token = "wrong" }, cyclone.ErrForbidden, "does not accept the token"},
		{"path of a proxy", func(a *cyclone.ClusterAccess) { a.Host += "/k8s/clusters/c-1" }, cyclone.ErrUnavailable, "not like a Kubernetes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.Access()
			tt.change(&a)
			err := (&kubernetes.Deployer{}).Check(t.Context(), a)
			if !errors.Is(err, tt.kind) || tt.kind != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; want %v, %q", err, tt.kind, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a password is in %q", err)
			}
		})
	}
}

// Servers that are no API servers, or say nothing, are told apart from wrong tokens.
func TestCheckStrangers(t *testing.T) {
	hang := make(chan struct{})
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		says    string
	}{
		{"a web page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) }, "not like a Kubernetes"},
		{"not found", http.NotFound, "not like a Kubernetes"},
		{"broken proxy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "cannot be reached"},
		{"silence", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}, "cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.handler)
			defer s.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := (&kubernetes.Deployer{}).Check(ctx, cyclone.ClusterAccess{Host: s.URL, Token: "t", Insecure: true})
			if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; want %q", err, tt.says)
			}
		})
	}
	close(hang)
}
