package worker

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
)

// variables are what every step sees: Cyclone's own, then the project's and
// the event's.
func (r *run) variables() map[string]string {
	e, c := r.job.Event, r.commit()
	out := map[string]string{
		"CI":                       "true",
		"CYCLONE":                  "true",
		"CYCLONE_PROJECT":          string(e.Project),
		"CYCLONE_EVENT_ID":         string(e.ID),
		"CYCLONE_EVENT_NUMBER":     strconv.FormatInt(e.Number, 10),
		"CYCLONE_EVENT":            string(e.Trigger.Kind),
		"CYCLONE_REF":              e.Ref,
		"CYCLONE_BRANCH":           e.Branch,
		"CYCLONE_TAG":              e.Tag,
		"CYCLONE_COMMIT_SHA":       c.SHA,
		"CYCLONE_COMMIT_SHORT_SHA": c.ShortSHA(),
		"CYCLONE_COMMIT_MESSAGE":   c.Message,
		"CYCLONE_COMMIT_AUTHOR":    c.Author,
		"CYCLONE_PULL_REQUEST":     "",
		"CYCLONE_TARGET_BRANCH":    "",
		"CYCLONE_EVENT_URL":        r.job.EventURL,
		// Pushing what a step commits must not start the next event.
		"GIT_COMMITTER_NAME":  cyclone.CommitterName,
		"GIT_COMMITTER_EMAIL": cyclone.CommitterEmail,
	}
	if p := e.PullRequest; p != nil {
		out["CYCLONE_PULL_REQUEST"] = strconv.Itoa(p.Number)
		out["CYCLONE_TARGET_BRANCH"] = p.TargetBranch
	}
	r.mu.Lock()
	out["CYCLONE_VERSION"], out["CYCLONE_IMAGE"] = r.state.Version, r.state.Image.Ref()
	r.mu.Unlock()
	maps.Copy(out, r.job.Variables)
	return out
}

// environment is a step's environment; the later of the same name wins.
func (r *run) environment(stage cyclone.Stage, s cyclone.Step) ([]string, error) {
	values := r.variables()
	for _, v := range s.Environment {
		values[v.Name] = v.Value
	}
	if err := r.addSecrets(stage, s.Name, values, s.Secrets); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		// A zero byte would end the variable inside the engine.
		out = append(out, name+"="+strings.ReplaceAll(values[name], "\x00", ""))
	}
	return out, nil
}

// addSecrets puts the named project secrets into values; wanted maps a name
// there to a secret's.
func (r *run) addSecrets(stage cyclone.Stage, step string, values, wanted map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		secret, ok := r.job.Secrets[wanted[name]]
		if !ok {
			return failure(stage, step, "the project has no secret %q that this event may see", wanted[name])
		}
		values[name] = secret.Value
	}
	return nil
}

// labels mark what a run makes on the engine.
func (r *run) labels(role string) map[string]string {
	return r.Local.label(map[string]string{
		cyclone.LabelRole:    role,
		cyclone.LabelEvent:   string(r.job.Event.ID),
		cyclone.LabelProject: string(r.job.Event.Project),
		cyclone.LabelWorker:  string(r.job.Fence.Worker),
	})
}
