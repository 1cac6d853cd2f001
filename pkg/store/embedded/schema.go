package embedded

import (
	"context"
	"database/sql"
	"fmt"

	"cyclone/pkg/cyclone"
)

// applicationID marks the file as Cyclone's ("CYCL"), so that no other
// program's file is written to by mistake.
const applicationID = 0x4359434c

// migrations bring a file from version i to i+1. One that was released is
// never changed: a change is a new one at the end.
var migrations = []string{schema1, schema2, schema3, schema4}

// schema1: what is searched for stands in columns, the rest in JSON. The
// indexes are shaped after Events.List: each ends in the order of the list, so
// that a page costs the same whatever lies before and behind it.
const schema1 = `
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL);

CREATE TABLE projects (
	name TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL, webhook_secret BLOB
);

CREATE TABLE clusters (
	name TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL, access BLOB
);

CREATE TABLE secrets (
	project TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, value BLOB,
	PRIMARY KEY (project, name)
);

CREATE TABLE deliveries (
	seq INTEGER PRIMARY KEY,
	project TEXT NOT NULL, scm TEXT NOT NULL, id TEXT NOT NULL,
	received INTEGER NOT NULL, handled INTEGER,
	body TEXT NOT NULL, header TEXT NOT NULL, payload BLOB
);
CREATE UNIQUE INDEX deliveries_id ON deliveries (project, scm, id);
CREATE INDEX deliveries_received ON deliveries (project, received);
CREATE INDEX deliveries_unhandled ON deliveries (received) WHERE handled IS NULL;

CREATE TABLE delivery_totals (project TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER deliveries_insert AFTER INSERT ON deliveries BEGIN
	INSERT INTO delivery_totals VALUES (new.project, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER deliveries_delete AFTER DELETE ON deliveries BEGIN
	UPDATE delivery_totals SET n = n - 1 WHERE project = old.project;
END;

CREATE TABLE events (
	seq INTEGER PRIMARY KEY,
	id TEXT NOT NULL UNIQUE,
	project TEXT NOT NULL, number INTEGER NOT NULL,
	status TEXT NOT NULL, kind TEXT NOT NULL, branch TEXT NOT NULL,
	created INTEGER NOT NULL, key TEXT UNIQUE, revision INTEGER NOT NULL,
	notice_due INTEGER,
	event TEXT NOT NULL, run TEXT NOT NULL
);
CREATE UNIQUE INDEX events_number ON events (project, number);
CREATE INDEX events_all ON events (created, kind, branch);
CREATE INDEX events_status ON events (status, created, kind, branch);
CREATE INDEX events_project ON events (project, created);
CREATE INDEX events_project_status ON events (project, status, created, kind);
CREATE INDEX events_project_branch ON events (project, branch, status, created, kind);
CREATE INDEX events_project_kind ON events (project, kind, status, created);
CREATE INDEX events_pending ON events (project, number) WHERE status = 'pending';
CREATE INDEX events_notice ON events (notice_due) WHERE notice_due IS NOT NULL;

-- How many events there are: counting them for every page would take longer
-- the more there are.
CREATE TABLE event_totals (
	project TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, n INTEGER NOT NULL,
	PRIMARY KEY (project, kind, status)
) WITHOUT ROWID;
CREATE INDEX event_totals_status ON event_totals (status, project);
CREATE TABLE branch_totals (
	project TEXT NOT NULL, branch TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, n INTEGER NOT NULL,
	PRIMARY KEY (project, branch, kind, status)
) WITHOUT ROWID;
CREATE INDEX branch_totals_branch ON branch_totals (branch);
CREATE TRIGGER events_insert AFTER INSERT ON events BEGIN
	INSERT INTO event_totals VALUES (new.project, new.kind, new.status, 1) ON CONFLICT DO UPDATE SET n = n + 1;
	INSERT INTO branch_totals VALUES (new.project, new.branch, new.kind, new.status, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER events_update AFTER UPDATE OF status, kind, branch ON events
WHEN old.status <> new.status OR old.kind <> new.kind OR old.branch <> new.branch BEGIN
	UPDATE event_totals SET n = n - 1 WHERE project = old.project AND kind = old.kind AND status = old.status;
	UPDATE branch_totals SET n = n - 1 WHERE project = old.project AND branch = old.branch AND kind = old.kind AND status = old.status;
	INSERT INTO event_totals VALUES (new.project, new.kind, new.status, 1) ON CONFLICT DO UPDATE SET n = n + 1;
	INSERT INTO branch_totals VALUES (new.project, new.branch, new.kind, new.status, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER events_delete AFTER DELETE ON events BEGIN
	UPDATE event_totals SET n = n - 1 WHERE project = old.project AND kind = old.kind AND status = old.status;
	UPDATE branch_totals SET n = n - 1 WHERE project = old.project AND branch = old.branch AND kind = old.kind AND status = old.status;
END;

CREATE TABLE chunks (
	seq INTEGER PRIMARY KEY,
	event TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE UNIQUE INDEX chunks_first ON chunks (event, first, count);
`

// schema2: due is when a delivery's next attempt is to be made, and NULL once
// it was handled or parked.
const schema2 = `
ALTER TABLE deliveries ADD COLUMN due INTEGER;
ALTER TABLE deliveries ADD COLUMN parked INTEGER;
UPDATE deliveries SET due = received WHERE handled IS NULL;
DROP INDEX deliveries_unhandled;
CREATE INDEX deliveries_due ON deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX deliveries_parked ON deliveries (parked) WHERE parked IS NOT NULL;

CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE nodes (name TEXT PRIMARY KEY, drain INTEGER NOT NULL, body TEXT NOT NULL);
`

// schema3: files, each with the name of its content on the disk, which no two
// share; and how often a project's caches were cleared.
const schema3 = `
CREATE TABLE files (
	event TEXT NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
	PRIMARY KEY (event, kind, path)
) WITHOUT ROWID;
CREATE UNIQUE INDEX files_name ON files (name);

ALTER TABLE projects ADD COLUMN cache_epoch INTEGER NOT NULL DEFAULT 0;
`

// schema4: what the server remembers about projects between its rounds; and
// the bodies of deliveries apart from what changes: SQLite writes a row as a
// whole, and a body may have many megabytes.
const schema4 = `
CREATE TABLE payloads (delivery INTEGER PRIMARY KEY, packed INTEGER NOT NULL, payload BLOB);
INSERT INTO payloads SELECT seq, 0, payload FROM deliveries;
ALTER TABLE deliveries DROP COLUMN payload;
CREATE TRIGGER payloads_delete AFTER DELETE ON deliveries BEGIN
	DELETE FROM payloads WHERE delivery = old.seq;
END;

CREATE TABLE marks (
	project TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL,
	PRIMARY KEY (project, name)
);
`

// migrate brings the file up to date, each step in a transaction of its own.
func migrate(ctx context.Context, file *sql.DB, steps []string) error {
	var version, app int
	if err := file.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return wrap(err, "read schema version")
	}
	if err := file.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return wrap(err, "read application id")
	}
	if app != 0 && app != applicationID {
		return cyclone.Invalid(fileName, "is another program's database; choose another data folder")
	}
	if version > len(steps) {
		return cyclone.Invalid(fileName, "was written by a newer server (schema %d; this one knows up to %d): "+
			"start that version again, or restore the copy made before the upgrade", version, len(steps))
	}
	for ; version < len(steps); version++ {
		if err := step(ctx, file, version+1, steps[version]); err != nil {
			return wrap(err, "migrate data to schema %d", version+1)
		}
	}
	return nil
}

func step(ctx context.Context, file *sql.DB, version int, script string) error {
	t, err := file.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // does nothing after Commit
	// Pragmas take no arguments; both values are numbers of this package.
	script += fmt.Sprintf("; PRAGMA user_version = %d; PRAGMA application_id = %d", version, applicationID)
	if _, err := t.ExecContext(ctx, script); err != nil {
		return err
	}
	return t.Commit()
}
