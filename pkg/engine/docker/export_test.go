package docker

import "time"

// SetGraces makes an engine's clocks quick.
func (e *Engine) SetGraces(start, stop, kill time.Duration) { e.grace = graces{start, stop, kill} }
