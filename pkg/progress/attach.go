package progress

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"cyclone/pkg/cyclone"
)

// HashToken is what may be kept of a worker's token or session key.
func HashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// Attach lets a worker in. Its token is good for one session: the first
// connection binds the session key that it brings, later ones need the same
// pair. ErrForbidden: wrong token or another session's key; ErrConflict: no
// running event has this worker, so its attempt is over.
func (p *Progress) Attach(ctx context.Context, worker cyclone.WorkerID, token, session string) (cyclone.Fence, cyclone.EngineConfig, error) {
	f, err := p.attach(ctx, worker, token, session)
	if err != nil {
		return cyclone.Fence{}, cyclone.EngineConfig{}, fmt.Errorf("attach worker %s: %w", worker, err)
	}
	return f, p.Engine, nil
}

func (p *Progress) attach(ctx context.Context, worker cyclone.WorkerID, token, session string) (cyclone.Fence, error) {
	if worker == "" || token == "" || session == "" {
		return cyclone.Fence{}, cyclone.Forbidden("a worker needs its id, its token and a session key")
	}
	running, err := p.Queue.Running(ctx)
	if err != nil {
		return cyclone.Fence{}, err
	}
	for _, e := range running {
		if e.Worker.ID == worker {
			f := fenceOf(e)
			return f, p.bind(ctx, f, HashToken(token), HashToken(session))
		}
	}
	return cyclone.Fence{}, cyclone.Conflict("no running event has this worker; its attempt is over")
}

// bind checks token and session inside the compare-and-set, so that of two
// connections with the same token only one binds its session.
func (p *Progress) bind(ctx context.Context, f cyclone.Fence, token, session []byte) error {
	_, err := p.held(ctx, f, func(e *cyclone.Event) error {
		if subtle.ConstantTimeCompare(e.Run.TokenHash, token) != 1 {
			return cyclone.Forbidden("the token is not the worker's")
		}
		if e.Run.SessionHash == nil {
			// The time that its start might have taken is over: from now on
			// the worker counts as silent after a lease.
			e.Run.SessionHash, e.Run.LeaseUntil = session, p.now().Add(cyclone.LeaseTime)
		}
		if subtle.ConstantTimeCompare(e.Run.SessionHash, session) != 1 {
			return cyclone.Forbidden("the token was used by another session")
		}
		p.alive(e)
		return nil
	})
	return err
}
