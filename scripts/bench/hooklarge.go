package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"cyclone/pkg/cyclonetest/lab"
)

const (
	largeGoal    = 100.0 // milliseconds
	largeCommits = 2048  // as many as GitHub tells of
	largeBytes   = 3 << 20
	largeAlone   = 40
	largeEach    = 10
)

// largeHooks measures the largest deliveries that forges send, one after the
// other and from several senders at once, and returns how many were sent.
func (p *project) largeHooks(ctx context.Context, server *lab.Server) (int, error) {
	body, err := p.largePush()
	if err != nil {
		return 0, err
	}
	say("hook: %d deliveries of %d commits and %.1f MB, then %d senders at once", largeAlone, largeCommits, float64(len(body))/1e6, hookSenders)
	var took series
	for range largeAlone {
		begun := time.Now()
		if err := p.post(ctx, server, body); err != nil {
			return 0, err
		}
		took.add(float64(time.Since(begun).Microseconds()) / 1000)
	}
	p.b.goal("hook of 2,048 commits and 3 MB answered", fmt.Sprintf("<= %.0f ms", largeGoal), took.quantile(.99) <= largeGoal,
		"median %.1f ms, p99 %.1f ms (%.1f to %.1f)", took.median(), took.quantile(.99), took.quantile(0), took.quantile(1))
	rate, err := storm(largeEach, func() error { return p.post(ctx, server, body) })
	if err != nil {
		return 0, err
	}
	p.b.note(fmt.Sprintf("  %d senders at once", hookSenders), "%.0f deliveries a second", rate)
	return largeAlone + hookSenders*largeEach, nil
}

// largePush is the payload of a push of many commits with long lists of paths.
func (p *project) largePush() ([]byte, error) {
	push := lab.Push(p.url, "main", p.sha, "Change")
	commits := make([]map[string]any, largeCommits)
	for i := range commits {
		commits[i] = map[string]any{
			"id": fmt.Sprintf("%040x", i), "tree_id": p.sha, "distinct": true, "timestamp": "2026-01-01T00:00:00Z",
			"message": fmt.Sprintf("Change number %d\n\nA \"quoted\" word and an umlaut: ä.", i), "url": fmt.Sprintf("%s/commit/%040x", p.url, i),
			"author":    map[string]any{"name": "Alice", "email": "alice@example.com", "username": "alice"},
			"committer": map[string]any{"name": "Alice", "email": "alice@example.com", "username": "alice"},
			"removed":   []string{},
		}
	}
	for i := range commits {
		files := make([]string, 16)
		for j := range files {
			files[j] = fmt.Sprintf("services/service-%d/internal/package-%d/some/deep/folder/source_file_%d.go", i%50, i, j)
		}
		commits[i]["added"], commits[i]["modified"] = files[:4], files[4:]
	}
	push["commits"] = commits
	body, err := json.Marshal(push)
	if err == nil && len(body) < largeBytes {
		err = fmt.Errorf("the large payload has only %d bytes", len(body))
	}
	return body, err
}

// post sends a body as it is, under an id of its own.
func (p *project) post(ctx context.Context, server *lab.Server, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/api/v1/hooks/github/"+p.name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(p.secret))
	mac.Write(body)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": "push", "X-GitHub-Delivery": rand.Text(),
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // all of it was read
	if err == nil && res.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("the delivery was answered %d %s", res.StatusCode, said)
	}
	return err
}
