package worker

import (
	"context"
	"errors"
	"strings"

	"cyclone/pkg/cyclone"
)

// deploy rolls the built image out to the targets in order.
func (r *run) deploy(ctx context.Context) error {
	for i, t := range r.pipeline.Deploy {
		name := firstOf(t.Cluster, t.Host) + "/" + firstOf(t.Namespace, "default") + "/" + t.Deployment
		err := r.step(ctx, cyclone.StageDeploy, name, func(s *step) error { return r.rollOut(ctx, s, i, t) })
		if err != nil {
			return err
		}
	}
	return nil
}

// rollOut does one target and notes what became of it.
func (r *run) rollOut(ctx context.Context, s *step, i int, t cyclone.Target) error {
	note := func(d cyclone.Deployment) {
		r.update(func(state *cyclone.Report) {
			for len(state.Deployments) <= i {
				state.Deployments = append(state.Deployments, cyclone.Deployment{})
			}
			state.Deployments[i] = d
		})
	}
	done := cyclone.Deployment{
		Cluster: firstOf(t.Cluster, t.Host), Namespace: t.Namespace, Deployment: t.Deployment,
		Containers: t.Containers, Status: cyclone.StatusRunning,
	}
	rollout, err := r.rollout(s, t)
	if err == nil {
		s.set(func(st *cyclone.StepState) { st.Image = rollout.Image })
		done.Image = rollout.Image
		note(done)
		done, err = r.Deployer.Deploy(ctx, rollout, lineWriter{s.output, cyclone.System})
		done.Cluster = firstOf(done.Cluster, t.Cluster, t.Host)
	}
	known := done.Status // the deployer knows best whose fault it is
	err = judge(ctx, s.stage, s.name, err)
	var v *verdict
	if errors.As(err, &v) && context.Cause(ctx) == nil && known.Final() {
		v.status = known
	}
	done.Status = statusOf(err)
	if err != nil {
		done.Error = r.log.masked(firstOf(done.Error, err.Error()))
	}
	note(done)
	return err
}

// rollout is a target with everything resolved.
func (r *run) rollout(s *step, t cyclone.Target) (cyclone.Rollout, error) {
	out := cyclone.Rollout{Target: t}
	var err error
	if out.Access, err = r.access(s, t); err != nil {
		return out, err
	}
	if out.Image, err = r.deployImage(s, t); err != nil {
		return out, err
	}
	if t.Manifest != "" {
		out.Manifest, err = r.root.ReadFile(t.Manifest)
		if err != nil {
			return out, failure(s.stage, s.name, "manifest %s: %v", t.Manifest, pathReason(err))
		}
	}
	return out, nil
}

// access is how to reach the target's cluster: as the file says, or as the
// registered cluster does.
func (r *run) access(s *step, t cyclone.Target) (cyclone.ClusterAccess, error) {
	if t.Type != "" || t.Host != "" {
		host := t.Host
		if !strings.Contains(host, "://") {
			host = "https://" + host
		}
		return cyclone.ClusterAccess{Host: host, Token: t.Token, CA: t.CA, Insecure: t.Insecure}, nil
	}
	access, ok := r.job.Clusters[cyclone.ClusterName(t.Cluster)]
	if !ok {
		return access, failure(s.stage, s.name, "no cluster %q is registered that this project may deploy to; write its host and token, or ask an administrator", t.Cluster)
	}
	return access, nil
}

// deployImage is the image to roll out, by digest.
func (r *run) deployImage(s *step, t cyclone.Target) (string, error) {
	name, isBuilt := builtName(firstOf(t.Image, cyclone.BuiltImage))
	if !isBuilt {
		return t.Image, nil
	}
	b, err := r.find(name)
	if errors.Is(err, cyclone.ErrNotFound) {
		return "", failure(s.stage, s.name, "%v", err)
	}
	if err == nil && !b.pushed {
		return "", failure(s.stage, s.name, "%s was not pushed, so no cluster can run it", b.image.Ref())
	}
	return b.byDigest(), err
}
