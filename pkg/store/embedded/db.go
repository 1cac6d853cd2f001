package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"cyclone/pkg/cyclone"
)

// maxBatch bounds the writes that share a commit.
const maxBatch = 128

// db is the file: many reading connections, and one goroutine that owns the
// only writing one. Writes that arrive while a commit is on its way to the disk
// share the next commit, so that many clients do not wait for as many syncs.
type db struct {
	dir      string
	reader   *sql.DB
	writing  *sql.DB
	conn     *sql.Conn
	stmts    map[string]*sql.Stmt // of conn; touched by the writing goroutine only
	requests chan request
	quit     chan struct{}
	done     chan struct{}
	once     sync.Once
	observe  Observer // or nil
	// refused is set while the disk takes no writes.
	refused atomic.Bool
}

// request is one write: all of it happens, or nothing.
type request struct {
	ctx   context.Context
	do    func(*tx) error
	reply chan error
}

func newDB(ctx context.Context, dir string, writing, reading *sql.DB, observe Observer) (*db, error) {
	conn, err := writing.Conn(ctx)
	if err != nil {
		return nil, err
	}
	d := &db{
		dir: dir, reader: reading, writing: writing, conn: conn, stmts: map[string]*sql.Stmt{},
		requests: make(chan request), quit: make(chan struct{}), done: make(chan struct{}), observe: observe,
	}
	go d.run()
	return d, nil
}

// close lets the running commit end and closes all connections.
func (d *db) close() error {
	var err error
	d.once.Do(func() {
		close(d.quit)
		<-d.done
		for _, s := range d.stmts {
			err = errors.Join(err, s.Close())
		}
		// The writer goes last: the last connection to go moves the
		// write-ahead log into the file.
		err = errors.Join(err, d.reader.Close(), d.conn.Close(), d.writing.Close())
	})
	return err
}

// write runs do in a transaction and returns once that is on the disk, or was
// undone. do must change nothing outside of the transaction but variables that
// the caller reads after success.
func (d *db) write(ctx context.Context, do func(*tx) error) (err error) {
	begin := time.Now()
	defer func() { d.seen("write", begin, err) }()
	r := request{ctx, do, make(chan error, 1)}
	select {
	case d.requests <- r:
		// From here on the outcome is awaited even when ctx ends: it would
		// be unknown otherwise, and is a few milliseconds away.
		return <-r.reply
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.quit:
		return cyclone.Unavailable("the store in %s is closed", d.dir)
	}
}

func (d *db) run() {
	defer close(d.done)
	for {
		select {
		case r := <-d.requests:
			batch := d.gather(r)
			errs := d.commit(batch)
			d.note(errs)
			for i, err := range errs {
				batch[i].reply <- err
			}
		case <-d.quit:
			return
		}
	}
}

// note remembers whether the disk takes writes.
func (d *db) note(errs []error) {
	for _, err := range errs {
		if err == nil || broken(err) {
			d.refused.Store(err != nil)
		}
	}
}

// probe writes more than small rows need, and removes it, when the last write
// failed: only so can be told whether there is room again.
func (d *db) probe(ctx context.Context) error {
	if !d.refused.Load() {
		return nil
	}
	const name = "disk-probe"
	err := d.write(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO settings (name, value) VALUES (?, zeroblob(65536)) ON CONFLICT DO UPDATE SET value = excluded.value", name)
		return err
	})
	if err != nil {
		return err
	}
	return d.write(ctx, func(t *tx) error {
		_, err := t.exec("DELETE FROM settings WHERE name = ?", name)
		return err
	})
}

// gather adds the writes that are waiting already.
func (d *db) gather(first request) []request {
	batch := []request{first}
	for len(batch) < maxBatch {
		select {
		case r := <-d.requests:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch in one transaction and returns an error for each write.
func (d *db) commit(batch []request) []error {
	errs := make([]error, len(batch))
	fail := func(err error) []error {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = err
			}
		}
		return errs
	}
	t := &tx{d}
	if _, err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return fail(fmt.Errorf("begin transaction: %w", err))
	}
	good := 0
	for i, r := range batch {
		if errs[i] = t.one(r); errs[i] == nil {
			good++
		}
	}
	end := "COMMIT"
	if good == 0 {
		end = "ROLLBACK"
	}
	if _, err := t.exec(end); err != nil {
		// A failed commit may leave the transaction open. Where it does not,
		// this rollback is what fails, and there is nothing to undo.
		_, _ = t.exec("ROLLBACK")
		return fail(fmt.Errorf("commit: %w", err))
	}
	return errs
}

// tx is the writing connection inside a transaction.
type tx struct{ d *db }

// one runs a write of the batch so that its failure undoes nothing but itself.
func (t *tx) one(r request) error {
	if err := r.ctx.Err(); err != nil {
		return context.Cause(r.ctx)
	}
	if _, err := t.exec("SAVEPOINT one"); err != nil {
		return err
	}
	err := r.do(t)
	if err != nil {
		if _, undo := t.exec("ROLLBACK TO one"); undo != nil {
			return errors.Join(err, undo)
		}
	}
	_, end := t.exec("RELEASE one")
	return errors.Join(err, end)
}

// stmt keeps prepared statements: parsing SQL costs more than most of it takes
// to run. The texts are constants of this package, so their number is bounded.
func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if s, ok := t.d.stmts[query]; ok {
		return s, nil
	}
	s, err := t.d.conn.PrepareContext(context.Background(), query)
	if err == nil {
		t.d.stmts[query] = s
	}
	return s, err
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	// A statement is not interrupted: the transaction is others' too.
	result, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// find reads one row into dest; sql.ErrNoRows when there is none.
func (t *tx) find(query string, args []any, dest ...any) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(context.Background(), args...).Scan(dest...)
}

// all reads the rows of a query, each with scan.
func all[T any](ctx context.Context, d *db, scan func(scanner) (T, error), query string, args ...any) (items []T, err error) {
	begin := time.Now()
	defer func() { d.seen("read", begin, err) }()
	rows, err := d.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	items = []T{}
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, rows.Err()
}

// count reads a single number.
func (d *db) count(ctx context.Context, query string, args ...any) (n int, err error) {
	err = d.row(ctx, query, args...).Scan(&n)
	return n, err
}

// row reads a single row, when it is scanned.
func (d *db) row(ctx context.Context, query string, args ...any) scanner {
	return row{d, time.Now(), d.reader.QueryRowContext(ctx, query, args...)}
}

type row struct {
	d     *db
	begin time.Time
	row   *sql.Row
}

func (r row) Scan(dest ...any) error {
	err := r.row.Scan(dest...)
	r.d.seen("read", r.begin, err)
	return err
}

// seen tells who observes of a call that has ended.
func (d *db) seen(call string, begin time.Time, err error) {
	if d.observe != nil {
		d.observe(call, time.Since(begin), broken(err) || closed(err))
	}
}

// scanner is a row.
type scanner interface{ Scan(dest ...any) error }
