package client

import (
	"context"
	"net"
	"time"
)

// SetTimes makes a worker quick to notice that a connection is half open.
func (w *Worker) SetTimes(ping, silence time.Duration) { w.times.ping, w.times.silence = ping, silence }

// SetDial makes a worker reach its server in another way.
func (w *Worker) SetDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	w.dial = dial
}

// SetBounds sets how much a worker keeps in memory and on disk.
func (w *Worker) SetBounds(memory int, disk int64) { w.box.memory, w.box.disk = memory, disk }
