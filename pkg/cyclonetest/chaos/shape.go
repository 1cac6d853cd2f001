package chaos

import (
	"fmt"
	"slices"

	"cyclone/pkg/cyclone"
)

// shape is one kind of short pipeline with its known outcome.
type shape struct {
	name  string
	files map[string]string
	// steps are the markers of the steps that print, with their numbers of lines.
	steps map[string]int
	// want is how an event ends that no fault has hit.
	want []cyclone.Status
	// cut is true when the output may end early: the event is canceled.
	cut bool
	// cancelled events are canceled by the harness; superseding shapes send
	// two pushes of one branch.
	cancelled, superseding bool
	// with are further fields of the project.
	with map[string]any
}

// emit is a step's command that prints n lines.
func emit(step string, n int, more string) string {
	return fmt.Sprintf("awk -v step=%s -v n=%d %s -f emit.awk", step, n, more)
}

// dockerfile builds an image in which lines can be printed, and prints some
// while it is built. The event's id keeps one event from finding the lines of
// another in a cache.
const dockerfile = `FROM busybox:1
ARG CYCLONE_EVENT_ID
COPY emit.awk /
RUN awk -v step=build -v n=40 -f /emit.awk
`

// shapes are the ten kinds of pipelines.
func shapes() []*shape {
	success, failure, canceled := []cyclone.Status{cyclone.StatusSuccess}, []cyclone.Status{cyclone.StatusFailure}, []cyclone.Status{cyclone.StatusCanceled}
	step := func(name, command string) string {
		return name + ":\n  image: busybox:1\n  commands:\n    - " + command + "\n"
	}
	all := []*shape{
		{name: "flood", steps: map[string]int{"flood": 50000}, want: success, files: yml(step("pre_build", emit("flood", 50000, "")))},
		{name: "wide", steps: map[string]int{"wide": 20000}, want: success, files: yml(step("pre_build", emit("wide", 20000, "-v one=1")))},
		{name: "trickle", steps: map[string]int{"slow": 60}, want: success, files: yml(step("pre_build", emit("slow", 60, "-v pause=0.1")))},
		{name: "failing", steps: map[string]int{"red": 50}, want: failure, files: yml(step("pre_build", emit("red", 50, "")+"\n    - exit 3"))},
		{name: "steps", steps: map[string]int{"one": 100, "two": 100, "after": 20}, want: success, files: yml("pre_build:\n" +
			"  one:\n    image: busybox:1\n    commands:\n      - " + emit("one", 100, "") + "\n" +
			"  two:\n    image: busybox:1\n    commands:\n      - " + emit("two", 100, "") + "\n" + step("post_build", emit("after", 20, "")))},
		{name: "service", steps: map[string]int{"test": 50}, want: success, files: yml(`integration:
  image: busybox:1
  services:
    web:
      image: busybox:1
      commands:
        - mkdir /www && echo served >/www/index.html && exec httpd -f -p 8080 -h /www
      wait_for: {port: 8080, timeout: 60s}
  links: ["web:front"]
  commands:
    - wget -q -O - http://front:8080/ && ` + emit("test", 50, "") + "\n")},
		{name: "build", steps: map[string]int{"build": 40, "inside": 50}, want: success, files: withDockerfile("build:\n  context_dir: .\n  push: false\n  build_args:\n    CYCLONE_EVENT_ID: ${CYCLONE_EVENT_ID}\n" +
			"integration:\n  commands:\n    - awk -v step=inside -v n=50 -f /emit.awk\n")},
		{name: "publish", steps: map[string]int{"build": 40, "after": 30}, want: success, files: withDockerfile("build:\n  context_dir: .\n  build_args:\n    CYCLONE_EVENT_ID: ${CYCLONE_EVENT_ID}\n" +
			step("post_build", emit("after", 30, "")))},
		{name: "canceled", steps: map[string]int{"long": 3000}, want: canceled, cut: true, cancelled: true, files: yml(step("pre_build", emit("long", 3000, "-v pause=0.1")))},
		{name: "superseded", steps: map[string]int{"push": 40}, want: append(slices.Clone(success), canceled...), cut: true, superseding: true,
			files: yml(step("pre_build", emit("push", 40, "-v pause=0.1"))), with: map[string]any{"cancelSuperseded": true}},
	}
	return all
}

func yml(text string) map[string]string {
	return map[string]string{"caicloud.yml": text, "emit.awk": emitProgram}
}

func withDockerfile(text string) map[string]string {
	files := yml(text)
	files["Dockerfile"] = dockerfile
	return files
}
