package progress

import (
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

// timeout is how long an event of the project may run.
func (p *Progress) timeout(project *cyclone.Project) time.Duration {
	switch {
	case project.Limits.Timeout > 0:
		return time.Duration(project.Limits.Timeout)
	case p.Timeout > 0:
		return p.Timeout
	}
	return DefaultTimeout
}
