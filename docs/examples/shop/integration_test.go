package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestIntegration talks to a running shop; SHOP_URL says where it is. The
// Integration stage starts one from the image that the Build stage made.
func TestIntegration(t *testing.T) {
	shop := os.Getenv("SHOP_URL")
	if shop == "" {
		t.Skip("SHOP_URL is not set: this test needs a running shop")
	}
	for _, body := range []string{`{"name":"tea","cents":350}`, `{"name":"coffee","cents":420}`, `{"name":"tea","cents":380}`} {
		answer, err := http.Post(shop+"/products", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusCreated {
			t.Fatalf("POST %s: %s", body, answer.Status)
		}
	}
	answer, err := http.Get(shop + "/products")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got []Product
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("GET /products: %v in %s", err, text)
	}
	want := []Product{{"coffee", 420}, {"tea", 380}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("products are %+v, want %+v", got, want)
	}
}
