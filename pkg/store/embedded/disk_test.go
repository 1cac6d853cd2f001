package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
)

// fullVariable makes the test binary mount a small file system of its own on
// the folder it names, and fill it through a store.
const fullVariable = "CYCLONE_TEST_FILL_UP"

// smallDisk is the size of that file system.
const smallDisk = 20 << 20

// TestSmallDisk fills a real file system, in a mount namespace of a process of
// its own, so that nothing of it is left behind.
func TestSmallDisk(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fullVariable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "mount: ") {
		t.Skipf("no file system may be mounted here, TestFullDisk alone was run: %v %s", err, out)
	}
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// fillUp is what the other process does.
func fillUp(ctx context.Context, dir string) (err error) {
	if err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)),
	); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	// Making room must make enough for the write-ahead log, of about 4 MB, to
	// move into the file.
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 10<<20), 0o600); err != nil {
		return err
	}
	s, err := embedded.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	disk, err := s.Disk(ctx)
	if err != nil || disk.Total != smallDisk || disk.Free <= 0 || disk.Free > smallDisk-10<<20 {
		return fmt.Errorf("disk: %+v, %w", disk, err)
	}
	if err := tooLarge(ctx, s); err != nil {
		return err
	}
	lines, err := untilFull(ctx, s)
	if err != nil {
		return err
	}
	ping := s.Ping(ctx)
	if !errors.Is(ping, cyclone.ErrUnavailable) || !strings.Contains(ping.Error(), "disk is full (") || !strings.Contains(ping.Error(), "of 21.0 MB") {
		return fmt.Errorf("ping of a full disk: %w", ping)
	}
	if last, err := s.Logs.Last(ctx, "e"); err != nil || last != lines {
		return fmt.Errorf("%d lines were acknowledged, %d are there, %w", lines, last, err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := s.Ping(ctx); err != nil {
		return fmt.Errorf("ping with room: %w", err)
	}
	return s.Logs.Append(ctx, "e", cyclone.Chunk{First: lines + 1, Count: 1, Data: make([]byte, 64<<10)})
}

// tooLarge puts a file that does not fit: it is refused before the disk is
// full, and leaves nothing behind.
func tooLarge(ctx context.Context, s *embedded.Store) error {
	before, err := s.Disk(ctx)
	if err != nil {
		return err
	}
	f := cyclone.File{Event: "e", Kind: cyclone.FileArtifact, Path: "large"}
	_, err = s.Files.Put(ctx, f, bytes.NewReader(make([]byte, smallDisk)))
	if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "keep artifact large of event e") ||
		!strings.Contains(err.Error(), "disk that holds the store is full") {
		return fmt.Errorf("put of what does not fit: %w", err)
	}
	after, err := s.Disk(ctx)
	if err != nil || after.Free < before.Free-64<<10 {
		return fmt.Errorf("before it was refused %s were free, and %s afterwards, %w", before.Free, after.Free, err)
	}
	if _, err := s.Files.Put(ctx, f, strings.NewReader("small")); err != nil {
		return fmt.Errorf("put of what fits: %w", err)
	}
	return s.Ping(ctx)
}

// untilFull appends to a log until the disk is full and returns how many lines
// were acknowledged.
func untilFull(ctx context.Context, s *embedded.Store) (lines int64, err error) {
	for ; lines < smallDisk>>12; lines++ {
		err := s.Logs.Append(ctx, "e", cyclone.Chunk{First: lines + 1, Count: 1, Data: make([]byte, 64<<10)})
		if err == nil {
			continue
		}
		if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "disk that holds the store is full") {
			return lines, fmt.Errorf("append to a full disk: %w", err)
		}
		return lines, nil
	}
	return lines, errors.New("the disk never became full")
}
