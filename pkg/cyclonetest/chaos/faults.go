package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// faults inflicts what the schedule says until ctx ends, and returns when the
// last one is over. Its error is one of the harness: something that was killed
// could not be started again.
func (w *world) faults(ctx context.Context, schedule *Schedule) error {
	var going sync.WaitGroup
	defer going.Wait()
	failed := make(chan error, 1)
	for {
		f := schedule.Next()
		select {
		case <-time.After(f.After):
		case err := <-failed:
			return err
		case <-ctx.Done():
			going.Wait()
			select {
			case err := <-failed:
				return err
			default:
				return nil
			}
		}
		going.Go(func() {
			if err := w.inflict(context.WithoutCancel(ctx), f); err != nil {
				select {
				case failed <- fmt.Errorf("%s: %w", f.Kind, err):
				default: // one is enough
				}
			}
		})
	}
}

// inflict makes one fault happen, waits until it is over and notes it.
func (w *world) inflict(ctx context.Context, f Fault) error {
	i := Incident{Kind: f.Kind, At: time.Now()}
	err := map[string]func(context.Context, Fault, *Incident) error{
		"kill server": w.killServer, "kill worker": w.killWorker, "freeze worker": w.freezeWorker, "kill inner engine": w.killInnerEngine, "kill engine": w.killEngine,
		"kill store": w.killStore, "freeze store": w.freezeStore, "fill disk": w.fillDisk,
		"cut workers": w.cut, "delay workers": w.slow, "forget workers": w.forget, "cut store": w.cut, "delay store": w.slow, "forget store": w.forget,
	}[f.Kind](ctx, f, &i)
	if err != nil {
		return err
	}
	w.notes.fault(i)
	return nil
}

// pick chooses one of a list.
func pick[T any](list []T, at float64) T { return list[int(at*float64(len(list)))] }

func (w *world) killServer(_ context.Context, f Fault, i *Incident) error {
	var all []*server
	site := map[*server]string{}
	for _, s := range w.sites {
		for _, n := range s.servers {
			all, site[n] = append(all, n), s.name
		}
	}
	n := pick(all, f.Pick)
	n.busy.Lock()
	defer n.busy.Unlock()
	i.At, i.Detail, i.site = time.Now(), "server "+n.name, site[n]
	n.Kill()
	time.Sleep(f.For)
	return n.Spawn()
}

// running lists the events' containers on the engine: id -> event.
func (w *world) running(ctx context.Context) (ids []string, events map[string]string) {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := w.engine.Docker(limited, "ps", "--no-trunc", "--filter", "label="+cyclone.LabelEvent, "--format", `{{.ID}} {{.Label "`+cyclone.LabelEvent+`"}}`)
	if err != nil {
		return nil, nil // the engine is down
	}
	events = map[string]string{}
	for line := range strings.Lines(out) {
		if id, event, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			ids, events[id] = append(ids, id), event
		}
	}
	return ids, events
}

func (w *world) killWorker(ctx context.Context, f Fault, i *Incident) error {
	ids, events := w.running(ctx)
	if len(ids) == 0 {
		i.Missed, i.Detail = true, "no worker runs"
		return nil
	}
	id := pick(ids, f.Pick)
	i.At, i.Detail = time.Now(), "worker of event "+events[id]
	// Noted before: what comes of it may come at once.
	w.notes.hit(events[id], f.Kind, i.At)
	if _, err := w.engine.Docker(ctx, "kill", "--signal", "KILL", id); err != nil {
		i.Missed, i.Detail = true, i.Detail+": "+err.Error()
	}
	return nil
}

// freezeWorker stops everything in a worker for longer than its lease.
func (w *world) freezeWorker(ctx context.Context, f Fault, i *Incident) error {
	ids, events := w.running(ctx)
	if len(ids) == 0 {
		i.Missed, i.Detail = true, "no worker runs"
		return nil
	}
	id := pick(ids, f.Pick)
	i.At, i.Detail = time.Now(), "worker of event "+events[id]
	w.notes.hit(events[id], f.Kind, i.At)
	if _, err := w.engine.Docker(ctx, "pause", id); err != nil {
		i.Missed, i.Detail = true, i.Detail+": "+err.Error()
		return nil
	}
	time.Sleep(f.For)
	if _, err := w.engine.Docker(ctx, "unpause", id); err != nil {
		i.Detail += ", which is gone by now"
	}
	return nil
}

// killInnerEngine kills the Docker daemon inside of a worker.
func (w *world) killInnerEngine(ctx context.Context, f Fault, i *Incident) error {
	ids, events := w.running(ctx)
	if len(ids) == 0 {
		i.Missed, i.Detail = true, "no worker runs"
		return nil
	}
	id := pick(ids, f.Pick)
	i.Detail = "worker of event " + events[id]
	for _, pid := range w.engine.Running() {
		group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		name, nerr := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || nerr != nil || !strings.Contains(string(group), id) || strings.TrimSpace(string(name)) != "dockerd" {
			continue
		}
		i.At = time.Now()
		w.notes.hit(events[id], f.Kind, i.At)
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	i.Missed, i.Detail = true, i.Detail+": it has no engine yet"
	return nil
}

// killEngine kills the daemon that runs the workers. The next one ends all of
// its containers.
func (w *world) killEngine(ctx context.Context, f Fault, i *Incident) error {
	w.engineBusy.Lock()
	defer w.engineBusy.Unlock()
	_, before := w.running(ctx)
	i.At = time.Now()
	w.engine.Kill()
	time.Sleep(f.For)
	if err := w.engine.Start(ctx); err != nil {
		return err
	}
	hit := map[string]bool{}
	for _, event := range before {
		hit[event] = true
	}
	// Those that were being started when the daemon died are not in that list.
	out, err := w.engine.Docker(ctx, "ps", "-a", "--filter", "label="+cyclone.LabelEvent, "--format", `{{.Label "`+cyclone.LabelEvent+`"}} {{.State}}`)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if event, state, _ := strings.Cut(strings.TrimSpace(line), " "); state != "running" {
			hit[event] = true
		}
	}
	for event := range hit {
		w.notes.hit(event, f.Kind, i.At)
	}
	i.Detail = fmt.Sprintf("%d events lost their worker", len(hit))
	return nil
}

func (w *world) killStore(ctx context.Context, f Fault, i *Incident) error {
	w.mongoBusy.Lock()
	defer w.mongoBusy.Unlock()
	i.At, i.Detail = time.Now(), "store of site pair"
	w.mongo.Kill()
	time.Sleep(f.For)
	return w.mongo.Start(ctx)
}

func (w *world) freezeStore(_ context.Context, f Fault, i *Incident) error {
	w.mongoBusy.Lock()
	defer w.mongoBusy.Unlock()
	i.At, i.Detail = time.Now(), "store of site pair"
	if err := w.mongo.Pause(); err != nil {
		return err
	}
	time.Sleep(f.For)
	return w.mongo.Resume()
}

// way chooses a connection: of workers to a site, or of a server to its store.
func (w *world) way(f Fault) (*lab.Proxy, string) {
	if strings.HasSuffix(f.Kind, "workers") {
		s := pick(w.sites, f.Pick)
		return s.workers, "workers of site " + s.name
	}
	at := int(f.Pick * 2)
	return w.sites[0].stores[at], "server " + w.sites[0].servers[at].name + " and its store"
}

func (w *world) cut(_ context.Context, f Fault, i *Incident) error {
	p, who := w.way(f)
	p.Refuse(true)
	i.Detail = fmt.Sprintf("%s, %d connections", who, p.Cut())
	time.Sleep(f.For)
	p.Refuse(false)
	return nil
}

// slow delays every piece of data by 50 to 500 ms.
func (w *world) slow(_ context.Context, f Fault, i *Incident) error {
	p, who := w.way(f)
	late := time.Duration(50+450*(f.Pick*4-float64(int(f.Pick*4)))) * time.Millisecond
	i.Detail = fmt.Sprintf("%s, by %s", who, late)
	p.Delay(late)
	time.Sleep(f.For)
	p.Delay(0)
	return nil
}

func (w *world) forget(_ context.Context, f Fault, i *Incident) error {
	p, who := w.way(f)
	i.Detail = fmt.Sprintf("%s, %d connections half open", who, p.Forget())
	return nil
}

// fillDisk leaves the embedded store no room for a while.
func (w *world) fillDisk(_ context.Context, f Fault, i *Incident) error {
	w.diskBusy.Lock()
	defer w.diskBusy.Unlock()
	i.At = time.Now()
	name := filepath.Join(w.disk, "full")
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	block := make([]byte, 64<<10)
	var written int
	for until := time.Now().Add(f.For); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		for {
			n, err := file.Write(block)
			written += n
			if err != nil {
				break // full; what the server gives back is taken in a moment
			}
		}
	}
	i.Detail = fmt.Sprintf("store of site solo, %d MB", written>>20)
	return os.Remove(name)
}
