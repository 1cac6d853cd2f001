package mongo

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Observer is told how long each call of the server took: "read", "insert",
// "update", "delete" or "other". failed says that the server could not be
// reached or takes no writes, not that there was nothing to be found; a server
// that is away is told of as failed calls of the kind "connect".
type Observer = func(call string, took time.Duration, failed bool)

// calls names MongoDB's commands by their kind; the rest are "other".
var calls = map[string]string{
	"find": "read", "getMore": "read", "aggregate": "read", "count": "read", "distinct": "read",
	"insert": "insert", "update": "update", "findAndModify": "update", "delete": "delete",
}

func kind(command string) string {
	if k, ok := calls[command]; ok {
		return k
	}
	return "other"
}

// watch has the client tell the observer, unless that is nil.
func watch(o *options.ClientOptions, observe Observer) {
	if observe == nil {
		return
	}
	o.SetMonitor(&event.CommandMonitor{
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) {
			observe(kind(e.CommandName), e.Duration, false)
		},
		Failed: func(_ context.Context, e *event.CommandFailedEvent) {
			observe(kind(e.CommandName), e.Duration, unreachable(e.Failure))
		},
	})
	o.SetServerMonitor(&event.ServerMonitor{
		ServerHeartbeatFailed: func(e *event.ServerHeartbeatFailedEvent) { observe("connect", e.Duration, true) },
	})
}
