package rest_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

func TestNextAndTotal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header      http.Header
		next, total int
	}{
		{http.Header{}, 0, 0},
		{http.Header{"Link": {`<https://a/x?page=1>; rel="prev", <https://a/x?per_page=2&page=3>; rel="next", <https://a/x?page=9>; rel="last"`}}, 3, 0},
		{http.Header{"Link": {`<https://a/x?q=a,b&page=3>; rel="next"`}}, 3, 0},
		{http.Header{"Link": {`<https://a/x?page=1>; rel="first"`, `<https://evil/x?page=2>; rel="next"`}, "X-Total-Count": {"17"}}, 2, 17},
		{http.Header{"Link": {`<https://a/x?page=2>; rel="prev"`}}, 0, 0},
		{http.Header{"Link": {`<https://a/x?page=-2>; rel="next"`}}, 0, 0},
		{http.Header{"Link": {`<https://a/x?cursor=abc>; rel="next"`}}, 0, 0},
		{http.Header{"Link": {`<<<>>,;rel="next"`}}, 0, 0},
		{http.Header{"Link": {`<https://a/x?page=2; rel="next"`}}, 0, 0},
		{http.Header{"X-Next-Page": {"4"}, "X-Total": {"70"}}, 4, 70},
		{http.Header{"X-Next-Page": {""}, "X-Total": {"-1"}}, 0, 0},
		{http.Header{"X-Next-Page": {"99999999999999999999"}, "X-Total": {"1e9"}}, 0, 0},
	} {
		answer := rest.Answer{Header: c.header}
		if answer.Next() != c.next || answer.Total() != c.total {
			t.Errorf("%v: next %d, total %d; want %d and %d", c.header, answer.Next(), answer.Total(), c.next, c.total)
		}
	}
}

// numbers is a forge's list of n numbers.
func numbers(n int, read *[]int) func(rest.Place) ([]int, *rest.Answer, error) {
	return func(p rest.Place) ([]int, *rest.Answer, error) {
		*read = append(*read, p.Page)
		var page []int
		for i := (p.Page - 1) * p.Size; i < min(p.Page*p.Size, n); i++ {
			page = append(page, i)
		}
		header := http.Header{}
		if p.Page*p.Size < n {
			header.Set("X-Next-Page", fmt.Sprint(p.Page+1))
		}
		return page, &rest.Answer{Header: header}, nil
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, limit, every int // every is 0 for no filter
		pages           string
	}{
		{0, 10, 0, "0"}, {5, 10, 0, "5"}, {10, 10, 0, "10"}, {25, 10, 0, "10 10 5"}, {120, 0, 0, "50 50 20"}, {250, 900, 0, "100 100 50"},
		{250, 10, 50, "5"}, {250, 3, 50, "3 2"}, {1000, 10, 50, "10 10"}, {1000, 200, 7, "100 43"},
		{5000, 10, 4999, "1 0 1"}, {3000, 10, 2999, "1 1"},
	} {
		var read []int
		lister := rest.Lister[int, string]{Fetch: numbers(c.n, &read), To: func(i int) string { return fmt.Sprint(i) }}
		if c.every > 0 {
			lister.Keep = func(i int) bool { return i%c.every == 0 }
		}
		var all, sizes []string
		page := cyclone.Page{Limit: c.limit}
		for range 50 {
			at, err := rest.PlaceOf(page, c.every > 0)
			if err != nil {
				t.Fatal(err)
			}
			list, err := lister.List(at)
			if err != nil {
				t.Fatal(err)
			}
			if list.Total < len(list.Items) || list.Items == nil {
				t.Errorf("%+v: total %d of a page of %d", c, list.Total, len(list.Items))
			}
			all = append(all, list.Items...)
			sizes = append(sizes, fmt.Sprint(len(list.Items)))
			if page.Cursor = list.Next; page.Cursor == "" {
				break
			}
		}
		var want []string
		for i := range c.n {
			if c.every == 0 || i%c.every == 0 {
				want = append(want, fmt.Sprint(i))
			}
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("%+v: items (-want +got):\n%s", c, diff)
		}
		if got := strings.Join(sizes, " "); got != c.pages {
			t.Errorf("%+v: pages of %s", c, got)
		}
	}
}

// What nobody finds is not looked for without end.
func TestFilterReadsSoMuch(t *testing.T) {
	t.Parallel()
	var read []int
	at, err := rest.PlaceOf(cyclone.Page{}, true)
	if err != nil {
		t.Fatal(err)
	}
	list, err := rest.Lister[int, int]{
		Fetch: numbers(1_000_000, &read), Keep: func(int) bool { return false }, To: func(i int) int { return i },
	}.List(at)
	if err != nil || len(read) != 20 || list.Next != "21.100.0" || len(list.Items) != 0 {
		t.Errorf("read %d pages: %+v, %v", len(read), list, err)
	}
	read = nil
	all, whole, err := rest.All(3, numbers(1000, &read))
	if err != nil || whole || len(all) != 300 {
		t.Errorf("All: %d, whole %t, %v", len(all), whole, err)
	}
	all, whole, err = rest.All(3, numbers(300, &read))
	if err != nil || !whole || len(all) != 300 {
		t.Errorf("All: %d, whole %t, %v", len(all), whole, err)
	}
	away := errors.New("away")
	if _, _, err = rest.All(3, func(rest.Place) ([]int, *rest.Answer, error) { return nil, nil, away }); !errors.Is(err, away) {
		t.Errorf("All: %v", err)
	}
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "1.50.0", "2.100.99", "0.0.0", "-1.5.5", "1.2.3.4", "1.50.0\n", "１.50.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		at, err := rest.PlaceOf(cyclone.Page{Cursor: cursor}, false)
		if err != nil {
			if !errors.Is(err, cyclone.ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
			return
		}
		if at.Page < 1 || at.Size < 1 || at.Size > rest.MaxSize || at.Skip < 0 || at.Skip >= at.Size {
			t.Errorf("%q leads to %+v", cursor, at)
		}
	})
}
