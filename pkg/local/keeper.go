package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

const removeTime = 20 * time.Second // for removing one thing

// Keeper is a person's engine as a worker sees it: cyclone.Containers and
// cyclone.Networks. Containers are removed in the background, or with Keep not
// before it is known how the run ended.
type Keeper struct {
	cyclone.Containers
	cyclone.Networks
	// Images knows which images the engine has.
	Images cyclone.Images
	Engine sweeper
	// Owner is whose things these are.
	Owner Owner
	// Keep leaves the containers and networks of a run that fails.
	Keep bool

	removing sync.WaitGroup
	mu       sync.Mutex
	made     []*made
	networks []string
	images   []string // of containers that ran, each once
}

// made is a container of the run.
type made struct {
	id      string
	spec    cyclone.ContainerSpec
	failed  bool          // it ended with something else than 0, or was stopped
	running bool          // it runs, as far as is known
	let     chan struct{} // closed when the worker wants it to be gone
	leaving bool          // let is closed
}

// Create implements cyclone.Containers. An engine that does not see the run's
// folder gets that said.
func (k *Keeper) Create(ctx context.Context, spec cyclone.ContainerSpec) (string, error) {
	id, err := k.Containers.Create(ctx, spec)
	if err != nil {
		return "", k.explain(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.images, spec.Image) {
		k.images = append(k.images, spec.Image)
	}
	k.made = append(k.made, &made{id: id, spec: spec, let: make(chan struct{})})
	return id, nil
}

// explain says what is needed when the engine cannot mount the run's folder.
func (k *Keeper) explain(err error) error {
	text := err.Error()
	if !strings.Contains(text, k.Owner.Dir) || !strings.Contains(text, "does not exist") && !strings.Contains(text, "not shared") {
		return err
	}
	return cyclone.Invalid("engine", "the Docker engine does not see %s, where the copy of the source is: it has to run on this machine, and in a virtual machine or a sandbox it has to share that folder; set TMPDIR to one that it shares (%v)",
		filepath.Dir(k.Owner.Dir), err)
}

func (k *Keeper) find(id string) *made {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.made {
		if m.id == id {
			return m
		}
	}
	return nil
}

// Run implements cyclone.Containers. With Keep it returns when the worker wants
// the container to be gone, and the container goes on.
func (k *Keeper) Run(ctx context.Context, id string, out cyclone.Output) (cyclone.Exit, error) {
	m := k.find(id)
	if m == nil || !k.Keep {
		return k.Containers.Run(ctx, id, out)
	}
	k.mu.Lock()
	m.running = true
	k.mu.Unlock()
	type end struct {
		exit cyclone.Exit
		err  error
	}
	ended := make(chan end, 1)
	gate := &gate{to: out}
	go func() { // ends with the container, or with the process
		exit, err := k.Containers.Run(ctx, id, gate)
		k.mu.Lock()
		m.running = false
		m.failed = err != nil || exit.Code != 0
		k.mu.Unlock()
		ended <- end{exit, err}
	}()
	select {
	case e := <-ended:
		return e.exit, e.err
	case <-m.let:
		gate.shut()
		return cyclone.Exit{}, nil
	}
}

// gate passes output on until it is shut.
type gate struct {
	mu sync.Mutex
	to cyclone.Output
}

// Write implements cyclone.Output.
func (g *gate) Write(stream cyclone.Stream, p []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.to != nil {
		g.to.Write(stream, p)
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.to = nil
}

// Remove implements cyclone.Containers. It does not wait.
func (k *Keeper) Remove(ctx context.Context, id string) error {
	m := k.find(id)
	if m == nil {
		return k.Containers.Remove(ctx, id)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !m.leaving {
		m.leaving = true
		close(m.let)
	}
	if !k.Keep {
		k.remove(m)
	}
	return nil
}

// remove begins to remove a container. What fails is left to the sweep at the
// end; k.mu is held.
func (k *Keeper) remove(m *made) {
	k.made = slices.DeleteFunc(k.made, func(other *made) bool { return other == m })
	k.removing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), removeTime)
		defer cancel()
		_ = k.Containers.Remove(ctx, m.id) // the sweep tries again, and says why not
	})
}

// CreateNetwork implements cyclone.Networks.
func (k *Keeper) CreateNetwork(ctx context.Context, name string, labels map[string]string) (string, error) {
	id, err := k.Networks.CreateNetwork(ctx, name, labels)
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.networks = append(k.networks, name)
	}
	return id, err
}

// Kill removes everything of the run at once.
func (k *Keeper) Kill(ctx context.Context) error { return k.Engine.Sweep(ctx, k.Owner.Labels()) }

// Close removes what the run has made, or with Keep, when it failed, leaves what
// somebody may want to look at and returns it.
func (k *Keeper) Close(ctx context.Context, failed bool) (*Kept, error) {
	if k.Keep && failed {
		if kept := k.choose(); kept != nil {
			k.removing.Wait()
			return kept, os.WriteFile(filepath.Join(k.Owner.Dir, keptFile), nil, 0o600)
		}
	}
	k.removing.Wait()
	err := k.Engine.Sweep(ctx, k.Owner.Labels())
	err = errors.Join(err, k.Engine.SweepImages(ctx, k.Owner.Labels()))
	return nil, errors.Join(err, k.removeFolder(ctx))
}

// choose decides what stays: containers that still run, and the last one that
// failed. It begins to remove the others.
func (k *Keeper) choose() *Kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := &Kept{Dir: k.Owner.Dir, Networks: slices.Clone(k.networks)}
	last := -1
	for i, m := range k.made {
		if m.failed {
			last = i
		}
	}
	for i, m := range slices.Clone(k.made) {
		switch {
		case m.running:
			kept.Running = append(kept.Running, KeptContainer{m.id, m.spec})
		case i == last:
			kept.Ended = &KeptContainer{m.id, m.spec}
		default:
			k.remove(m)
		}
	}
	if kept.Ended == nil && len(kept.Running) == 0 {
		return nil
	}
	return kept
}

// removeFolder removes the copy of the source. What steps have written there as
// another user, a container removes, of an image that the run has used.
func (k *Keeper) removeFolder(ctx context.Context) error {
	err := os.RemoveAll(k.Owner.Dir)
	k.mu.Lock()
	images := slices.Clone(k.images)
	k.mu.Unlock()
	for _, image := range images {
		if err == nil || !errors.Is(err, os.ErrPermission) {
			break
		}
		k.removeAsRoot(ctx, image)
		err = os.RemoveAll(k.Owner.Dir)
	}
	if err != nil {
		return fmt.Errorf("remove the copy of the source: %w", err)
	}
	return nil
}

// removeAsRoot empties the run's folder with the rm of an image. Whether that
// did it shows afterwards.
func (k *Keeper) removeAsRoot(ctx context.Context, image string) {
	id, err := k.Containers.Create(ctx, cyclone.ContainerSpec{
		Name: "cyclone-clean", Image: image, Labels: k.Owner.Labels(), WorkingDir: "/",
		Entrypoint: []string{"/bin/sh", "-c", "rm -rf /cyclone-run/*"},
		Mounts:     []cyclone.Mount{{Source: k.Owner.Dir, Target: "/cyclone-run"}},
	})
	if err != nil {
		return
	}
	_, _ = k.Containers.Run(ctx, id, &gate{})
	_ = k.Containers.Remove(ctx, id)
}

// Kept is what is left of a run that failed.
type Kept struct {
	Dir      string // with the source in source/
	Networks []string
	Ended    *KeptContainer // the one that failed
	Running  []KeptContainer
}

// KeptContainer is a container that is left.
type KeptContainer struct {
	ID   string
	Spec cyclone.ContainerSpec
}

// Lines say what is left, how to get into it and how to remove it; none when
// nothing is.
func (k *Kept) Lines() []string {
	if k == nil {
		return nil
	}
	out := []string{"Kept: the source in " + filepath.Join(k.Dir, "source")}
	var ids []string
	if e := k.Ended; e != nil {
		ids = append(ids, short(e.ID))
		network := ""
		if len(k.Networks) > 0 {
			network = " --network " + k.Networks[0]
		}
		out = append(out, "The container that failed, of "+e.Spec.Image+"; to look around in it as it was at its end:",
			fmt.Sprintf("  docker run -it --rm%s --volumes-from %s --entrypoint /bin/sh $(docker commit %s)", network, short(e.ID), short(e.ID)))
	}
	for _, c := range k.Running {
		ids = append(ids, short(c.ID))
		name := strings.Join(c.Spec.Aliases, ", ")
		out = append(out, "Still running: "+firstOf(name, c.Spec.Name)+", of "+c.Spec.Image+"; to get into it:",
			"  docker exec -it "+short(c.ID)+" /bin/sh")
	}
	remove := "docker rm -f -v " + strings.Join(ids, " ")
	if len(k.Networks) > 0 {
		remove += "; docker network rm " + strings.Join(k.Networks, " ")
	}
	return append(out, "To remove all of it:", "  "+remove+"; rm -rf "+k.Dir)
}

func short(id string) string { return id[:min(len(id), 12)] }

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
