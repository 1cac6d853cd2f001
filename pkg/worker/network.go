package worker

import (
	"context"
	"fmt"

	"cyclone/pkg/cyclone"
)

// eventNetwork is the event's own network, made when first asked for.
func (r *run) eventNetwork(ctx context.Context) (string, error) {
	r.network.Lock()
	defer r.network.Unlock()
	if r.networkID != "" {
		return r.networkID, nil
	}
	id, err := r.Networks.CreateNetwork(ctx, "cyclone-"+string(r.job.Event.ID), r.labels("network"))
	if err != nil {
		return "", fmt.Errorf("create the event's network: %w", err)
	}
	r.networkID = id
	return id, nil
}

var _ cyclone.Output = (*output)(nil)
