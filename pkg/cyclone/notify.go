package cyclone

import "context"

// Notifier tells somebody about a final event.
type Notifier interface {
	// Notify returns an error when it is worth trying again later.
	Notify(ctx context.Context, p *Project, e *Event) error
}
