// Package cyclonetest holds what tests of several packages share: stand-ins
// that keep the contracts of cyclone's interfaces, and laboratories of real
// parts. Only tests import it.
package cyclonetest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// Memory is a store in memory that keeps the contracts of cyclone's store
// interfaces: it passes the same suite as the real ones. Every value is copied
// on its way in and out.
type Memory struct {
	Projects   *MemoryProjects
	Events     *MemoryEvents
	Logs       *MemoryLogs
	Files      *MemoryFiles
	Deliveries *MemoryDeliveries
	Secrets    *MemorySecrets
	Clusters   *MemoryClusters
	Leases     *MemoryLeases
	Nodes      *MemoryNodes
	Settings   *MemorySettings
	Marks      *MemoryMarks
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	m := &Memory{
		Logs:       &MemoryLogs{all: map[cyclone.EventID][]cyclone.Chunk{}},
		Files:      &MemoryFiles{all: map[memoryFileKey]memoryFile{}},
		Deliveries: &MemoryDeliveries{all: map[string]*cyclone.Delivery{}},
		Secrets:    &MemorySecrets{all: map[string]*cyclone.Secret{}},
		Clusters:   &MemoryClusters{all: map[cyclone.ClusterName]*cyclone.Cluster{}},
		Leases:     &MemoryLeases{all: map[string]memoryLease{}},
		Nodes:      &MemoryNodes{all: map[string]cyclone.Node{}},
		Settings:   &MemorySettings{all: map[string][]byte{}},
		Marks:      &MemoryMarks{all: map[memoryMarkKey]*cyclone.Mark{}},
	}
	m.Events = &MemoryEvents{logs: m.Logs, files: m.Files, all: map[cyclone.EventID]*cyclone.Event{}, numbers: map[cyclone.ProjectName]int64{}}
	m.Projects = &MemoryProjects{m: m, all: map[cyclone.ProjectName]*cyclone.Project{}}
	return m
}

// clone copies a value of plain data as a store keeps it, with times in whole
// milliseconds, and then, by keep, what JSON leaves out.
func clone[T any](v *T, keep func(to, from *T)) *T {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the words are plain data
	}
	c := new(T)
	if err := json.Unmarshal(text, c); err != nil {
		panic(err)
	}
	stampAll(reflect.ValueOf(c).Elem())
	keep(c, v)
	return c
}

// stampAll cuts all times in a value.
func stampAll(v reflect.Value) {
	if v.CanAddr() {
		if t, ok := v.Addr().Interface().(*time.Time); ok {
			*t = cyclone.Stamp(*t)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			stampAll(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			stampAll(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			stampAll(v.Index(i))
		}
	}
}

// page cuts a list whose items have places that sort as text: up by name, or
// down where the newest is first.
func page[T any](items []T, p cyclone.Page, down bool, place func(T) string) (cyclone.List[T], error) {
	var none cyclone.List[T]
	after, err := paging.Parse(p.Cursor, 1)
	if err != nil {
		return none, err
	}
	rest := []T{}
	for _, item := range items {
		if at := place(item); after == nil || down && at < after[0] || !down && at > after[0] {
			rest = append(rest, item)
		}
	}
	n := paging.Limit(p)
	return paging.Cut(rest[:min(n+1, len(rest))], n, len(items), func(item T) string { return paging.Cursor(place(item)) }), nil
}

// timePlace is a place in a list by time.
func timePlace(t time.Time, id string) string {
	return fmt.Sprintf("%020d/%s", t.UnixMilli(), id)
}

// Totals is Census's.
func (m *Memory) Totals(context.Context) (cyclone.Totals, error) {
	var t cyclone.Totals
	for _, e := range m.Events.selected(func(*cyclone.Event) bool { return true }) { // oldest first
		switch e.Status {
		case cyclone.StatusPending:
			if t.Pending++; t.OldestPending.IsZero() {
				t.OldestPending = e.CreatedAt
			}
		case cyclone.StatusBlocked:
			t.Blocked++
		case cyclone.StatusRunning:
			t.Running++
		}
		if _, open := noticeDue(e); open {
			t.Notices++
		}
	}
	t.DeliveriesWaiting, t.DeliveriesParked = m.Deliveries.open()
	return t, nil
}
