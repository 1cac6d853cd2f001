//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/xml"
	"slices"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

const junitReport = `<testsuite name="shop"><testcase classname="cart" name="adds"/>` +
	`<testcase classname="cart" name="rounds"><failure message="want 1">got 2 &lt;b&gt;</failure></testcase>` +
	`<testcase classname="cart" name="later"><skipped/></testcase></testsuite>`

// keeping makes an artifact, a test report, an output, an image and a count in
// a cached path.
const keeping = `
pre_build:
  image: busybox:1
  cache: /var/count
  artifacts: ["dist/*.txt", "none/*"]
  reports:
    junit: reports/*.xml
  outputs: dist
  commands:
    - echo "counted $(cat /var/count/n 2>/dev/null || echo 0)"
    - echo $(($(cat /var/count/n 2>/dev/null || echo 0) + 1)) >/var/count/n
    - mkdir -p dist reports && date +%N >dist/made.txt && cp junit.xml reports/
    - echo "made $(cat dist/made.txt)"
build:
  dockerfile_name: Dockerfile
  tags: latest
integration:
  commands:
    - echo "the image has $(cat /made.txt)"
post_build:
  image: busybox:1
  commands:
    - echo "the tree has $(cat dist/made.txt)"
`

func keepingFiles() map[string]string {
	return map[string]string{
		"caicloud.yml": keeping, "junit.xml": junitReport,
		"Dockerfile": "FROM busybox:1\nCOPY dist/made.txt /made.txt\n",
	}
}

func TestArtifactsAndReportsAreKept(t *testing.T) {
	t.Parallel()
	if err := xml.Unmarshal([]byte(junitReport), new(struct{ XMLName xml.Name })); err != nil {
		t.Fatal(err)
	}
	p := newProject(t, keepingFiles(), nil)
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusSuccess || o.Files != 1 {
		t.Fatalf("event %s (%s) with %d artifacts:\n%s", o.Status, o.Reason, o.Files, o.text())
	}
	made := after(t, o, "made ")
	var list cyclone.List[cyclone.File]
	p.call("GET", "/api/v1/events/"+string(o.ID)+"/artifacts", nil, &list)
	if len(list.Items) != 1 || list.Items[0].Path != "dist/made.txt" || list.Items[0].Size != cyclone.Size(len(made)+1) {
		t.Fatalf("artifacts: %+v", list)
	}
	var content []byte
	p.call("GET", "/api/v1/events/"+string(o.ID)+"/artifacts/dist/made.txt", nil, &content)
	if string(content) != made+"\n" {
		t.Errorf("the artifact is %q, made was %q", content, made)
	}
	var report cyclone.TestReport
	p.call("GET", "/api/v1/events/"+string(o.ID)+"/reports", nil, &report)
	if report.Total != 3 || report.Passed != 1 || report.Failed != 1 || report.Skipped != 1 || len(report.Cases) != 3 {
		t.Errorf("report: %+v", report)
	}
	if o.Tests == nil || len(o.Tests.Failures) != 1 || o.Tests.Failures[0].Name != "rounds" || !strings.Contains(o.Tests.Failures[0].Output, "got 2 <b>") {
		t.Errorf("tests of the event: %+v", o.Tests)
	}
	mails := system.Mail.Messages(p.name + " #1 success")
	if len(mails) != 1 || !bytes.Contains(mails[0].Body, []byte("rounds")) {
		t.Errorf("no mail names the failed test")
	}
}

func TestRerunFromAStage(t *testing.T) {
	t.Parallel()
	p := newProject(t, keepingFiles(), nil)
	first := p.finish(p.push(), nil)
	if first.Status != cyclone.StatusSuccess {
		t.Fatalf("event %s: %s\n%s", first.Status, first.Reason, first.text())
	}
	made := after(t, first, "made ")
	again := func(parent *outcome, from cyclone.Stage) *outcome {
		t.Helper()
		var e cyclone.Event
		p.call("POST", "/api/v1/events/"+string(parent.ID)+"/rerun", map[string]any{"from": from}, &e)
		o := p.finish(string(e.ID), nil)
		if o.Status != cyclone.StatusSuccess {
			t.Fatalf("rerun from %s: %s: %s\n%s", from, o.Status, o.Reason, o.text())
		}
		if got := after(t, o, "the tree has "); got != made {
			t.Errorf("rerun from %s: the tree has %q, not %q", from, got, made)
		}
		return o
	}
	second := again(first, cyclone.StageIntegration)
	if second.Image != first.Image || after(t, second, "the image has ") != made {
		t.Errorf("the rerun has the image %+v, not %+v", second.Image, first.Image)
	}
	for _, s := range []cyclone.Stage{cyclone.StagePreBuild, cyclone.StageBuild} {
		if got := second.in(s).Status; got != cyclone.StatusSkipped {
			t.Errorf("%s is %s", s, got)
		}
	}
	// A rerun of the rerun finds what the first event left.
	third := again(second, cyclone.StageBuild)
	if after(t, third, "the image has ") != made || third.in(cyclone.StageBuild).Status != cyclone.StatusSuccess {
		t.Errorf("third event: %+v", third.Stages)
	}
	again(second, cyclone.StagePostBuild)
}

func TestCachedPathsLastAndAreCleared(t *testing.T) {
	t.Parallel()
	p := newProject(t, keepingFiles(), nil)
	count := func() string {
		t.Helper()
		var e cyclone.Event
		p.call("POST", "/api/v1/projects/"+p.name+"/events", map[string]any{"branch": "main", "stages": []string{"pre_build"}}, &e)
		o := p.finish(string(e.ID), nil)
		if o.Status != cyclone.StatusSuccess {
			t.Fatalf("event %s: %s\n%s", o.Status, o.Reason, o.text())
		}
		return after(t, o, "counted ")
	}
	got := []string{count(), count(), count()}
	p.call("DELETE", "/api/v1/projects/"+p.name+"/cache", nil, nil)
	got = append(got, count(), count())
	if want := []string{"0", "1", "2", "0", "1"}; !slices.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

func TestInvalidFileShowsItsProblems(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": "pre_build:\n  image: busybox:1\n  comands:\n    - ls\n"}, nil)
	o := p.finish(p.push(), nil)
	isError := func(p cyclone.Problem) bool { return p.Severity == cyclone.SeverityError }
	at := slices.IndexFunc(o.Problems, isError)
	if o.Status != cyclone.StatusFailure || at < 0 {
		t.Fatalf("event %s with problems %+v", o.Status, o.Problems)
	}
	first := o.Problems[at]
	if first.File != "caicloud.yml" || first.Line != 3 || first.Column != 3 || !strings.Contains(first.Hint, "commands") {
		t.Errorf("problem: %+v", first)
	}
	if !strings.Contains(o.text(), "  comands:\n") || !strings.Contains(o.text(), "^") {
		t.Errorf("the log does not show the line:\n%s", o.text())
	}
}

// after is the rest of the log's line that begins with a text.
func after(t *testing.T, o *outcome, prefix string) string {
	t.Helper()
	for _, l := range o.lines {
		if rest, ok := strings.CutPrefix(l.Text, prefix); ok {
			return rest
		}
	}
	t.Fatalf("no line begins with %q:\n%s", prefix, o.text())
	return ""
}
