package manifest

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestTableIsWhatTheParserReads holds the table of keys to the tables that
// the parser goes by, both ways.
func TestTableIsWhatTheParserReads(t *testing.T) {
	t.Parallel()
	for r, name := range map[role]string{rolePreBuild: "pre_build", roleIntegration: "integration", roleService: "service", rolePostBuild: "post_build"} {
		same(t, name, names(stepPlace.of(r)), keysOf(r))
	}
	same(t, "file", names(stagePlace.keys), stageNames)
	same(t, "build", names(buildPlace.keys), slices.Collect(maps.Keys(buildKeys)))
	same(t, "target", names(targetPlace.keys), slices.Collect(maps.Keys(targetKeys)))
	same(t, "auth_config", names(authPlace.keys), slices.Collect(maps.Keys(authKeys)))
	same(t, "when", names(whenPlace.keys), slices.Collect(maps.Keys(whenKeys)))
	same(t, "wait_for", names(waitPlace.keys), slices.Collect(maps.Keys(waitKeys)))
	same(t, "reports", names(reportsPlace.keys), slices.Collect(maps.Keys(reportKeys)))
}

func same(t *testing.T, where string, described, read []string) {
	t.Helper()
	described, read = slices.Sorted(slices.Values(described)), slices.Sorted(slices.Values(read))
	if !slices.Equal(described, read) {
		t.Errorf("%s: the table has %v, the parser %v", where, described, read)
	}
}

// TestTableIsComplete holds every entry to what editors and readers need.
func TestTableIsComplete(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, p := range places {
		for _, e := range p.keys {
			f, known := forms[e.form]
			used[e.form] = true
			if !known || f.words == "" || f.schema == nil {
				t.Errorf("%s.%s has the form %q, which is none", p.name, e.name, e.form)
			}
			if !strings.HasSuffix(e.what, ".") || e.example == "" {
				t.Errorf("%s.%s lacks a sentence or an example", p.name, e.name)
			}
		}
	}
	for name := range forms {
		if !used[name] {
			t.Errorf("no key has the form %s", name)
		}
		if _, ok := samples[name]; !ok && !structured[name] {
			t.Errorf("there are no samples of the form %s", name)
		}
	}
}

// structured are the forms that the generator makes of places.
var structured = map[string]bool{
	"pre_build": true, "build": true, "integration": true, "post_build": true, "deploy": true, "services": true,
	"auth_config": true, "when": true, "wait_for": true, "reports": true,
}

// samples are values of each form: some that it allows, some that it does not.
var samples = map[string]struct{ good, bad []string }{
	"image":            {[]string{"golang:1.26", "a.example.com:5000/b/c:1", "7", `"${X}/a"`, "alpine"}, []string{"Golang:1", "a:b:c", `"${"`, `"a b"`, "BUILT_IMAGE", "built_image", "a@sha256:1"}},
	"image_or_built":   {[]string{"golang:1.26", "BUILT_IMAGE", "BUILT_IAMGE", `"${X}"`, "localhost/a"}, []string{"Built_Image", "a:b:c", "'/a'"}},
	"built_image":      {[]string{"BUILT_IMAGE", `"${X}"`}, []string{"golang:1.26", "built_image", "BUILT_IMAGES"}},
	"image_name":       {[]string{"a/b", "registry.example.com:5000/a", `"${X}:1"`}, []string{"a:1", "A", "'a@b'"}},
	"commands":         {[]string{"make", "[a, b]", "0755", "[yes, 1.10]", `"echo ${"`}, []string{"[]", "''", "[' ']", "[{a: b}]", "[[a]]"}},
	"environment":      {[]string{"[A=1, 'B = x y']", "{A: 1, B: , C: yes}", "{}", `["A=${B}"]`, "{x-a: 1}"}, []string{"[]", "A=1", "[A]", "[A: 1]", "{'a b': 1}", "{A: [1]}", `["A=${-}"]`, "['=x']", `{A: "${"}`}},
	"volumes":          {[]string{"['.:/src']", "./a:/b:ro", "['/x:/y']", "[./a/b:/c/]"}, []string{"[.:src]", "['.:/']", "['a:/b']", "['.']", "['.:/a:rw']", "['.:/a:b:c']", "{.: /src}", "[\"./a\\x01b:/c\"]"}},
	"arguments":        {[]string{"sh -c 'a b'", "[a, '']", "[1, true]"}, []string{"[]", "''", "{a: b}", "[{a: b}]"}},
	"links":            {[]string{"[db]", "'db:alias'", "['db:a-1']"}, []string{"[]", "['db:']", "['db:a b']", "{db: a}", "[~]"}},
	"ports":            {[]string{"[8080]", "'8080:80'", "['127.0.0.1:1:2/tcp', 53:53/udp]"}, []string{"[a]", "['1:2:3:4']", "[80/http]", "[-1]", "[1.5]", "[true]"}},
	"extra_hosts":      {[]string{"['a:10.0.0.1']", "'a:host-gateway'", "['b:::1']"}, []string{"[a]", "['a:b']", "['10.0.0.1']"}},
	"dns":              {[]string{"[10.0.0.53]", "'2001:db8::53'"}, []string{"[dns]", "['10.0.0']", "[1]"}},
	"devices":          {[]string{"[/dev/kvm]", "'/dev/a:/dev/b:r'"}, []string{"[kvm]", "['/a:b']", "['/a:/b:x']"}},
	"bool":             {[]string{"true", "false", "True", "'true'", "FALSE"}, []string{"yes", "on", "1", "'maybe'", "[true]"}},
	"size":             {[]string{"512m", "2g", "1073741824", "1.5GB", "'8388608'", "7 MiB"}, []string{"big", "1x", "1024", "-1g", "[512m]", "true"}},
	"number":           {[]string{"1", "0.5", "'2'", "4096"}, []string{"0", "-1", "many", "'0'", "5000", "[1]"}},
	"cpuset":           {[]string{"0", "'0-2,4'", "'1,2'"}, []string{"a", "'0-'", "-1", "1.5", "[0]"}},
	"pull":             {[]string{"always", "missing", "never", "true", "false", "Always"}, []string{"often", "1", "[always]", "yes"}},
	"secrets":          {[]string{"[A, B_1]", "A", "{A: b-c}", "{}"}, []string{"[]", "[a-b]", "{a-b: c}", "[A, A]", "{A: }", "[{A: b}]", "{x-a: b}"}},
	"build_secrets":    {[]string{"[a-b]", "{a-b: c}", "x", "{x-a: b}"}, []string{"[]", "{a: }", "[A, A]", "[[a]]"}},
	"duration":         {[]string{"90s", "10m", "1h30m", "1.5h"}, []string{"10", "0s", "10x", "ten", "[1m]", "-1m", "m", "'1m 30s'"}},
	"retries":          {[]string{"0", "5", "'2'"}, []string{"6", "-1", "many", "1.5", "[1]", "true"}},
	"globs":            {[]string{"a", "['*.xml', '!b']", "[1, 2]", "'**/x'"}, []string{"[]", "'!'", "['']", "{a: b}"}},
	"cache":            {[]string{".npm", "[d, e/f]", "/root/.cache", "[7]"}, []string{"[]", "''", "{a: b}", "['*.o']", "~/.npm", "[$HOME]", "/", "./", "[../a]", "/proc/1", "'a\nb'", `'a\b'`, "\"a\\x01b\""}},
	"kept":             {[]string{"a", "['*.xml', /opt/b]", "[1, 2]", "'**/x'"}, []string{"[]", "'!a'", "['']", "{a: b}", "/", "../a", "'['", "\"a\\nb\"", "\"a\\x01b\""}},
	"changed_paths":    {[]string{"a", "['src/**', '!**/*.md']", "[1]"}, []string{"[]", "'!'", "/a", "./a", "a/", "'!../a'", "{a: b}", "\"a\\x01b\""}},
	"path":             {[]string{"Dockerfile", "a/b", `"${X}/a"`, "1"}, []string{"/a", `'a\b'`, "''", "[a]", `"${x-y}"`, "\"a\\x01b\""}},
	"inner_path":       {[]string{".", "./a/", `"${X}"`, "a/../b"}, []string{"/a", "..", "../a", `'a\b'`, "[a]", "\"a\\x01b\""}},
	"outputs":          {[]string{"bin", "[a, '*.so', 'a:b']", "['/a:b/']"}, []string{"[]", "['a:']", "[':b']", "['a:b:c']", "{a: b}", "\"a\\x01b\""}},
	"template":         {[]string{"a", `"${X} b"`, "1", "$$", "a$"}, []string{`"${"`, `"${a b}"`, "''", "[a]", `"${X:-y}"`}},
	"tags":             {[]string{"latest", "[a, '1.2']", `["${X}"]`, "2"}, []string{"[]", "['a b']", "[-a]", "{a: b}", "[a/b]"}},
	"kubernetes_name":  {[]string{"prod", "1", `"${X}"`}, []string{"a/b", "'a b'", "[a]", "'a?'"}},
	"kubernetes_names": {[]string{"web", "[a, b]"}, []string{"[]", "[a/b]", "[[a]]", "{a: b}"}},
	"target_type":      {[]string{"kubernetes"}, []string{"swarm", "[kubernetes]", "''"}},
	"host":             {[]string{"https://203.0.113.10:6443", "<host>", `"${X}"`, "10.0.0.1"}, []string{"'a b'", "a@b", "[a]"}},
	"event_kinds":      {[]string{"push", "[tag, '!cron', pull_request]", "'p*'"}, []string{"[pushes]", "[]", "'!x'", "{push: 1}"}},
	"port_number":      {[]string{"1", "65535", "'80'"}, []string{"0", "65536", "http", "[1]", "true"}},
	"http_path":        {[]string{"/", "'/healthz?a=b'"}, []string{"healthz", "'/a b'", "[/a]", "1"}},
}
