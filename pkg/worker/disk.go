package worker

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	// fullBelow is how little free space counts as none, in bytes.
	fullBelow = 1 << 20
	// diskLook is how often the disk is looked at while a step runs: many
	// programs remove what they wrote when they fail.
	diskLook = 250 * time.Millisecond
)

// diskSpace is the free and the whole space of the disk that holds a path, in
// bytes; root's reserve counts as used.
func diskSpace(path string) (free, size uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	block := uint64(st.Bsize) //#nosec G115 -- sizes of blocks are positive
	return st.Bavail * block, st.Blocks * block, nil
}

// fullDisk says that the worker's disk has no space left; empty when it has,
// or when that cannot be known.
func (r *run) fullDisk() string {
	space := r.space
	if space == nil {
		space = diskSpace
	}
	free, size, err := space(r.tree)
	if err != nil || free >= fullBelow {
		return ""
	}
	where := r.Engine.Root
	if r.Engine.Shared {
		where = r.Dir
	}
	return fmt.Sprintf("the worker's disk was full (%s, %d MiB in all)", where, size>>20)
}

// watchDisk looks at the disk until stop is called, which says what it saw.
func (r *run) watchDisk() (stop func() string) {
	ended := make(chan struct{})
	var looking sync.WaitGroup
	var seen string
	looking.Go(func() {
		tick := time.NewTicker(diskLook)
		defer tick.Stop()
		for seen == "" {
			select {
			case <-ended:
				seen = r.fullDisk()
				return
			case <-tick.C:
				seen = r.fullDisk()
			}
		}
	})
	return func() string {
		close(ended)
		looking.Wait()
		return seen
	}
}

// blameDisk makes a failure of a step during which the disk was full ours: it
// is hardly the project's own.
func blameDisk(err error, full string) error {
	var v *verdict
	if full == "" || !errors.As(err, &v) || v.status != cyclone.StatusFailure {
		return err
	}
	placed := *v
	placed.status = cyclone.StatusError
	placed.message += "; " + full
	return &placed
}
