package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cyclone/pkg/cyclone"
)

// wrap puts "verb object" before an error and gives those that come from the
// disk or from a closed store the kind ErrUnavailable. Errors that this package
// made itself say what and where already.
func wrap(err error, format string, args ...any) error {
	if err == nil || said(err) {
		return err
	}
	what := fmt.Sprintf(format, args...)
	switch {
	case full(err):
		return fmt.Errorf("%s: %w: the disk that holds the store is full, make room there: %w", what, cyclone.ErrUnavailable, err)
	case broken(err):
		return fmt.Errorf("%s: %w: %w", what, cyclone.ErrUnavailable, err)
	}
	if closed(err) {
		return fmt.Errorf("%s: %w: the store is closed", what, cyclone.ErrUnavailable)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// code is SQLite's primary code of an error, or 0.
func code(err error) int {
	var own *sqlite.Error
	if errors.As(err, &own) {
		return own.Code() & 0xff
	}
	return 0
}

func full(err error) bool {
	return code(err) == sqlite3.SQLITE_FULL || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// broken reports whether the disk, not the write, is what is wrong.
func broken(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY:
		return true
	}
	var path *fs.PathError
	return errors.As(err, &path)
}

// closed reports whether the store was closed. database/sql exports no value
// for it.
func closed(err error) bool {
	return err != nil && (errors.Is(err, cyclone.ErrUnavailable) || err.Error() == "sql: database is closed")
}

func said(err error) bool {
	return errors.Is(err, cyclone.ErrNotFound) || errors.Is(err, cyclone.ErrConflict) ||
		errors.Is(err, cyclone.ErrInvalid) || errors.Is(err, cyclone.ErrUnavailable)
}
