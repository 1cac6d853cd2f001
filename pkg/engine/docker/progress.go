package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/go-units"

	"cyclone/pkg/cyclone"
)

// progressInterval is how often a layer in transfer is worth a line.
const progressInterval = 3 * time.Second

// message is one element of the stream that the engine answers to pull and
// push.
type message struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error string `json:"error"`
	Aux   struct {
		Digest string `json:"Digest"`
	} `json:"aux"`
}

// silent are the states of a layer that say nothing which the next one does
// not say too.
var silent = map[string]bool{
	"Pulling fs layer": true, "Waiting": true, "Verifying Checksum": true, "Preparing": true, "Download complete": true,
}

// progress turns the engine's messages, which are made for a terminal that
// redraws itself, into lines that can be read one after the other.
type progress struct {
	out    cyclone.Output
	layers map[string]*layer
	now    func() time.Time
}

// layer is what was last written about a layer.
type layer struct {
	status string
	at     time.Time
}

func newProgress(out cyclone.Output) *progress {
	return &progress{out: out, layers: map[string]*layer{}, now: time.Now}
}

// copy reads messages until the stream ends and returns the digest that it
// told, if any. An error in the stream is the whole operation's.
func (p *progress) copy(r io.Reader) (digest string, err error) {
	dec := json.NewDecoder(r)
	for {
		var m message
		err := dec.Decode(&m)
		switch {
		case errors.Is(err, io.EOF):
			return digest, nil
		case err != nil:
			return "", fmt.Errorf("read the engine's progress: %w", err)
		case m.Error != "":
			return "", errors.New(m.Error)
		}
		if m.Aux.Digest != "" {
			digest = m.Aux.Digest
		}
		p.show(m)
	}
}

// show writes a line about a message, unless it is not worth one.
func (p *progress) show(m message) {
	switch {
	case m.Status == "" || silent[m.Status]:
	case m.ID == "":
		p.line("%s", m.Status)
	case m.Progress.Total > 0 || m.Progress.Current > 0:
		p.transfer(m)
	default:
		p.line("%s: %s", m.ID, m.Status)
	}
}

// transfer writes where a layer stands, for the first time after an interval,
// so that quick ones go without.
func (p *progress) transfer(m message) {
	l := p.layers[m.ID]
	if l == nil || l.status != m.Status {
		p.layers[m.ID] = &layer{m.Status, p.now()}
		return
	}
	if p.now().Sub(l.at) < progressInterval {
		return
	}
	l.at = p.now()
	at := units.HumanSize(float64(m.Progress.Current))
	if m.Progress.Total > 0 {
		at += " of " + units.HumanSize(float64(m.Progress.Total))
	}
	p.line("%s: %s %s", m.ID, m.Status, at)
}

func (p *progress) line(format string, args ...any) {
	p.out.Write(cyclone.Stdout, fmt.Appendf(nil, format+"\n", args...))
}
