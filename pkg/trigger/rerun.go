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
	p, err := t.Projects.Find(ctx, parent.Project)
	if err != nil {
		return nil, fmt.Errorf("find project: %w", err)
	}
	return t.rerun(ctx, p, parent, rerunWish{actor: actor, from: from})
}

// rerunWish is who wants what to run again.
type rerunWish struct {
	actor string
	from  cyclone.Stage
	// delivery is the comment that asks for it; nil when people do so here.
	delivery *cyclone.Delivery
}

func (t *Trigger) rerun(ctx context.Context, p *cyclone.Project, parent *cyclone.Event, w rerunWish) (*cyclone.Event, error) {
	from := w.from
	if from != "" && !slices.Contains(cyclone.Stages, from) {
		return nil, cyclone.Invalid("from", "%q is not a stage; there are %s", from, stageNames())
	}
	if !parent.Status.Final() {
		return nil, cyclone.Conflict("event #%d is still %s; cancel it or wait for its end", parent.Number, parent.Status)
	}
	e, err := t.blank(p, cyclone.Trigger{Kind: cyclone.KindRerun, Actor: w.actor, Parent: parent.ID})
	if err != nil {
		return nil, err
	}
	again(e, parent)
	if w.delivery != nil {
		e.Trigger.Delivery, e.Run.Key = w.delivery.ID, firstKey(w.delivery)
	}
	if err := t.takeOver(ctx, e, parent, from); err != nil {
		return nil, err
	}
	// A run that was never approved is not approved by being repeated.
	approved := parent.StartedAt != nil || parent.Origin() == cyclone.KindComment
	if why := blockReason(p, e.PullRequest); why != "" && !approved {
		e.Status, e.Reason = cyclone.StatusBlocked, why
	}
	if err := t.create(ctx, p, e); err != nil {
		return nil, err
	}
	return e, nil
}

// again copies what a rerun has in common with its parent. The pull request
// and the origin are among it, and with them all limits on secrets.
func again(e, parent *cyclone.Event) {
	e.Ref, e.Branch, e.Tag, e.Version = parent.Ref, parent.Branch, parent.Tag, parent.Version
	e.Commit, e.PullRequest = parent.Commit, parent.PullRequest
	e.Image = cyclone.Image{Name: parent.Image.Name, Tag: parent.Image.Tag}
	e.Run = cyclone.Run{
		Key: "rerun/" + string(e.ID), Origin: parent.Origin(),
		Stages: parent.Run.Stages, Variables: parent.Run.Variables,
		VersionWanted: parent.Run.VersionWanted, Config: parent.Run.Config,
		Before: parent.Run.Before, Changed: parent.Run.Changed,
	}
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
