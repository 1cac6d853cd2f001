package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
)

// MaxSize is how many items a forge's page has at most: none gives more.
const MaxSize = 100

const (
	usualSize = 50 // of a page when nobody says
	// maxPage keeps made-up cursors out.
	maxPage = 100_000
	// maxRead is how many pages of a forge are read for one page of ours.
	maxRead = 20
)

// Answer is what a forge says besides the body.
type Answer struct {
	Status int
	Header http.Header
}

// Next is the number of the next page; 0 when this was the last. Only the
// number is taken from the header Link, never the address.
func (a *Answer) Next() int {
	if n := positive(a.Header.Get("X-Next-Page")); n > 0 {
		return n
	}
	links := strings.Join(a.Header.Values("Link"), ",")
	for {
		_, after, found := strings.Cut(links, "<")
		if !found {
			return 0
		}
		address, after, _ := strings.Cut(after, ">")
		params, _, _ := strings.Cut(after, "<")
		if u, err := url.Parse(address); err == nil && strings.Contains(params, `rel="next"`) {
			return positive(u.Query().Get("page"))
		}
		links = after
	}
}

// Total is how many items there are on all pages; 0 when the forge does not say.
func (a *Answer) Total() int {
	return max(positive(a.Header.Get("X-Total")), positive(a.Header.Get("X-Total-Count")))
}

func positive(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage*MaxSize {
		return 0
	}
	return n
}

// Place is where a page of ours begins among a forge's pages.
type Place struct {
	Page int // the forge's, from 1
	Size int // of the forge's pages
	Skip int // how many items of the page came before
	want int // how many items to return
}

// PlaceOf reads a page's limit and cursor; filtered says that items are going
// to be left out, so that large pages of the forge are worth it. ErrInvalid for
// a cursor that no list returned.
func PlaceOf(p cyclone.Page, filtered bool) (Place, error) {
	at := Place{Page: 1, Size: min(p.Limit, MaxSize)}
	if p.Limit <= 0 {
		at.Size = usualSize
	}
	at.want = at.Size
	if filtered {
		at.Size = MaxSize
	}
	if p.Cursor == "" {
		return at, nil
	}
	given := at
	if n, err := fmt.Sscanf(p.Cursor, "%d.%d.%d", &given.Page, &given.Size, &given.Skip); err != nil || n != 3 || given.cursor() != p.Cursor || !given.sound() {
		return Place{}, cyclone.Invalid("cursor", "is not one that a list returned; start again without a cursor")
	}
	return given, nil
}

func (p Place) sound() bool {
	return p.Page >= 1 && p.Page <= maxPage && p.Size >= 1 && p.Size <= MaxSize && p.Skip >= 0 && p.Skip < p.Size
}

// cursor carries the size too: with another one the same page is elsewhere.
func (p Place) cursor() string { return fmt.Sprintf("%d.%d.%d", p.Page, p.Size, p.Skip) }

// Query is the place as all forges ask for it, except for the name of the size:
// "per_page", or "limit" of Gitea.
func (p Place) Query(sizeName string) url.Values {
	return url.Values{"page": {strconv.Itoa(p.Page)}, sizeName: {strconv.Itoa(p.Size)}}
}

// Lister reads a list of a forge, item by item, and returns it page by page.
type Lister[F, T any] struct {
	// Fetch reads the forge's page at a place.
	Fetch func(Place) ([]F, *Answer, error)
	// Keep says which items are wanted; nil means all.
	Keep func(F) bool
	// To makes an item of ours.
	To func(F) T
}

// List returns one page. Of a list that is filtered it reads at most 20 pages
// of the forge; then it returns what it has, maybe nothing, and where to go on.
// Total is what the forge says when all are wanted, else how many are known of.
func (l Lister[F, T]) List(at Place) (cyclone.List[T], error) {
	list := cyclone.List[T]{Items: []T{}}
	before := (at.Page-1)*at.Size + at.Skip
	if l.Keep != nil {
		before = 0
	}
	for range maxRead {
		items, answer, err := l.Fetch(at)
		if err != nil {
			return cyclone.List[T]{}, err
		}
		list.Next = l.take(&list, items, answer, &at)
		if l.Keep == nil {
			list.Total = answer.Total()
		}
		if list.Next == "" || len(list.Items) >= at.want || l.Keep == nil {
			break
		}
	}
	known := before + len(list.Items)
	if list.Next != "" {
		known++
	}
	list.Total = max(list.Total, known)
	return list, nil
}

// take adds the wanted items of a page as far as there is room, moves at to
// where to go on and returns the cursor of that.
func (l Lister[F, T]) take(list *cyclone.List[T], items []F, answer *Answer, at *Place) string {
	for i := at.Skip; i < len(items); i++ {
		if l.Keep != nil && !l.Keep(items[i]) {
			continue
		}
		if len(list.Items) == at.want {
			at.Skip = i
			return at.cursor()
		}
		list.Items = append(list.Items, l.To(items[i]))
	}
	next := answer.Next()
	if next <= at.Page {
		return ""
	}
	at.Page, at.Skip = next, 0
	return at.cursor()
}

// All reads all pages of fetch, maxPages at most; whole says that none was left.
func All[F any](maxPages int, fetch func(Place) ([]F, *Answer, error)) (items []F, whole bool, err error) {
	at := Place{Page: 1, Size: MaxSize, want: MaxSize}
	for range maxPages {
		some, answer, err := fetch(at)
		if err != nil {
			return nil, false, err
		}
		items = append(items, some...)
		next := answer.Next()
		if next <= at.Page {
			return items, true, nil
		}
		at.Page = next
	}
	return items, false, nil
}

// Named is a Lister.Keep that wants those whose name has query in it, in upper
// or lower case; an empty query wants all.
func Named[F any](query string, name func(F) string) func(F) bool {
	if query == "" {
		return nil
	}
	query = strings.ToLower(query)
	return func(item F) bool { return strings.Contains(strings.ToLower(name(item)), query) }
}
