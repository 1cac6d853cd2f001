package main

import "testing"

func TestProductCheck(t *testing.T) {
	for _, c := range []struct {
		product Product
		want    string
	}{
		{Product{"tea", 350}, ""},
		{Product{" ", 350}, "name is empty"},
		{Product{"tea", 0}, "cents must be more than 0"},
	} {
		got := ""
		if err := c.product.Check(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("Check(%+v) = %q, want %q", c.product, got, c.want)
		}
	}
}
