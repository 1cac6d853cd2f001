package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"cyclone/pkg/cachedir"
	"cyclone/pkg/cyclone"
)

// show makes a path show what is held of it (nothing, when held is nil): by an
// overlay, so that what is published stays as it is, or else by a copy.
func (r *run) show(e *cached) error {
	var err error
	if e.work, err = os.MkdirTemp(r.caches.scratch, "path-"); err != nil {
		return err
	}
	// Steps may run as any user.
	if err := os.Chmod(e.work, 0o755); err != nil { //#nosec G302
		return err
	}
	if !r.Cache.Direct {
		if e.held == nil {
			err = r.showEmpty(e)
		} else {
			err = r.showOverlay(e)
		}
		if err == nil {
			return nil
		}
		r.Log.Warn("cannot mount a cache; copying it", "path", e.path, "error", err)
	}
	return r.showCopy(e)
}

// showOverlay mounts an overlay on what is held.
func (r *run) showOverlay(e *cached) error {
	upper, work := filepath.Join(e.work, "upper"), filepath.Join(e.work, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	// The root of what is seen is that of the upper folder.
	if err := cachedir.Dress(upper, e.held.Data); err != nil {
		return err
	}
	// What these would leave in the upper folder could not be taken apart.
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off,metacopy=off,index=off", e.held.Data, upper, work)
	err := r.mountAt(e, func(target string) error {
		return unix.Mount("overlay", target, "overlay", unix.MS_NODEV, options)
	})
	if err == nil {
		e.content, e.overlay = upper, true
	}
	return err
}

// showEmpty makes a folder for what is not kept yet. One in the tree begins
// with what the repository has there.
func (r *run) showEmpty(e *cached) error {
	data, err := emptyFolder(e)
	if err != nil || e.rel == "" {
		e.content = data
		return err
	}
	if err := r.copyTree(e, data); err != nil {
		return err
	}
	return r.showFolder(e, data)
}

// showFolder makes a folder of the run's own what is seen in the tree.
func (r *run) showFolder(e *cached, folder string) error {
	err := r.mountAt(e, func(target string) error { return unix.Mount(folder, target, "", unix.MS_BIND, "") })
	if err == nil {
		e.content, e.overlay = folder, false
	}
	return err
}

// emptyFolder makes a folder that every user may write to: nobody knows whose
// the step's processes are.
func emptyFolder(e *cached) (string, error) {
	data := filepath.Join(e.work, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return "", err
	}
	return data, os.Chmod(data, 0o777) //#nosec G302 -- see above
}

// showCopy copies what is held.
func (r *run) showCopy(e *cached) error {
	e.overlay = false
	if e.rel != "" {
		e.content = ""
		if e.held == nil {
			return nil
		}
		return r.fillTree(e)
	}
	data, err := emptyFolder(e)
	if err != nil {
		return err
	}
	e.content = data
	if e.held == nil {
		return nil
	}
	to, err := os.OpenRoot(data)
	if err != nil {
		return err
	}
	return errors.Join(copyHeld(e, to), to.Close())
}

func copyHeld(e *cached, to *os.Root) error {
	from, err := os.OpenRoot(e.held.Data)
	if err != nil {
		return err
	}
	return errors.Join(cachedir.Copy(from, to, ""), from.Close())
}

// fillTree puts a copy of what is held in the place of a folder of the tree.
func (r *run) fillTree(e *cached) error {
	if err := errors.Join(r.root.RemoveAll(e.rel), r.root.MkdirAll(e.rel, 0o755)); err != nil {
		return err
	}
	to, err := r.root.OpenRoot(e.rel)
	if err != nil {
		return err
	}
	return errors.Join(copyHeld(e, to), to.Close())
}

// copyTree copies a folder of the tree to one of the run's own, with links to
// what is held for what has not changed.
func (r *run) copyTree(e *cached, folder string) error {
	base := ""
	if e.held != nil {
		base = e.held.Data
	}
	from, err := r.root.OpenRoot(e.rel)
	if err != nil {
		return err
	}
	to, err := os.OpenRoot(folder)
	if err != nil {
		return errors.Join(err, from.Close())
	}
	return errors.Join(cachedir.Copy(from, to, base), from.Close(), to.Close())
}

// mountAt mounts something where the path is seen: in the tree, on the folder
// itself and not on its name, which a service may change meanwhile.
func (r *run) mountAt(e *cached, mount func(target string) error) error {
	if e.rel == "" {
		merged := filepath.Join(e.work, "merged")
		if err := os.Mkdir(merged, 0o755); err != nil { //#nosec G301 -- steps of any user must get through
			return err
		}
		if err := mount(merged); err != nil {
			return fmt.Errorf("mount cache: %w", err)
		}
		e.mount = merged
		return nil
	}
	f, err := r.root.Open(e.rel)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it only named the folder
	if err := mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err != nil {
		return fmt.Errorf("mount cache: %w", err)
	}
	e.mounted = true
	return nil
}

// unmount takes a path's mount away, if it has one.
func (r *run) unmount(e *cached) error {
	switch {
	case e.mount != "":
		if err := unix.Unmount(e.mount, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount cache: %w", errors.Join(err, unix.Unmount(e.mount, unix.MNT_DETACH)))
		}
		e.mount = ""
	case e.mounted:
		f, err := r.root.Open(e.rel)
		if err != nil {
			return err
		}
		// The open folder keeps it busy for another moment.
		err = errors.Join(unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.MNT_DETACH), f.Close())
		if err != nil {
			return fmt.Errorf("unmount cache: %w", err)
		}
		e.mounted = false
	}
	return nil
}

// takeContent ends that a path is seen, and returns a folder with all of its content;
// empty when that is what is published already.
func (r *run) takeContent(e *cached) (string, error) {
	if e.rel != "" && !e.mounted {
		return r.takeCopy(e)
	}
	if err := r.unmount(e); err != nil {
		return "", err
	}
	if e.overlay {
		changed, err := os.ReadDir(e.content)
		if err != nil || len(changed) == 0 {
			return "", err
		}
		return e.content, cachedir.Complete(e.content, e.held.Data)
	}
	if e.held == nil {
		return e.content, nil
	}
	content, err := os.OpenRoot(e.content)
	if err != nil {
		return "", err
	}
	same, err := sameAsHeld(e, content)
	if err := errors.Join(err, content.Close()); err != nil || same {
		return "", err
	}
	return e.content, nil
}

// takeCopy copies a folder of the tree, where it is and stays, unless it is as
// it was.
func (r *run) takeCopy(e *cached) (string, error) {
	if e.held != nil {
		folder, err := r.root.OpenRoot(e.rel)
		if err != nil {
			return "", err
		}
		same, err := sameAsHeld(e, folder)
		if err := errors.Join(err, folder.Close()); err != nil || same {
			return "", err
		}
	}
	to, err := os.MkdirTemp(e.work, "copy-")
	if err != nil {
		return "", err
	}
	return to, r.copyTree(e, to)
}

func sameAsHeld(e *cached, content *os.Root) (bool, error) {
	held, err := os.OpenRoot(e.held.Data)
	if err != nil {
		return false, err
	}
	same, err := cachedir.Same(content, held)
	return same, errors.Join(err, held.Close())
}

// reshow shows a folder of the tree again after it was taken; what is copied
// there has never gone.
func (r *run) reshow(e *cached) error {
	if e.rel == "" || e.content == "" || e.mounted {
		return nil
	}
	e.content = ""
	return r.show(e)
}

// hide ends the use of a path.
func (r *run) hide(e *cached) {
	if err := r.unmount(e); err != nil {
		r.Log.Warn("cannot unmount a cache", "path", e.path, "error", err)
	}
	e.held.Release()
}

// openUp lets a worker that is not root read, and later remove, what the
// step's processes have left in a folder that it shares with them.
func (r *run) openUp(ctx context.Context, s *step, k *stepCaches, e *cached) {
	folder := e.content
	if e.rel != "" {
		folder = filepath.Join(r.tree, e.rel)
	}
	if os.Geteuid() == 0 || folder == "" {
		return
	}
	const place = "/cyclone-cache"
	id, err := r.Containers.Create(ctx, cyclone.ContainerSpec{
		Name: "cyclone-cache", Image: k.image, Entrypoint: []string{"/bin/sh"}, Command: []string{"-c", "chmod -R a+rwX " + place},
		Mounts: []cyclone.Mount{{Source: folder, Target: place}}, Labels: r.labels("step"),
	})
	if err == nil {
		defer r.remove(ctx, id)
		_, err = r.Containers.Run(ctx, id, s)
	}
	if err != nil {
		r.Log.Warn("what a step left in a cache may not be readable", "path", e.path, "error", err)
	}
}
