package mongo

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// Waiting returns the projects that have pending events, the one whose oldest
// event waits longest first.
func (s *Events) Waiting(ctx context.Context) ([]cyclone.ProjectName, error) {
	// One step in the index from project to project, each to its oldest
	// event: reading all pending ones would take longer the more there are.
	var oldest []*cyclone.Event
	for after := cyclone.ProjectName(""); ; {
		e, err := one[eventDoc](s.c.FindOne(ctx,
			bson.D{{Key: "status", Value: cyclone.StatusPending}, {Key: "project", Value: bson.D{{Key: "$gt", Value: after}}}},
			options.FindOne().SetSort(bson.D{{Key: "project", Value: 1}, {Key: "number", Value: 1}}).
				SetProjection(bson.D{{Key: "project", Value: 1}, {Key: "createdAt", Value: 1}})))
		if errors.Is(err, mongo.ErrNoDocuments) {
			break
		}
		if err != nil {
			return nil, wrap(err, "list waiting projects")
		}
		oldest, after = append(oldest, e), e.Project
	}
	slices.SortStableFunc(oldest, func(a, b *cyclone.Event) int { return a.CreatedAt.Compare(b.CreatedAt) })
	projects := make([]cyclone.ProjectName, len(oldest))
	for i, e := range oldest {
		projects[i] = e.Project
	}
	return projects, nil
}

// pending selects the pending events of a project.
func pending(project cyclone.ProjectName) bson.D {
	return bson.D{{Key: "status", Value: cyclone.StatusPending}, {Key: "project", Value: project}}
}

// Claim atomically turns the oldest pending event of a project into a running
// one: it gets the worker, a lease and the token, Worker.Attempt is
// incremented, StartedAt is c.Now, and what the attempt before left (the
// session, the reason) is cleared. ErrNotFound when nothing is pending.
func (s *Events) Claim(ctx context.Context, c cyclone.Claim) (*cyclone.Event, error) {
	var e *cyclone.Event
	tried := false
	err := surely(ctx, func(ctx context.Context) (err error) {
		if tried {
			// The attempt whose answer was lost may have claimed one: nobody
			// else has this worker's id.
			e, err = s.claimed(ctx, c)
			if !errors.Is(err, mongo.ErrNoDocuments) {
				return err
			}
		}
		tried = true
		e, err = s.claim(ctx, c)
		return err
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.NotFound("project %s has no pending event", c.Project)
	}
	return e, wrap(err, "claim event of project %s", c.Project)
}

// claimed is the running event of the project that has the claim's worker.
func (s *Events) claimed(ctx context.Context, c cyclone.Claim) (*cyclone.Event, error) {
	return one[eventDoc](s.c.FindOne(ctx, bson.D{
		{Key: "status", Value: cyclone.StatusRunning}, {Key: "project", Value: c.Project}, {Key: "worker.id", Value: c.Worker},
	}))
}

func (s *Events) claim(ctx context.Context, c cyclone.Claim) (*cyclone.Event, error) {
	return one[eventDoc](s.c.FindOneAndUpdate(ctx, pending(c.Project), bson.D{
		{Key: "$set", Value: bson.D{
			{Key: "status", Value: cyclone.StatusRunning}, {Key: "reason", Value: ""}, {Key: "startedAt", Value: c.Now},
			{Key: "worker.id", Value: c.Worker}, {Key: "worker.node", Value: c.Node},
			{Key: "run.leaseUntil", Value: c.Now.Add(c.Lease)}, {Key: "run.tokenHash", Value: c.TokenHash},
		}},
		{Key: "$unset", Value: bson.D{{Key: "run.sessionHash", Value: ""}}},
		{Key: "$inc", Value: bson.D{{Key: "worker.attempt", Value: 1}, {Key: "run.revision", Value: int64(1)}}},
	}, options.FindOneAndUpdate().SetSort(byOne("number")).SetReturnDocument(options.After)))
}

// Renew extends the lease of an attempt and returns the event, or ErrConflict
// when the attempt no longer holds it. A lease never gets shorter.
func (s *Events) Renew(ctx context.Context, f cyclone.Fence, until time.Time) (*cyclone.Event, error) {
	var e *cyclone.Event
	err := surely(ctx, func(ctx context.Context) (err error) {
		e, err = one[eventDoc](s.c.FindOneAndUpdate(ctx, bson.D{
			{Key: "_id", Value: string(f.Event)}, {Key: "status", Value: cyclone.StatusRunning},
			{Key: "worker.id", Value: f.Worker}, {Key: "worker.attempt", Value: f.Attempt},
		}, bson.D{
			{Key: "$max", Value: bson.D{{Key: "run.leaseUntil", Value: until}}},
			{Key: "$inc", Value: bson.D{{Key: "run.revision", Value: int64(1)}}},
		}, options.FindOneAndUpdate().SetReturnDocument(options.After)))
		return err
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.Conflict("attempt %d of worker %s no longer holds event %s", f.Attempt, f.Worker, f.Event)
	}
	return e, wrap(err, "renew lease of event %s", f.Event)
}

// Running returns every running event, the oldest first.
func (s *Events) Running(ctx context.Context) ([]*cyclone.Event, error) {
	events, err := all[eventDoc](ctx, s.c, bson.D{{Key: "status", Value: cyclone.StatusRunning}},
		options.Find().SetSort(bson.D{{Key: "createdAt", Value: 1}, {Key: "_id", Value: 1}}))
	return events, wrap(err, "list running events")
}

// NoticesDue returns events, also such as are not over, with an undone notice
// whose time has come, the longest due first, at most limit of them.
func (s *Events) NoticesDue(ctx context.Context, now time.Time, limit int) ([]*cyclone.Event, error) {
	events, err := all[eventDoc](ctx, s.c, bson.D{{Key: "noticeDue", Value: bson.D{{Key: "$lte", Value: now}}}},
		options.Find().SetSort(byOne("noticeDue")).SetLimit(int64(paging.AtMost(limit))))
	return events, wrap(err, "list due notices")
}
