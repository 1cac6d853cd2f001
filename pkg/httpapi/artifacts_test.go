package httpapi_test

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
)

func TestArtifactsAreHarmless(t *testing.T) {
	f, e := workerFixture(t)
	artifacts := "/api/v1/events/" + string(e.ID) + "/artifacts/"
	for path, want := range map[string]struct{ kind, name string }{
		"log.txt":                {"text/plain; charset=utf-8", `attachment; filename="log.txt"; filename*=UTF-8''log.txt`},
		"a/b/report.JSON":        {"application/json", `attachment; filename="report.JSON"; filename*=UTF-8''report.JSON`},
		"shot.png":               {"image/png", `attachment; filename="shot.png"; filename*=UTF-8''shot.png`},
		"x.tar.gz":               {"application/gzip", `attachment; filename="x.tar.gz"; filename*=UTF-8''x.tar.gz`},
		"index.html":             {"application/octet-stream", `attachment; filename="index.html"; filename*=UTF-8''index.html`},
		"logo.svg":               {"application/octet-stream", `attachment; filename="logo.svg"; filename*=UTF-8''logo.svg`},
		"page.xhtml":             {"application/octet-stream", `attachment; filename="page.xhtml"; filename*=UTF-8''page.xhtml`},
		"data.xml":               {"text/plain; charset=utf-8", `attachment; filename="data.xml"; filename*=UTF-8''data.xml`},
		"noname":                 {"application/octet-stream", `attachment; filename="noname"; filename*=UTF-8''noname`},
		"d/.profile":             {"application/octet-stream", `attachment; filename="_profile"; filename*=UTF-8''.profile`},
		`q"uote; filename=x.exe`: {"application/octet-stream", `attachment; filename="q_uote_ filename_x.exe"; filename*=UTF-8''q%22uote%3B%20filename%3Dx.exe`},
		"Größe 报告.txt":           {"text/plain; charset=utf-8", `attachment; filename="Gr__e __.txt"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%E6%8A%A5%E5%91%8A.txt`},
	} {
		escaped := (&url.URL{Path: path}).EscapedPath()
		f.keep(e, cyclone.FileArtifact, escaped, "<script>")
		a := f.want(200, "GET", artifacts+escaped, "")
		got := map[string]string{}
		for _, name := range []string{"Content-Type", "Content-Disposition", "Content-Security-Policy", "X-Content-Type-Options", "ETag", "Accept-Ranges", "Content-Length"} {
			got[name] = a.header.Get(name)
		}
		if diff := cmp.Diff(map[string]string{
			"Content-Type": want.kind, "Content-Disposition": want.name, "Content-Security-Policy": "sandbox; default-src 'none'",
			"X-Content-Type-Options": "nosniff", "ETag": `"` + sum("<script>") + `"`, "Accept-Ranges": "bytes", "Content-Length": "8",
		}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestPartsOfArtifacts(t *testing.T) {
	f, e := workerFixture(t)
	path := "/api/v1/events/" + string(e.ID) + "/artifacts/a.txt"
	f.keep(e, cyclone.FileArtifact, "a.txt", "0123456789")
	tag := `"` + sum("0123456789") + `"`
	for _, tt := range []struct {
		name      string
		headers   []header
		status    int
		body, has string
	}{
		{"part", []header{{"Range", "bytes=2-4"}}, 206, "234", "bytes 2-4/10"},
		{"end", []header{{"Range", "bytes=-3"}}, 206, "789", "bytes 7-9/10"},
		{"rest", []header{{"Range", "bytes=8-"}}, 206, "89", "bytes 8-9/10"},
		{"several parts", []header{{"Range", "bytes=0-1,3-4"}}, 200, "0123456789", ""},
		{"of this content", []header{{"Range", "bytes=0-0"}, {"If-Range", tag}}, 206, "0", "bytes 0-0/10"},
		{"of another content", []header{{"Range", "bytes=0-0"}, {"If-Range", `"x"`}}, 200, "0123456789", ""},
		{"known already", []header{{"If-None-Match", tag}}, 304, "", ""},
		{"known is another", []header{{"If-None-Match", `"x"`}}, 200, "0123456789", ""},
	} {
		a := f.do("GET", path, "", tt.headers...)
		if a.status != tt.status || a.body != tt.body || a.header.Get("Content-Range") != tt.has {
			t.Errorf("%s: %d %q %q", tt.name, a.status, a.body, a.header.Get("Content-Range"))
		}
	}
	beyond := f.want(416, "GET", path, "", header{"Range", "bytes=10-"})
	if beyond.header.Get("Content-Range") != "bytes */10" || beyond.fields(t) != nil {
		t.Errorf("beyond the end: %v %s", beyond.header, beyond.body)
	}
	head := f.want(200, "HEAD", path, "")
	if head.header.Get("Content-Length") != "10" || head.header.Get("ETag") != tag || head.body != "" {
		t.Errorf("HEAD: %v", head.header)
	}
	f.keep(e, cyclone.FileArtifact, "empty", "")
	if a := f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/artifacts/empty", ""); a.body != "" || a.header.Get("Content-Length") != "0" {
		t.Errorf("empty: %v", a.header)
	}
}

func TestMissingArtifactNamesWhatThereIs(t *testing.T) {
	f, e := workerFixture(t)
	artifacts := "/api/v1/events/" + string(e.ID) + "/artifacts"
	a := f.want(404, "GET", artifacts+"/bin/orders", "")
	if !strings.Contains(a.body, "keeps no artifacts") {
		t.Errorf("none: %s", a.body)
	}
	for _, path := range []string{"bin/linux/orders", "bin/windows/orders", "bin/readme", "coverage/index.html", "log1", "log2", "log3"} {
		f.keep(e, cyclone.FileArtifact, path, "x")
	}
	a = f.want(404, "GET", artifacts+"/bin/orders", "")
	if !strings.Contains(a.body, "there are bin/linux/orders, bin/windows/orders, bin/readme") || !strings.Contains(a.body, "and 2 more") {
		t.Errorf("some: %s", a.body)
	}
	for _, path := range []string{"/../../secrets", "/a/../b", "/%2e%2e/x"} {
		f.want(404, "GET", artifacts+path, "")
	}
	f.want(404, "GET", "/api/v1/events/none/artifacts", "")
	f.want(401, "GET", artifacts, "", header{"Authorization", ""})
	f.want(401, "GET", artifacts+"/log1", "", header{"Authorization", ""})
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	e.FilesRemovedAt = &now
	if err := f.records.Events.Replace(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{artifacts, artifacts + "/log1", "/api/v1/events/" + string(e.ID) + "/reports"} {
		if a := f.want(404, "GET", path, ""); !strings.Contains(a.body, "removed by retention on 2026-03-04") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

func TestArtifactsHavePages(t *testing.T) {
	f, e := workerFixture(t)
	for _, path := range []string{"c", "a/b", "a"} {
		f.keep(e, cyclone.FileArtifact, path, path)
	}
	var got []string
	for cursor := "?limit=2"; cursor != ""; {
		var list cyclone.List[struct {
			Path   string
			Size   int64
			SHA256 string
		}]
		f.want(200, "GET", "/api/v1/events/"+string(e.ID)+"/artifacts"+cursor, "").decode(t, &list)
		for _, i := range list.Items {
			if int(i.Size) != len(i.Path) || i.SHA256 != sum(i.Path) {
				t.Errorf("%+v", i)
			}
			got = append(got, i.Path)
		}
		if cursor = ""; list.Next != "" {
			cursor = "?limit=2&cursor=" + list.Next
		}
	}
	if !slices.Equal(got, []string{"a", "a/b", "c"}) {
		t.Errorf("%v", got)
	}
}

// report is a step's report as workers send it.
func report(t *testing.T, stage cyclone.Stage, step string, ends ...cyclone.TestStatus) string {
	t.Helper()
	r := cyclone.TestReport{TestSummary: cyclone.TestSummary{Total: len(ends), Seconds: 1.5}}
	for i, end := range ends {
		c := cyclone.TestCase{Stage: stage, Step: step, Name: string(rune('A' + i)), Status: end}
		switch end {
		case cyclone.TestPassed:
			r.Passed++
		case cyclone.TestSkipped:
			r.Skipped++
		default:
			r.Failed++
			r.Failures = append(r.Failures, c)
		}
		r.Cases = append(r.Cases, c)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReportsAreMerged(t *testing.T) {
	f, e := workerFixture(t)
	reports := "/api/v1/events/" + string(e.ID) + "/reports"
	a := f.want(200, "GET", reports, "")
	if strings.TrimSpace(a.body) != `{"total":0,"passed":0,"failed":0,"skipped":0,"seconds":0,"failures":[],"cases":[]}` {
		t.Errorf("without reports: %s", a.body)
	}
	send := func(stage cyclone.Stage, step, content string) {
		a := f.do("PUT", filePath(e, cyclone.FileReport, string(stage)+"/"+step+".json")+"?stage="+string(stage)+"&step="+step, content,
			workersToken, workersSession, header{"Content-Type", "application/octet-stream"})
		if a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	send(cyclone.StageIntegration, "integration", report(t, cyclone.StageIntegration, "integration", cyclone.TestFailed, cyclone.TestPassed))
	send(cyclone.StagePreBuild, "unit", report(t, cyclone.StagePreBuild, "unit", cyclone.TestPassed, cyclone.TestError, cyclone.TestSkipped))
	var got cyclone.TestReport
	f.want(200, "GET", reports, "").decode(t, &got)
	names := func(r cyclone.TestReport) (all []string) {
		for _, c := range r.Cases {
			all = append(all, string(c.Stage)+" "+c.Name+" "+string(c.Status))
		}
		return all
	}
	if got.Total != 5 || got.Passed != 2 || got.Failed != 2 || got.Skipped != 1 || got.Seconds != 3 || len(got.Failures) != 2 || got.CreatedAt.IsZero() {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"pre_build A passed", "pre_build B error", "pre_build C skipped", "integration A failed", "integration B passed"}, names(got)); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
	f.want(200, "GET", reports+"?status=failed", "").decode(t, &got)
	if diff := cmp.Diff([]string{"pre_build B error", "integration A failed"}, names(got)); diff != "" || got.Total != 5 {
		t.Errorf("failed cases (-want +got):\n%s", diff)
	}
	f.want(200, "GET", reports+"?status=skipped,error", "").decode(t, &got)
	if len(got.Cases) != 2 {
		t.Errorf("%v", names(got))
	}
	f.want(400, "GET", reports+"?status=success", "")
}

func TestCacheIsShownAndCleared(t *testing.T) {
	var woken int
	f := newFixture(t, func(s *httpapi.Server) { s.Wake = func() { woken++ } })
	f.project("orders")
	const cache = "/api/v1/projects/orders/cache"
	used := cyclone.Stamp(time.Now())
	for _, name := range []string{"west", "east"} {
		node := &cyclone.Node{Name: name, Kind: "docker", SeenAt: used, Caches: []cyclone.Cache{
			{ID: "p1", Project: "orders", Kind: cyclone.CachePaths, Size: 1000, UsedAt: used, InUse: true},
			{ID: "x", Project: "other", Kind: cyclone.CachePaths, Size: 5, UsedAt: used},
			{ID: "e1", Project: "orders", Kind: cyclone.CacheEngine, Size: 1 << 30, UsedAt: used},
		}}
		if err := f.store.Nodes.Beat(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}
	var got struct {
		cyclone.List[struct {
			Node, ID string
			Kind     cyclone.CacheKind
			Size     int64
			UsedAt   time.Time
			InUse    bool
		}]
		Size int64
	}
	f.want(200, "GET", cache+"?limit=2", "").decode(t, &got)
	if got.Total != 4 || got.Next == "" || len(got.Items) != 2 || got.Size != 2*(1000+1<<30) {
		t.Fatalf("%+v", got)
	}
	if i := got.Items[1]; i.Node != "east" || i.Kind != cyclone.CachePaths || i.Size != 1000 || !i.InUse || !i.UsedAt.Equal(used) {
		t.Errorf("%+v", i)
	}
	epoch := func() int64 {
		p, err := f.store.Projects.Find(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		return p.CacheEpoch
	}
	f.want(204, "DELETE", cache, "")
	f.want(204, "DELETE", cache, "")
	f.want(200, "PATCH", "/api/v1/projects/orders", `{"description":"x"}`)
	f.want(200, "PUT", "/api/v1/projects/orders", `{"name":"orders","repository":{"type":"git","url":"https://h/r"}}`)
	if e := epoch(); e != 2 || woken != 2 {
		t.Errorf("epoch %d, woken %d times", e, woken)
	}
	f.want(404, "GET", "/api/v1/projects/none/cache", "")
	f.want(404, "DELETE", "/api/v1/projects/none/cache", "")
	f.want(401, "DELETE", cache, "", header{"Authorization", ""})
}

// busyProjects are written by somebody else right before the first writes.
type busyProjects struct {
	cyclone.ProjectStore
	others int
}

func (b *busyProjects) Replace(ctx context.Context, p *cyclone.Project) error {
	if b.others > 0 {
		b.others--
		other, err := b.Find(ctx, p.Name)
		if err != nil {
			return err
		}
		other.CacheEpoch++
		if err := b.ProjectStore.Replace(ctx, other); err != nil {
			return err
		}
	}
	return b.ProjectStore.Replace(ctx, p)
}

func TestClearingLosesNothingOfOthers(t *testing.T) {
	f := newFixture(t, func(s *httpapi.Server) { s.Projects = &busyProjects{s.Projects, 2} })
	f.project("orders")
	f.want(204, "DELETE", "/api/v1/projects/orders/cache", "")
	p, err := f.store.Projects.Find(t.Context(), "orders")
	if err != nil || p.CacheEpoch != 3 {
		t.Errorf("epoch %d, %v", p.CacheEpoch, err)
	}
}

func TestSchemaNeedsNoToken(t *testing.T) {
	f := newFixture(t)
	var schema map[string]any
	a := f.want(200, "GET", "/api/v1/caicloud.schema.json", "", header{"Authorization", ""})
	a.decode(t, &schema)
	if schema["$schema"] != "https://json-schema.org/draft/2020-12/schema" || a.header.Get("Content-Type") != "application/schema+json" {
		t.Errorf("%v, %s", schema["$schema"], a.header.Get("Content-Type"))
	}
}
