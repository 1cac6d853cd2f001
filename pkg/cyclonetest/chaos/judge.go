package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// Outcome is one delivery with what came of it.
type Outcome struct {
	Delivery, Site, Shape string
	Event                 cyclone.Event
	Sent, Answered        int
	Hits                  int
	Viewed                bool
	Returns               int // of its viewer
	Lines                 Lines
	Mails, SameMails      int // by Message-ID, and further copies under the same one
	// Problems are the promises that were broken.
	Problems []string
	// Tail is the end of the log of an event with problems.
	Tail []string

	hits []hit
}

// Lines counts numbered lines of steps.
type Lines struct{ Expected, Stored, Lost, Doubled, Wrong int }

// settle waits until all that is under way is over, as long as that may take.
func (w *world) settle(ctx context.Context, deliveries []*delivery) {
	limited, cancel := context.WithTimeout(ctx, calmTime)
	defer cancel()
	for _, s := range w.sites {
		waitFor(limited, func() bool {
			open, err := s.open(limited)
			return err == nil && open == 0
		})
	}
	w.notes.say("all events are over, or have had their time")
	posted, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	waitFor(posted, func() bool {
		mails := w.mails()
		return !slices.ContainsFunc(deliveries, func(d *delivery) bool { return len(mails[d.eventID()]) == 0 })
	})
}

// waitFor asks twice a second until the answer is yes or ctx ends.
func waitFor(ctx context.Context, yes func() bool) bool {
	for !yes() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(500 * time.Millisecond):
		}
	}
	return true
}

// mails are the Message-IDs of the mails about each event.
func (w *world) mails() map[string][]string {
	found := map[string][]string{}
	for _, m := range w.mail.Messages("") {
		event := m.Mail.Header.Get("X-Cyclone-Event")
		found[event] = append(found[event], m.Mail.Header.Get("Message-Id"))
	}
	return found
}

// judge looks at all that is promised about one delivery.
func (w *world) judge(ctx context.Context, d *delivery) *Outcome {
	o := &Outcome{Delivery: d.id, Site: d.site.name, Shape: d.project.shape.name, Sent: d.sent, Answered: d.sent - d.codes[0]}
	if !w.judgeDelivery(ctx, d, o) {
		return o
	}
	o.hits = w.notes.hitsOf(string(o.Event.ID))
	o.Hits = len(o.hits)
	o.judgeStatus(d.project.shape)
	lines, err := w.storedLog(ctx, d, string(o.Event.ID))
	if err != nil {
		o.wrong("the log cannot be read: %v", err)
	} else {
		o.judgeLog(d, lines)
	}
	w.judgeMails(o)
	if o.Shape == "publish" && o.Event.Status == cyclone.StatusSuccess {
		w.judgeImage(ctx, o)
	}
	if len(o.Problems) > 0 {
		for _, l := range lines[max(0, len(lines)-12):] {
			o.Tail = append(o.Tail, fmt.Sprintf("%d %s/%s %.200s", l.N, l.Stage, l.Step, l.Text))
		}
		w.keep(d, o, lines)
	}
	return o
}

// keep writes a file about an event with problems: what servers logged about
// it, and its log.
func (w *world) keep(d *delivery, o *Outcome, lines []cyclone.Line) {
	var text bytes.Buffer
	for _, n := range d.site.servers {
		log, err := os.ReadFile(filepath.Join(w.o.Dir, "server-"+n.name+".log"))
		if err != nil {
			log = []byte(err.Error())
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, string(o.Event.ID)) || strings.Contains(line, d.id) {
				fmt.Fprintf(&text, "server %s: %s", n.name, line)
			}
		}
	}
	for _, l := range lines {
		fmt.Fprintf(&text, "%d %s %s/%s %s %s\n", l.N, l.Time.Format("15:04:05.000"), l.Stage, l.Step, l.Stream, l.Text)
	}
	if err := os.WriteFile(filepath.Join(w.o.Dir, "event-"+string(o.Event.ID)+".log"), text.Bytes(), 0o600); err != nil {
		w.notes.say("%v", err)
	}
}

func (o *Outcome) wrong(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

// judgeDelivery: every delivery has exactly one event.
func (w *world) judgeDelivery(ctx context.Context, d *delivery, o *Outcome) bool {
	var stored cyclone.Delivery
	if err := d.site.call(ctx, "GET", d.path(), nil, &stored); err != nil {
		o.wrong("the delivery is lost: %v", err)
		return false
	}
	if len(stored.Events) != 1 {
		o.wrong("the delivery has %d events: error %q, ignored %q, parked %v", len(stored.Events), stored.Error, stored.Ignored, stored.ParkedAt)
		return false
	}
	if d.event != "" && d.event != string(stored.Events[0]) {
		o.wrong("the delivery was answered with event %s and has event %s", d.event, stored.Events[0])
	}
	if err := d.site.call(ctx, "GET", "/api/v1/events/"+string(stored.Events[0]), nil, &o.Event); err != nil {
		o.wrong("the event is lost: %v", err)
		return false
	}
	return true
}

// judgeStatus: every event is over, as its shape says unless a fault took its
// workers.
func (o *Outcome) judgeStatus(sh *shape) {
	e := &o.Event
	if !e.Status.Final() {
		o.wrong("the event is %s: %s", e.Status, e.Reason)
		return
	}
	for _, stage := range e.Stages {
		open := stage.Status == cyclone.StatusRunning || stage.Status == cyclone.StatusPending
		if open || slices.ContainsFunc(stage.Steps, func(s cyclone.StepState) bool { return s.Status == cyclone.StatusRunning }) {
			o.wrong("the event is %s and its stage %s is %s", e.Status, stage.Name, stage.Status)
		}
	}
	if e.FinishedAt == nil || e.Reason == "" && e.Status != cyclone.StatusSuccess {
		o.wrong("the event is %s without a time or a reason", e.Status)
	}
	if !slices.Contains(o.allowed(sh), e.Status) {
		o.wrong("the event is %s in attempt %d after %s: %s", e.Status, e.Worker.Attempt, o.hitText(), e.Reason)
	}
}

// allowed are the statuses that the event may have. One lost worker is made
// good by another; the loss of the second one, or an engine that died below
// the steps, may end the event with an error.
func (o *Outcome) allowed(sh *shape) []cyclone.Status {
	inner := slices.ContainsFunc(o.hits, func(h hit) bool { return h.kind == "kill inner engine" })
	if len(o.hits) > 1 && o.Event.Worker.Attempt > 1 || inner {
		return append(slices.Clone(sh.want), cyclone.StatusError)
	}
	return sh.want
}

func (o *Outcome) hitText() string {
	if len(o.hits) == 0 {
		return "no fault that took its worker"
	}
	var texts []string
	for _, h := range o.hits {
		texts = append(texts, h.kind+" at "+h.at.UTC().Format("15:04:05.0"))
	}
	return strings.Join(texts, ", ")
}

// judgeLog: the numbers of the log have no gap and no repeat, viewers saw what
// is stored, and each step's output is complete, in order and there once.
func (o *Outcome) judgeLog(d *delivery, lines []cyclone.Line) {
	for i, l := range lines {
		if l.N != int64(i)+1 {
			o.wrong("the log's line %d has number %d", i+1, l.N)
			break
		}
	}
	if o.Event.LogLines != int64(len(lines)) {
		o.wrong("the event says it has %d lines of log, there are %d", o.Event.LogLines, len(lines))
	}
	if v := d.viewer; v != nil {
		o.Viewed, o.Returns = true, v.returns
		if how := v.differs(lines, o.Event.Status); how != "" {
			o.wrong("%s", how)
		}
	}
	for step, n := range d.project.shape.steps {
		o.judgeStep(d.project.shape, step, n, lines)
	}
}

func (o *Outcome) judgeStep(sh *shape, step string, n int, lines []cyclone.Line) {
	salt := string(o.Event.ID)
	out := outputOf(salt, step, lines)
	complete := (o.Event.Status == cyclone.StatusSuccess || o.Event.Status == cyclone.StatusFailure) && slices.Contains(sh.want, o.Event.Status)
	last := 0
	if len(out.runs) > 0 {
		last = out.runs[len(out.runs)-1]
	}
	cached := step == "build" && o.Event.Worker.Attempt > 1 && slices.ContainsFunc(lines, func(l cyclone.Line) bool { return strings.HasSuffix(l.Text, " CACHED") })
	if complete && !cached {
		o.Lines.Expected += n
		o.Lines.Stored += last
		o.Lines.Lost += n - last
		if last != n {
			o.wrong("step %s has %d of %d lines (runs %v)", step, last, n, out.runs)
		}
	}
	o.Lines.Lost += out.lost
	o.Lines.Doubled += out.doubled
	o.Lines.Wrong += out.wrong
	if out.lost+out.doubled+out.wrong > 0 {
		o.wrong("step %s: %d lines lost, %d doubled, %d wrong", step, out.lost, out.doubled, out.wrong)
	}
	if len(out.runs) > o.Event.Worker.Attempt {
		o.wrong("step %s was run %d times in %d attempts", step, len(out.runs), o.Event.Worker.Attempt)
	}
}

// judgeMails: exactly one mail tells of every event. A server that dies
// between the mail server's answer and its own note of it sends the mail
// again, under the same Message-ID: that cannot be excluded, and is counted.
func (w *world) judgeMails(o *Outcome) {
	ids := w.mails()[string(o.Event.ID)]
	slices.Sort(ids)
	distinct := slices.Compact(slices.Clone(ids))
	o.Mails, o.SameMails = len(distinct), len(ids)-len(distinct)
	if len(distinct) != 1 {
		o.wrong("%d mails tell of the event", len(distinct))
	}
}

func (w *world) judgeImage(ctx context.Context, o *Outcome) {
	_, repository, _ := strings.Cut(o.Event.Image.Name, "/")
	digest, err := w.registry.Digest(ctx, repository, o.Event.Image.Digest)
	if err != nil || digest == "" || digest != o.Event.Image.Digest {
		o.wrong("the registry has image %s@%s as %q: %v", o.Event.Image.Name, o.Event.Image.Digest, digest, err)
	}
}

// storedLog reads an event's complete log.
func (w *world) storedLog(ctx context.Context, d *delivery, event string) ([]cyclone.Line, error) {
	var failed error
	for _, n := range d.site.servers {
		text, err := fetch(ctx, n, "/api/v1/events/"+event+"/logs")
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		var lines []cyclone.Line
		for s := bufio.NewReader(bytes.NewReader(text)); ; {
			line, err := s.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return lines, nil
			}
			var l cyclone.Line
			if err := json.Unmarshal(line, &l); err != nil {
				return nil, fmt.Errorf("line %d of the log: %w", len(lines)+1, err)
			}
			lines = append(lines, l)
		}
	}
	return nil, failed
}

func fetch(ctx context.Context, n *server, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+n.Token)
	req.Header.Set("Accept", "application/x-ndjson")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, answer.Status, text)
	}
	return text, err
}

// difference says where two logs differ; empty when they do not.
func difference(seen, stored []cyclone.Line) string {
	for i := range min(len(seen), len(stored)) {
		a, b := seen[i], stored[i]
		if a.N != b.N || !a.Time.Equal(b.Time) || a.Stage != b.Stage || a.Step != b.Step || a.Stream != b.Stream || a.Text != b.Text {
			return fmt.Sprintf("the viewer saw line %d as %.200q, stored is line %d %.200q", a.N, a.Text, b.N, b.Text)
		}
	}
	if len(seen) != len(stored) {
		return fmt.Sprintf("the viewer saw %d lines, stored are %d", len(seen), len(stored))
	}
	return ""
}
