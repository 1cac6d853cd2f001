package poll

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// deliver stores a delivery for each change. One that is there already was
// stored by a look whose end nobody lived to see.
func (r *rounds) deliver(ctx context.Context, p *cyclone.Project, via string, changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	at, err := r.handleAt(ctx, p, via)
	if err != nil {
		return err
	}
	stored := 0
	defer func() {
		r.Metrics.Found(via, stored)
		if stored > 0 && at == nil && r.Kick != nil {
			r.Kick()
		}
	}()
	for _, c := range changes {
		d, err := delivery(p, via, c)
		if err != nil {
			return err
		}
		d.ReceivedAt, d.NextAt = cyclone.Stamp(r.Now()), at
		err = r.Deliveries.Create(ctx, d)
		if err != nil && !errors.Is(err, cyclone.ErrConflict) {
			return fmt.Errorf("store the delivery about %s: %w", c.ref, err)
		}
		if err == nil {
			stored++
		}
	}
	r.Log.Info("repository changed", "project", p.Name, "via", via, "refs", len(changes), "new", stored)
	return nil
}

// handleAt is when the deliveries are to be handled; nil for at once. Where
// webhooks come, theirs may be on its way.
func (r *rounds) handleAt(ctx context.Context, p *cyclone.Project, via string) (*time.Time, error) {
	wait := via == cyclone.ViaMissed
	if !wait {
		latest, err := r.Deliveries.List(ctx, p.Name, cyclone.Page{})
		if err != nil {
			return nil, fmt.Errorf("list deliveries: %w", err)
		}
		wait = slices.ContainsFunc(latest.Items, func(d *cyclone.Delivery) bool { return d.SCM != cyclone.SCMPoll })
	}
	if !wait {
		return nil, nil
	}
	at := cyclone.Stamp(r.Now().Add(onItsWay))
	return &at, nil
}

// delivery is what a webhook would have brought, as far as it is known.
func delivery(p *cyclone.Project, via string, c change) (*cyclone.Delivery, error) {
	hook := cyclone.Hook{
		Kind: cyclone.KindPush, Action: cyclone.ActionStart, Via: via, Ref: c.ref, Before: c.before,
		Repositories: []string{p.Repository.URL}, Commit: cyclone.Commit{SHA: c.commit},
	}
	if tag, ok := strings.CutPrefix(c.ref, "refs/tags/"); ok {
		hook.Kind, hook.Tag, hook.Before = cyclone.KindTag, tag, ""
	} else {
		hook.Branch = strings.TrimPrefix(c.ref, "refs/heads/")
	}
	body, err := json.Marshal(hook)
	if err != nil {
		return nil, fmt.Errorf("write the delivery about %s: %w", c.ref, err)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{c.ref, c.before, c.commit}, "\n")))
	return &cyclone.Delivery{
		ID: cyclone.DeliveryID("poll-" + hex.EncodeToString(sum[:])), SCM: cyclone.SCMPoll, Project: p.Name,
		Kind: string(hook.Kind), Events: []cyclone.EventID{}, Header: http.Header{}, Body: body,
	}, nil
}
