package worker

import "testing"

func TestMemoryGroup(t *testing.T) {
	for _, c := range []struct{ groups, want string }{
		{"12:cpu,cpuacct:/docker/a\n5:memory:/docker/abc\n1:name=systemd:/docker/abc\n", "/docker/abc"},
		{"5:memory:/\n", ""},
		{"0::/system.slice/docker-abc.scope\n", ""},
		{"", ""},
	} {
		if got := memoryGroup(c.groups); got != c.want {
			t.Errorf("memoryGroup(%q) = %q, want %q", c.groups, got, c.want)
		}
	}
}
