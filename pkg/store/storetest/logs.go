package storetest

import (
	"bytes"
	"testing"

	"cyclone/pkg/cyclone"
)

func chunk(first, count int64, data string) cyclone.Chunk {
	return cyclone.Chunk{First: first, Count: count, Data: []byte(data)}
}

// threeChunks stores lines 1-10, 11 and 12-20.
func threeChunks(t testing.TB, s Stores) []cyclone.Chunk {
	t.Helper()
	chunks := []cyclone.Chunk{chunk(1, 10, "one\x00\xff"), chunk(11, 1, "two"), chunk(12, 9, "three")}
	for _, c := range chunks {
		must(t, s.Logs.Append(t.Context(), "e", c))
	}
	return chunks
}

var logs = []clause{
	{"Last is the last line's number, 0 for an empty log", func(t *testing.T, s Stores) {
		same(t, int64(0), must1(s.Logs.Last(t.Context(), "e"))(t), "last line of nothing")
		threeChunks(t, s)
		same(t, int64(20), must1(s.Logs.Last(t.Context(), "e"))(t), "last line")
		same(t, int64(0), must1(s.Logs.Last(t.Context(), "f"))(t), "last line of another event")
	}},
	{"a chunk that is already there is accepted and changes nothing", func(t *testing.T, s Stores) {
		want := threeChunks(t, s)
		for _, c := range want {
			must(t, s.Logs.Append(t.Context(), "e", c))
		}
		same(t, want, must1(s.Logs.Chunks(t.Context(), "e", 1, 10))(t), "chunks")
	}},
	{"a chunk that leaves a gap, overlaps or differs is ErrConflict", func(t *testing.T, s Stores) {
		is(t, s.Logs.Append(t.Context(), "e", chunk(2, 1, "x")), cyclone.ErrConflict, "a log that begins at line 2")
		want := threeChunks(t, s)
		for what, c := range map[string]cyclone.Chunk{
			"a gap": chunk(22, 1, "x"), "an overlap with the end": chunk(20, 5, "x"), "all of it at once": chunk(1, 20, "x"),
			"a part of a chunk": chunk(1, 5, "one"), "the middle of a chunk": chunk(3, 2, "x"),
			"a longer chunk": chunk(11, 2, "two"), "other bytes": chunk(11, 1, "2"),
		} {
			is(t, s.Logs.Append(t.Context(), "e", c), cyclone.ErrConflict, what)
		}
		same(t, want, must1(s.Logs.Chunks(t.Context(), "e", 1, 10))(t), "chunks")
	}},
	{"a chunk without lines, without bytes or from line 0 is ErrInvalid", func(t *testing.T, s Stores) {
		for what, c := range map[string]cyclone.Chunk{"line 0": chunk(0, 1, "x"), "no lines": chunk(1, 0, "x"), "no bytes": chunk(1, 1, "")} {
			is(t, s.Logs.Append(t.Context(), "e", c), cyclone.ErrInvalid, what)
		}
	}},
	{"20 appenders of one chunk all succeed and it is stored once", func(t *testing.T, s Stores) {
		for _, err := range together(20, func(int) error { return s.Logs.Append(t.Context(), "e", chunk(1, 5, "same")) }) {
			must(t, err)
		}
		same(t, []cyclone.Chunk{chunk(1, 5, "same")}, must1(s.Logs.Chunks(t.Context(), "e", 1, 10))(t), "chunks")
	}},
	{"20 appenders of different chunks at one place: one succeeds", func(t *testing.T, s Stores) {
		oneWins(t, together(20, func(i int) error { return s.Logs.Append(t.Context(), "e", chunk(1, int64(i+1), numbered(i))) }))
	}},
	{"Chunks begins with the chunk that holds the line", func(t *testing.T, s Stores) {
		all := threeChunks(t, s)
		must(t, s.Logs.Append(t.Context(), "f", chunk(1, 50, "other")))
		for _, c := range []struct {
			from  int64
			limit int
			want  []cyclone.Chunk
		}{
			{0, 10, all}, {1, 10, all}, {10, 10, all}, {5, 2, all[:2]}, {11, 10, all[1:]}, {12, 10, all[2:]}, {20, 1, all[2:]},
			{21, 10, []cyclone.Chunk{}}, {1000, 10, []cyclone.Chunk{}},
		} {
			same(t, c.want, must1(s.Logs.Chunks(t.Context(), "e", c.from, c.limit))(t), numbered(int(c.from)))
		}
	}},
	{"a chunk may have a MiB", func(t *testing.T, s Stores) {
		large := cyclone.Chunk{First: 1, Count: 1, Data: bytes.Repeat([]byte{0, 1, 0xfe, 0xff}, 1<<18)}
		must(t, s.Logs.Append(t.Context(), "e", large))
		got := must1(s.Logs.Chunks(t.Context(), "e", 1, 1))(t)
		if len(got) != 1 || got[0].Count != 1 || !bytes.Equal(got[0].Data, large.Data) {
			t.Error("the chunk came back changed")
		}
	}},
	{"Delete removes one log; deleting none is no error", func(t *testing.T, s Stores) {
		threeChunks(t, s)
		must(t, s.Logs.Append(t.Context(), "f", chunk(1, 1, "other")))
		must(t, s.Logs.Delete(t.Context(), "e"))
		must(t, s.Logs.Delete(t.Context(), "e"))
		same(t, int64(0), must1(s.Logs.Last(t.Context(), "e"))(t), "last line of the deleted log")
		same(t, int64(1), must1(s.Logs.Last(t.Context(), "f"))(t), "last line of the other log")
		must(t, s.Logs.Append(t.Context(), "e", chunk(1, 1, "anew")))
	}},
}
