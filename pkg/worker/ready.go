package worker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	readyTime    = 60 * time.Second // when wait_for does not say
	readyRunning = time.Second      // how long a service without ports must run
	// readyRest is how long the other ports of a service may stay closed once
	// one answers: many images expose ports that they never open.
	readyRest = 5 * time.Second
	readyPoll = 15 * time.Millisecond
	readySlow = 250 * time.Millisecond
	readyDial = time.Second
)

// ready waits until a service can be used.
func (r *run) ready(ctx context.Context, v *service) error {
	limit := readyTime
	if v.step.WaitFor != nil && v.step.WaitFor.Timeout > 0 {
		limit = time.Duration(v.step.WaitFor.Timeout)
	}
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	p := &probe{wait: v.step.WaitFor}
	for pause := readyPoll; ; pause = min(pause*5/4, readySlow) {
		info, err := r.Containers.Inspect(ctx, v.id)
		if err != nil {
			return err
		}
		missing := p.missing(ctx, info)
		if missing == "" {
			return nil
		}
		select {
		case <-v.ended:
			out := failure(cyclone.StageIntegration, v.step.Name, "the service %s before it was ready", v.ending())
			out.exitCode = v.exit.Code
			return out
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return failure(cyclone.StageIntegration, v.step.Name, "the service was not ready within %s: %s",
				cyclone.Duration(limit), missing)
		case <-time.After(pause):
		}
	}
}

// probe looks whether a service is ready. It remembers since when what is true.
type probe struct {
	wait     *cyclone.WaitFor
	running  time.Time
	answered time.Time
}

// missing says what a service still lacks; empty when it is ready.
func (p *probe) missing(ctx context.Context, info cyclone.ContainerInfo) string {
	if !info.Running {
		p.running = time.Time{}
		return "it does not run"
	}
	if p.running.IsZero() {
		p.running = time.Now()
	}
	switch {
	case p.wait != nil && p.wait.HTTP != "":
		return p.http(ctx, info)
	case p.wait != nil && p.wait.Port > 0:
		return closedPort(ctx, info.IP, strconv.Itoa(p.wait.Port))
	case info.Health != "":
		if info.Health == "healthy" {
			return ""
		}
		return "its HEALTHCHECK says " + info.Health
	}
	return p.ports(ctx, info)
}

// ports looks at the exposed ports; a service without any must run a while.
func (p *probe) ports(ctx context.Context, info cyclone.ContainerInfo) string {
	var missing []string
	open := 0
	for _, exposed := range info.Ports {
		port, protocol, _ := strings.Cut(exposed, "/")
		if protocol != "" && protocol != "tcp" {
			continue
		}
		if why := closedPort(ctx, info.IP, port); why != "" {
			missing = append(missing, why)
		} else {
			open++
		}
	}
	switch {
	case open+len(missing) == 0:
		if time.Since(p.running) >= readyRunning {
			return ""
		}
		return "it has run for less than " + readyRunning.String()
	case open > 0 && p.answered.IsZero():
		p.answered = time.Now()
	}
	if open > 0 && time.Since(p.answered) >= readyRest {
		return ""
	}
	return strings.Join(missing, ", ")
}

// closedPort says that a port does not answer; empty when it does.
func closedPort(ctx context.Context, ip, port string) string {
	ctx, cancel := context.WithTimeout(ctx, readyDial)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ip, port))
	if err != nil {
		return "port " + port + " does not answer"
	}
	_ = conn.Close() // it answered; that is all
	return ""
}

// http asks the service for a page, which must not be an error.
func (p *probe) http(ctx context.Context, info cyclone.ContainerInfo) string {
	port := "80"
	if p.wait.Port > 0 {
		port = strconv.Itoa(p.wait.Port)
	} else if len(info.Ports) > 0 {
		port, _, _ = strings.Cut(info.Ports[0], "/")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*readyDial)
	defer cancel()
	path := "/" + strings.TrimPrefix(p.wait.HTTP, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(info.IP, port)+path, nil)
	if err != nil {
		return fmt.Sprintf("wait_for.http %q is not a path", p.wait.HTTP)
	}
	// A transport of its own: a service is asked directly, never through a proxy.
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return "port " + port + " does not answer " + path
	}
	_ = answer.Body.Close() // only the status counts
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Sprintf("port %s answers %s with %s", port, path, answer.Status)
	}
	return ""
}
