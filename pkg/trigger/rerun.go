package trigger

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
)

// Rerun creates a new event with the commit, file, version, variables and
// stages of one that is over. With from it begins at that stage and takes over
// what earlier stages made: the image, and the outputs of pre_build. ErrInvalid
// says what is missing for that, and where the rerun can begin; ErrConflict
// that the parent is not over.
func (t *Trigger) Rerun(ctx context.Context, parent *cyclone.Event, actor string, from cyclone.Stage) (*cyclone.Event, error) {
	if from != "" && !slices.Contains(cyclone.Stages, from) {
		return nil, cyclone.Invalid("from", "%q is not a stage; there are %s", from, stageNames())
	}
	if !parent.Status.Final() {
		return nil, cyclone.Conflict("event #%d is still %s; cancel it or wait for its end", parent.Number, parent.Status)
	}
	p, err := t.Projects.Find(ctx, parent.Project)
	if err != nil {
		return nil, fmt.Errorf("find project: %w", err)
	}
	id, err := newID()
	if err != nil {
		return nil, err
	}
	e := again(parent, id, actor)
	e.CreatedAt = cyclone.Stamp(t.Now())
	if err := t.takeOver(ctx, e, parent, from); err != nil {
		return nil, err
	}
	// A run that was never approved is not approved by being repeated.
	if why := blockReason(p, e.PullRequest); why != "" && parent.StartedAt == nil {
		e.Status, e.Reason = cyclone.StatusBlocked, why
	}
	if err := t.Events.Create(ctx, e); err != nil {
		return nil, fmt.Errorf("create event: %w", err)
	}
	t.announce(e)
	return e, nil
}

// again copies what a rerun has in common with its parent. The pull request
// and the origin are among it, and with them all limits on secrets.
func again(parent *cyclone.Event, id cyclone.EventID, actor string) *cyclone.Event {
	e := &cyclone.Event{
		ID: id, Project: parent.Project, Status: cyclone.StatusPending,
		Trigger: cyclone.Trigger{Kind: cyclone.KindRerun, Actor: actor, Parent: parent.ID},
		Ref:     parent.Ref, Branch: parent.Branch, Tag: parent.Tag, Version: parent.Version,
		Commit: parent.Commit, PullRequest: parent.PullRequest,
		Image:  cyclone.Image{Name: parent.Image.Name, Tag: parent.Image.Tag},
		Stages: []cyclone.StageState{}, Deployments: []cyclone.Deployment{},
	}
	e.Run = cyclone.Run{
		Key: "rerun/" + string(id), Origin: parent.Origin(),
		Stages: parent.Run.Stages, Variables: parent.Run.Variables,
		VersionWanted: parent.Run.VersionWanted, Config: parent.Run.Config,
		Before: parent.Run.Before, Changed: parent.Run.Changed,
	}
	return e
}

// takeOver has a rerun begin at a stage, with what the stages before it made.
// The first two stages need nothing, so beginning there is running all.
func (t *Trigger) takeOver(ctx context.Context, e, parent *cyclone.Event, from cyclone.Stage) error {
	if from == "" || from == cyclone.StageClone || from == cyclone.StagePreBuild {
		return nil
	}
	b, err := t.basis(ctx, parent)
	if err != nil {
		return err
	}
	if why := b.refuses(from); why != "" {
		return cyclone.Invalid("from", "a rerun of event #%d cannot begin at %s, because %s; %s", parent.Number, from, why, b.possible())
	}
	e.Trigger.From, e.Run.From = from, from
	if b.outputs {
		e.Run.Base = b.base
	}
	if after(from, cyclone.StageBuild) {
		e.Image, e.Images = parent.Image, b.images
	}
	return nil
}

// after reports whether stage a comes after stage b.
func after(a, b cyclone.Stage) bool {
	return slices.Index(cyclone.Stages, a) > slices.Index(cyclone.Stages, b)
}

// possible names the stages at which a rerun can begin.
func (b *basis) possible() string {
	list := []string{"the beginning"}
	for _, s := range cyclone.Stages[2:] {
		if b.refuses(s) == "" {
			list = append(list, string(s))
		}
	}
	if len(list) == 1 {
		return "it can begin at the beginning only: leave out from"
	}
	return "it can begin at " + strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}
