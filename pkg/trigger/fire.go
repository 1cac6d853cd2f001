package trigger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// Fire creates the event of a slot of a cron trigger: the head of its branch,
// or of the default branch, runs, whatever filters pushes have. ErrConflict
// when the slot has fired already, on whatever server.
func (t *Trigger) Fire(ctx context.Context, p *cyclone.Project, c cyclone.CronTrigger, slot time.Time) (*cyclone.Event, error) {
	e, err := t.blank(p, cyclone.Trigger{Kind: cyclone.KindCron})
	if err != nil {
		return nil, err
	}
	e.Run.Key = slotKey(p.Name, c, slot)
	source(e, p, cyclone.StartRequest{Branch: c.Branch})
	e.Image = t.image(p, e.Version)
	return e, t.create(ctx, p, e)
}

// slotKey names a slot. Triggers that say the same are the same.
func slotKey(p cyclone.ProjectName, c cyclone.CronTrigger, slot time.Time) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{c.Schedule, c.Timezone, c.Branch}, "\n")))
	return fmt.Sprintf("cron/%s/%s/%d", p, hex.EncodeToString(sum[:8]), slot.Unix())
}
