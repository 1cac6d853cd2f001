package scmtest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlaces(t *testing.T) {
	t.Parallel()
	const text = ` { "a" : [ 1 , {"b":"}]"} , [] ], "c":{ }, "d" :null} `
	var got [][2]string
	for _, p := range places(t, []byte(text)) {
		got = append(got, [2]string{text[p.key:p.keyEnd], text[p.value:p.end]})
	}
	want := [][2]string{
		{`"a"`, `[ 1 , {"b":"}]"} , [] ]`}, {"", "1"}, {"", `{"b":"}]"}`}, {`"b"`, `"}]"`}, {"", "[]"}, {`"c"`, "{ }"}, {`"d"`, "null"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}
