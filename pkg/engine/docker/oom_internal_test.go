package docker

import "testing"

func TestKillCount(t *testing.T) {
	for text, want := range map[string]int64{
		"pgfault 12\noom_kill 7\nnuma_hit 3\n": 7, "oom_kill 0": 0, "pgfault 12\n": -1, "oom_kill x\n": -1, "": -1,
	} {
		if got := killCount(text); got != want {
			t.Errorf("killCount(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestRanOut(t *testing.T) {
	for _, c := range []struct {
		before, after int64
		want          bool
	}{{3, 4, true}, {3, 3, false}, {-1, 4, false}, {3, -1, false}} {
		if got := ranOut(c.before, c.after); got != c.want {
			t.Errorf("ranOut(%d, %d) = %t", c.before, c.after, got)
		}
	}
}
