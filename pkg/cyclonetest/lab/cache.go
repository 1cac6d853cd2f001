package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver

	"cyclone/pkg/cyclone"
)

// cacheTime is how long the last workers of a stopped server may take to end.
const cacheTime = 30 * time.Second

// RemoveCaches removes what the Docker engine keeps between events for a
// stopped server with a store of its own. Another store may have servers that
// go on.
func (s *Server) RemoveCaches() error {
	dir, own := strings.CutPrefix(s.store, "embedded:")
	if !own {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cacheTime)
	defer cancel()
	id, err := installation(ctx, dir)
	if err != nil {
		return fmt.Errorf("remove caches: %w", err)
	}
	if id == "" {
		return nil
	}
	for {
		left, err := s.removeCaches(ctx, id)
		if err == nil && left == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("remove caches: left: %s", left), err)
		case <-time.After(100 * time.Millisecond): // a worker still ends
		}
	}
}

// removeCaches removes what nobody uses and returns the names of the rest.
func (s *Server) removeCaches(ctx context.Context, id string) (left string, err error) {
	list := []string{"volume", "ls", "-q", "--filter", "label=" + cyclone.LabelRole + "=cache", "--filter", "label=" + cyclone.LabelServer + "=" + id}
	docker := func(args ...string) (string, error) {
		if s.engine != "" {
			args = append([]string{"--host", s.engine}, args...)
		}
		out, err := exec.CommandContext(ctx, "docker", args...).Output()
		return strings.TrimSpace(string(out)), stderrOf(err)
	}
	found, err := docker(list...)
	if err != nil || found == "" {
		return "", err
	}
	_, err = docker(append([]string{"volume", "rm"}, strings.Fields(found)...)...)
	left, failed := docker(list...)
	if left == "" {
		err = nil // somebody else was at it too
	}
	return left, errors.Join(err, failed)
}

// Installation is the id by which a server's containers and volumes are known.
// The server must have a store of its own.
func (s *Server) Installation(ctx context.Context) (string, error) {
	dir, own := strings.CutPrefix(s.store, "embedded:")
	if !own {
		return "", fmt.Errorf("the store %s is shared", s.store)
	}
	return installation(ctx, dir)
}

// installation reads the id beside a server that may be running; it is empty
// when the store is gone, or never had one.
func installation(ctx context.Context, dir string) (id string, err error) {
	file := filepath.Join(dir, "cyclone.db")
	if _, err := os.Stat(file); err != nil {
		return "", nil
	}
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(ctx, "SELECT value FROM settings WHERE name = 'server-id'").Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}
