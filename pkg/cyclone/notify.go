package cyclone

import "context"

// Notifier tells somebody about an event: how it ended, or, at its forge, also
// how far it is.
type Notifier interface {
	// Notify returns an error when it is worth trying again later.
	Notify(ctx context.Context, p *Project, e *Event) error
}
