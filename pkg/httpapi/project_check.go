package httpapi

import (
	"errors"
	"net/mail"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/distribution/reference"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/schedule"
)

// projectChecks are all the rules of a project. Each notes what it finds; none
// repeats a value that may hold a credential.
var projectChecks = []func(*cyclone.Project, *cyclone.InvalidError){
	checkProjectNames,
	checkRepository,
	checkAccess,
	checkPoll,
	checkConfigFile,
	checkImage,
	checkVariables,
	checkPushTriggers,
	checkRequestTriggers,
	checkCronTriggers,
	checkNotifications,
	checkComment,
	checkLimits,
	checkRetention,
}

// checkProject reports everything that is wrong with a project at once.
func checkProject(p *cyclone.Project) error {
	var bad cyclone.InvalidError
	for _, check := range projectChecks {
		check(p, &bad)
	}
	return bad.OrNil()
}

func checkProjectNames(p *cyclone.Project, bad *cyclone.InvalidError) {
	checkName("name", string(p.Name), bad)
	checkText("description", p.Description, 2000, bad)
	checkText("owner", p.Owner, 100, bad)
	checkOneOf("visibility", p.Visibility, bad, "private", "public")
}

func checkName(field, name string, bad *cyclone.InvalidError) {
	switch {
	case name == "":
		bad.Add(field, "is required")
	case !cyclone.ValidName(name):
		bad.Add(field, "must be 1 to 40 of a-z, 0-9, '.', '_' and '-', beginning and ending with a letter or digit")
	}
}

func checkText(field, text string, limit int, bad *cyclone.InvalidError) {
	if len(text) > limit {
		bad.Add(field, "must be at most %d bytes long", limit)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		bad.Add(field, "must not hold control characters")
	}
}

func checkOneOf(field, value string, bad *cyclone.InvalidError, all ...string) {
	if !slices.Contains(all, value) {
		bad.Add(field, "must be one of %s", strings.Join(all, ", "))
	}
}

func checkConfigFile(p *cyclone.Project, bad *cyclone.InvalidError) {
	f := p.ConfigFile
	switch {
	case len(f) > 255 || hasControl(f) || strings.Contains(f, `\`):
		bad.Add("configFile", "must be a path of at most 255 bytes with / between its parts")
	case path.IsAbs(f) || path.Clean(f) != f || f == ".." || strings.HasPrefix(f, "../") || f == ".":
		bad.Add("configFile", "must be a relative path inside the repository, like ci/caicloud.yml")
	case slices.Contains(strings.Split(strings.ToLower(f), "/"), ".git"):
		bad.Add("configFile", "must not be inside .git")
	}
}

func checkImage(p *cyclone.Project, bad *cyclone.InvalidError) {
	if p.Image == "" {
		return // the default is made of the name, which is reported itself
	}
	named, err := reference.ParseNormalizedNamed(p.Image)
	switch {
	case err != nil:
		bad.Add("image", "must be the name of an image, like registry.example.com/acme/orders: %s", err)
	case !reference.IsNameOnly(named):
		bad.Add("image", "must not have a tag or digest; an event's version becomes the tag")
	}
}

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func checkVariables(p *cyclone.Project, bad *cyclone.InvalidError) {
	checkEnvironment("variables", p.Variables, bad)
}

func checkEnvironment(field string, variables map[string]string, bad *cyclone.InvalidError) {
	for _, name := range sortedKeys(variables) {
		at := join(field, clip(name, 60))
		if !variablePattern.MatchString(name) {
			bad.Add(at, "the name of a variable is letters, digits and _, not beginning with a digit")
		}
		if strings.ContainsRune(variables[name], 0) || len(variables[name]) > 64<<10 {
			bad.Add(at, "the value must be at most 64 KiB of text")
		}
	}
}

func checkPushTriggers(p *cyclone.Project, bad *cyclone.InvalidError) {
	if push := p.Triggers.Push; push != nil {
		checkGlobs("triggers.push.branches", push.Branches, bad)
		checkGlobs("triggers.push.paths", push.Paths, bad)
		checkStages("triggers.push.stages", push.Stages, bad)
	}
	if tag := p.Triggers.Tag; tag != nil {
		checkGlobs("triggers.tag.patterns", tag.Patterns, bad)
		checkStages("triggers.tag.stages", tag.Stages, bad)
	}
}

func checkRequestTriggers(p *cyclone.Project, bad *cyclone.InvalidError) {
	if release := p.Triggers.Release; release != nil {
		checkStages("triggers.release.stages", release.Stages, bad)
	}
	if pr := p.Triggers.PullRequest; pr != nil {
		checkOneOf("triggers.pullRequest.approval", pr.Approval, bad, "forks", "always", "never")
		checkGlobs("triggers.pullRequest.branches", pr.Branches, bad)
		checkGlobs("triggers.pullRequest.paths", pr.Paths, bad)
		checkStages("triggers.pullRequest.stages", pr.Stages, bad)
	}
}

func checkGlobs(field string, globs []string, bad *cyclone.InvalidError) {
	for i, glob := range globs {
		pattern := strings.TrimPrefix(glob, "!")
		if pattern == "" || len(pattern) > 255 || hasControl(pattern) || !doublestar.ValidatePattern(pattern) {
			bad.Add(field+"["+strconv.Itoa(i)+"]", "is not a valid pattern; write for instance release/* or !docs/**")
		}
	}
}

func checkStages(field string, stages []cyclone.Stage, bad *cyclone.InvalidError) {
	for i, stage := range stages {
		checkOneOf(field+"["+strconv.Itoa(i)+"]", string(stage), bad, texts(cyclone.Stages)...)
	}
}

func checkCronTriggers(p *cyclone.Project, bad *cyclone.InvalidError) {
	for i, cron := range p.Triggers.Cron {
		at := "triggers.cron[" + strconv.Itoa(i) + "]"
		var wrong *cyclone.InvalidError
		if _, err := schedule.Parse(cron.Schedule, cron.Timezone); errors.As(err, &wrong) {
			for _, f := range wrong.Fields {
				bad.Add(at+"."+f.Field, "%s", f.Message)
			}
		}
		if cron.Branch != "" && !validBranch(cron.Branch) {
			bad.Add(at+".branch", "is not the name of a branch")
		}
	}
}

func checkNotifications(p *cyclone.Project, bad *cyclone.InvalidError) {
	whens := []string{string(cyclone.WhenAlways), string(cyclone.WhenFailure), string(cyclone.WhenChange), string(cyclone.WhenNever)}
	if email := p.Notifications.Email; email != nil {
		checkOneOf("notifications.email.when", string(email.When), bad, whens...)
		for i, to := range email.Recipients {
			address, err := mail.ParseAddress(to)
			if err != nil || address.Address != to {
				bad.Add("notifications.email.recipients["+strconv.Itoa(i)+"]", "must be a plain address like dev@example.com")
			}
		}
	}
	for i, hook := range p.Notifications.Webhooks {
		at := "notifications.webhooks[" + strconv.Itoa(i) + "]"
		checkOneOf(at+".when", string(hook.When), bad, whens...)
		u, err := url.Parse(hook.URL)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
			bad.Add(at+".url", "must be an http:// or https:// address without credentials before the host")
		}
	}
}

func checkLimits(p *cyclone.Project, bad *cyclone.InvalidError) {
	l := p.Limits
	if timeout := time.Duration(l.Timeout); timeout != 0 && (timeout < time.Second || timeout > 7*24*time.Hour) {
		bad.Add("limits.timeout", "must be from 1s to 168h, or left out")
	}
	if l.CPUs != 0 && (l.CPUs < 0.1 || l.CPUs > 1024) {
		bad.Add("limits.cpus", "must be a number from 0.1 to 1024, or 0 for no limit")
	}
	if l.Memory != 0 && l.Memory < 256<<20 {
		bad.Add("limits.memory", "must be at least 256m, because a worker's Docker engine needs that much itself")
	}
	if l.Concurrency < 0 || l.Concurrency > 1000 {
		bad.Add("limits.concurrency", "must be a whole number from 0 (no limit) to 1000")
	}
	if l.OnWorkerLost != "" {
		checkOneOf("limits.onWorkerLost", string(l.OnWorkerLost), bad, string(cyclone.LostRetry), string(cyclone.LostFail))
	}
}

func checkRetention(p *cyclone.Project, bad *cyclone.InvalidError) {
	if p.Retention == nil {
		return
	}
	for _, part := range []struct {
		field string
		keep  *cyclone.Keep
	}{{"events", p.Retention.Events}, {"logs", p.Retention.Logs}, {"deliveries", p.Retention.Deliveries}} {
		if part.keep == nil {
			continue
		}
		checkCount("retention."+part.field+".days", part.keep.Days, bad)
		checkCount("retention."+part.field+".count", part.keep.Count, bad)
	}
	if p.Retention.Minimum != nil {
		checkCount("retention.minimum", *p.Retention.Minimum, bad)
	}
}

// mostKept bounds what retention is given: more is surely a mistake.
const mostKept = 1_000_000

func checkCount(field string, n int, bad *cyclone.InvalidError) {
	if n < 0 || n > mostKept {
		bad.Add(field, "must be a whole number from 0 to %d", mostKept)
	}
}
