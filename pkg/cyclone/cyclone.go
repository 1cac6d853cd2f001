// Package cyclone is the vocabulary of the whole program: the nouns (Project,
// Event, Pipeline, Line, ...), the small interfaces through which rooms meet,
// and the kinds of error. Every other package imports it; it imports only the
// standard library, does no I/O and starts no goroutine.
//
// It is not a place for behaviour: parsing lives in manifest, storage in
// store, running in worker.
package cyclone

import (
	"regexp"
	"time"
)

// Names of things, each a type of its own so that one cannot stand for another.
type (
	// ProjectName names a project; see ValidName.
	ProjectName string
	// EventID identifies an event: opaque, and sortable by time of creation.
	EventID string
	// WorkerID identifies one launched worker, and with it one attempt.
	WorkerID string
	// ClusterName names a registered deployment target; see ValidName.
	ClusterName string
	// DeliveryID is a forge's own id of a webhook delivery.
	DeliveryID string
)

// NamePattern is what names of projects and clusters look like.
const NamePattern = `^[a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])?$`

var namePattern = regexp.MustCompile(NamePattern)

// ValidName reports whether s may name a project or a cluster.
func ValidName(s string) bool { return namePattern.MatchString(s) }

// Labels that every container, network, volume and pod started by Cyclone
// carries, so that leftovers can be found and nothing else is touched.
const (
	LabelRole    = "cyclone"         // worker, step, service, network, ...
	LabelEvent   = "cyclone.event"   // EventID
	LabelProject = "cyclone.project" // ProjectName
	LabelServer  = "cyclone.server"  // id of the installation
	LabelWorker  = "cyclone.worker"  // WorkerID
	LabelLocal   = "cyclone.local"   // who made it in a local run, without a server
)

// Stamp is the time as Cyclone stores and shows it: UTC, whole milliseconds,
// which is what every store keeps.
func Stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Page asks for a part of a list.
type Page struct {
	// Limit is the most items to return; 0 means 50.
	Limit int
	// Cursor is List.Next of the page before, or empty for the first.
	Cursor string
}

// List is one page of a longer list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
	Total int    `json:"total"`
}
