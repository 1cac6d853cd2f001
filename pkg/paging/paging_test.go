package paging_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

func TestLimits(t *testing.T) {
	for asked, want := range map[int]int{-1: 50, 0: 50, 1: 1, 200: 200, 201: 200} {
		if got := paging.Limit(cyclone.Page{Limit: asked}); got != want {
			t.Errorf("Limit(%d) = %d, want %d", asked, got, want)
		}
	}
	for asked, want := range map[int]int{0: 50, 7: 7, 1000: 1000} {
		if got := paging.AtMost(asked); got != want {
			t.Errorf("AtMost(%d) = %d, want %d", asked, got, want)
		}
	}
}

func TestCursor(t *testing.T) {
	parts := []string{"a/b", "", "ü"}
	got, err := paging.Parse(paging.Cursor(parts...), 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(parts, got); diff != "" {
		t.Error(diff)
	}
	if got, err := paging.Parse("", 3); got != nil || err != nil {
		t.Errorf("the first page's cursor is %q, %v", got, err)
	}
	for _, bad := range []string{"?", paging.Cursor("one"), "e30"} {
		if _, err := paging.Parse(bad, 2); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("Parse(%q): %v", bad, err)
		}
	}
}

func TestCut(t *testing.T) {
	mark := func(n int) string { return string(rune('a' + n)) }
	if got := paging.Cut([]int{0, 1, 2}, 2, 9, mark); len(got.Items) != 2 || got.Next != "b" || got.Total != 9 {
		t.Errorf("a page before others is %+v", got)
	}
	if got := paging.Cut([]int{0, 1}, 2, 9, mark); len(got.Items) != 2 || got.Next != "" {
		t.Errorf("the last page is %+v", got)
	}
}
