package progress

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"cyclone/pkg/cyclone"
)

// addCluster opens one cluster's access for the job. One that cannot be
// opened fails only events of projects that may use it.
func (p *Progress) addCluster(job *cyclone.Job, c *cyclone.Cluster) error {
	if len(c.Projects) > 0 && !slices.Contains(c.Projects, string(job.Project.Name)) {
		return nil
	}
	plain, err := p.Sealer.Open(c.Purpose(), c.Access)
	if err != nil {
		return broken("the access of cluster %q cannot be opened: %v", c.Name, err)
	}
	var access cyclone.ClusterAccess
	if err := json.Unmarshal(plain, &access); err != nil {
		return broken("the access of cluster %q is damaged; store it again", c.Name)
	}
	job.Clusters[c.Name] = access
	return nil
}

// timeout is how long an event of the project may run: what the project says,
// or else the server's own, and never more than the server's maximum.
func (p *Progress) timeout(project *cyclone.Project) time.Duration {
	limit := cmp.Or(time.Duration(project.Limits.Timeout), p.Timeout, DefaultTimeout)
	if p.MaxTimeout > 0 {
		return min(limit, p.MaxTimeout)
	}
	return limit
}
