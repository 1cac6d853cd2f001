package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
)

// dataKeeper readies an engine's data for the next event; docker.Engine is one.
type dataKeeper interface {
	// PutAway removes all containers, networks and volumes, and all images but
	// those in keep (image -> the name that it is known by from now on) and
	// those that were kept under one of the names before.
	PutAway(ctx context.Context, keep map[string]string, before []string) error
	// Shrink removes images, in the order given, and then build cache, until
	// both together hold no more than limit.
	Shrink(ctx context.Context, limit cyclone.Size, images []string) error
}

const (
	engineMark  = "cyclone-clean.json" // in Root: the data were put away in good order
	engineLock  = "cyclone.lock"
	engineTrash = "cyclone-wiped"
	// keptImages is where images of earlier events are. Nothing else is called
	// so: a name that a step uses is always looked up at its registry again.
	keptImages = "kept.cyclone.invalid/"
)

// dataMark says what state an engine's data are in.
type dataMark struct {
	// Version is the engine that wrote the data, Boot the boot of the machine
	// in which it did: engines do not wait until layers are on the disk, so
	// they may be incomplete after the machine stopped.
	Version string `json:"version"`
	Boot    string `json:"boot"`
	// Images are the kept images, each with the time it was used last.
	Images map[string]time.Time `json:"images"`
}

// good reports whether data may be used by an engine.
func (m *dataMark) good(version string) bool { return m.Version == version && m.Boot == bootID() }

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return rand.Text() // nothing is known to be of this boot
	}
	return strings.TrimSpace(string(text))
}

// errDataTaken: two servers chose the same data at once, as may happen when one
// that was paused goes on.
var errDataTaken = errors.New("another worker uses the engine's data")

// claimData takes the engine's data for this worker alone. What was not put
// away in good order by an engine of the same version is removed: an event
// rather begins with nothing than with something wrong.
func (e *Engine) claimData() error {
	if err := os.MkdirAll(e.Root, 0o710); err != nil { //#nosec G301 -- what the engine makes it
		return fmt.Errorf("open the engine's data: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(e.Root, engineLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the engine's data: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(errDataTaken, err, lock.Close())
	}
	e.lock = lock
	mark := filepath.Join(e.Root, engineMark)
	text, err := os.ReadFile(mark)
	good := err == nil && json.Unmarshal(text, &e.mark) == nil && e.mark.good(e.version())
	// From here on they are in good order only when somebody says so again.
	if err := os.Remove(mark); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("open the engine's data: %w", err)
	}
	if !good {
		e.mark = dataMark{}
	}
	return e.wipe(good)
}

// leaveData lets another worker have the engine's data.
func (e *Engine) leaveData() {
	if e.lock == nil {
		return
	}
	// Only ever locked. Closing alone would leave the lock with a child that
	// is being started.
	_ = errors.Join(syscall.Flock(int(e.lock.Fd()), syscall.LOCK_UN), e.lock.Close())
	e.lock = nil
}

// wipe moves the data away and removes them in the background, with what
// earlier workers could not; with keep only the latter.
func (e *Engine) wipe(keep bool) error {
	trash := filepath.Join(e.Root, engineTrash)
	entries, err := os.ReadDir(e.Root)
	if err != nil {
		return fmt.Errorf("open the engine's data: %w", err)
	}
	if !keep {
		to := filepath.Join(trash, rand.Text())
		if err := os.MkdirAll(to, 0o700); err != nil {
			return fmt.Errorf("remove the engine's old data: %w", err)
		}
		for _, entry := range entries {
			if entry.Name() == engineLock || entry.Name() == engineTrash {
				continue
			}
			if err := os.Rename(filepath.Join(e.Root, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
				return fmt.Errorf("remove the engine's old data: %w", err)
			}
		}
	}
	if _, err := os.Stat(trash); err == nil {
		e.wiping.Go(func() { _ = os.RemoveAll(trash) }) // what stays is for the next worker to try
	}
	return nil
}

// version tells engines apart that may not understand one another's data.
// Asking the programs would take longer than they need to start.
func (e *Engine) version() string {
	var parts []string
	for _, name := range []string{e.Dockerd, e.Containerd} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue // it will not start either
		}
		if info, err := os.Stat(path); err == nil {
			parts = append(parts, fmt.Sprintf("%s %d %d", filepath.Base(path), info.Size(), info.ModTime().Unix()))
		}
	}
	return strings.Join(parts, ", ")
}

// putAway readies the engine's data for the next event, ends the engine and
// notes that they are in good order. What goes wrong makes the next event
// begin with nothing.
func (r *run) putAway(ctx context.Context) {
	e := r.Engine
	if e.Data == nil || e.lock == nil || e.Err() != nil {
		return
	}
	select {
	case <-r.up.done:
		if r.up.err != nil {
			return
		}
	default:
		return // it never came up
	}
	now := time.Now().UTC()
	keep := r.pulls.kept // no pull is under way any more
	before := slices.Collect(maps.Keys(e.mark.Images))
	err := e.Data.PutAway(ctx, keep, before)
	if err == nil {
		old := e.mark.Images
		e.mark.Images = maps.Clone(old)
		if e.mark.Images == nil {
			e.mark.Images = map[string]time.Time{}
		}
		for _, name := range keep {
			e.mark.Images[name] = now
			old = without(old, name)
		}
		if r.job.CacheLimit > 0 {
			err = e.Data.Shrink(ctx, r.job.CacheLimit, oldestFirst(old))
		}
	}
	if err == nil {
		err = e.rest()
	}
	if err != nil {
		r.Log.Warn("the engine's data are not kept", "error", err)
	}
}

func without(m map[string]time.Time, name string) map[string]time.Time {
	out := maps.Clone(m)
	delete(out, name)
	return out
}

func oldestFirst(m map[string]time.Time) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(m[a].Compare(m[b]), strings.Compare(a, b)) })
}

// rest ends the engine and marks its data as being in good order.
func (e *Engine) rest() error {
	if !e.stopChildren() {
		return errors.New("the engine had to be killed")
	}
	// The next engine makes its networks faster than it finds them again.
	if err := os.RemoveAll(filepath.Join(e.Root, "network")); err != nil {
		return err
	}
	e.mark.Version, e.mark.Boot = e.version(), bootID()
	text, err := json.Marshal(e.mark)
	if err != nil {
		return err
	}
	next := filepath.Join(e.Root, engineMark+".new")
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(e.Root, engineMark))
}

// keep notes that an image was fetched.
func (p *puller) keep(image string, auth *cyclone.RegistryAuth) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil {
		p.kept = map[string]string{}
	}
	p.kept[image] = keptName(image, auth)
}

// keptName is what a pulled image is called between events. The login is part
// of it: who does not have it does not find the image.
func keptName(image string, auth *cyclone.RegistryAuth) string {
	text, err := json.Marshal([]any{image, auth})
	if err != nil {
		text = []byte(rand.Text()) // found by nobody
	}
	sum := sha256.Sum256(text)
	return keptImages + hex.EncodeToString(sum[:]) + ":1"
}

// fallBack uses the image of an earlier event when its registry cannot be
// reached.
func (r *run) fallBack(ctx context.Context, image string, auth *cyclone.RegistryAuth, out cyclone.Output, why error) error {
	if r.Engine.Data == nil || !errors.Is(why, cyclone.ErrUnavailable) || ctx.Err() != nil {
		return why
	}
	name := keptName(image, auth)
	if _, err := r.Images.Inspect(ctx, name); err != nil {
		return why
	}
	if err := r.Images.Tag(ctx, name, image); err != nil {
		return why // it was asked for by its digest, which cannot be given
	}
	out.Write(cyclone.System, fmt.Appendf(nil, "%v; using the image that an earlier event pulled\n", why))
	return nil
}
