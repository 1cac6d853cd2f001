package cyclone

import "time"

// Keep says how long things are kept: until they are older than Days, or
// until there are more than Count newer ones in the project. 0 is no limit.
type Keep struct {
	Days  int `json:"days,omitempty"`
	Count int `json:"count,omitempty"`
}

// Retention says what of a project is kept. Nil parts mean the server's own.
type Retention struct {
	// Events go with their logs; Logs may go earlier than their events.
	Events     *Keep `json:"events,omitempty"`
	Logs       *Keep `json:"logs,omitempty"`
	Deliveries *Keep `json:"deliveries,omitempty"`
	// Files are artifacts, reports and outputs; they too may go earlier than
	// their events.
	Files *Keep `json:"artifacts,omitempty"`
	// Minimum newest of each are kept whatever else is said; nil means the
	// server's own.
	Minimum *int `json:"minimum,omitempty"`
}

// Prune selects what is to be removed of a project: what is older than
// Before (zero: age does not matter) or beyond the Most newest (0: number does
// not matter), but never any of the Minimum newest.
type Prune struct {
	Before  time.Time
	Most    int
	Minimum int
	// Dry only counts.
	Dry bool
}

// RetentionReport says what retention removed, or would remove.
type RetentionReport struct {
	// DryRun is true when nothing was removed.
	DryRun bool `json:"dryRun"`
	// Events were removed with their logs; Logs counts only those that went
	// before their events.
	Events     int `json:"events"`
	Logs       int `json:"logs"`
	Deliveries int `json:"deliveries"`
	// Files counts the events whose files went before them.
	Files int `json:"artifacts"`
	// Projects has those of which something was removed, by name.
	Projects []ProjectRetention `json:"projects"`
}

// ProjectRetention is one project's part of a RetentionReport.
type ProjectRetention struct {
	Project    ProjectName `json:"project"`
	Events     int         `json:"events"`
	Logs       int         `json:"logs"`
	Deliveries int         `json:"deliveries"`
	Files      int         `json:"artifacts"`
}
