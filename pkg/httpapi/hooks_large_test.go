package httpapi_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/github"
)

// largePush is a push of as many commits as GitHub tells of, in 3 MB.
func largePush(t *testing.T) []byte {
	t.Helper()
	sha := strings.Repeat("3f2a1b9c", 5)
	type commit struct {
		ID       string   `json:"id"`
		Message  string   `json:"message"`
		Added    []string `json:"added"`
		Modified []string `json:"modified"`
		Removed  []string `json:"removed"`
	}
	commits := make([]commit, 2048)
	for i := range commits {
		files := make([]string, 20)
		for j := range files {
			files[j] = fmt.Sprintf("services/service-%d/package-%d/some/deep/folder/source_file_%d.go", i%50, i, j)
		}
		commits[i] = commit{fmt.Sprintf("%040x", i), "Say \"hello\"\n\nand more", files[:5], files[5:], []string{}}
	}
	body, err := json.Marshal(map[string]any{
		"ref": "refs/heads/main", "before": strings.Repeat("a", 40), "after": sha, "commits": commits,
		"head_commit": map[string]any{"id": sha, "message": strings.Repeat("m", 1<<20)},
		"repository":  map[string]any{"clone_url": "https://github.com/acme/orders.git"}, "sender": map[string]any{"login": "alice"},
	})
	if err != nil || len(body) < 3<<20 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	return body
}

func signature(body []byte) string {
	mac := hmac.New(sha256.New, []byte("good"))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// The largest deliveries cost little more than what nobody can do without:
// reading the body, its HMAC, and a JSON decoder's way through it.
func TestLargeDelivery(t *testing.T) {
	store := memoryStore(t)
	r := store.replica(t)
	r.Forges["github"] = github.Forge{}
	p, err := store.projects.Find(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	p.Triggers.Push = &cyclone.PushTrigger{Paths: []string{"**/none/**", "services/*/package-2047/**"}}
	if err := store.projects.Replace(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	body, handler := largePush(t), r.Handler()
	signed := signature(body)
	ours := func(id int) time.Duration {
		req := httptest.NewRequest(http.MethodPost, hooks, bytes.NewReader(body))
		req.Header = http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"push"},
			"X-Github-Delivery": {fmt.Sprint("large-", id)}, "X-Hub-Signature-256": {signed}}
		res, begun := httptest.NewRecorder(), time.Now()
		handler.ServeHTTP(res, req)
		took := time.Since(begun)
		if res.Code != http.StatusAccepted {
			t.Fatalf("answered %d %s", res.Code, res.Body)
		}
		return took
	}
	plain := func() time.Duration {
		begun := time.Now()
		data, err := io.ReadAll(bytes.NewReader(body))
		if err != nil || signature(data) != signed {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun)
	}
	best, floor := time.Hour, time.Hour
	const rounds = 3
	for i := range rounds { // in turns, so that both meet the same machine
		best, floor = min(best, ours(i)), min(floor, plain())
	}
	if best > 2*floor {
		t.Errorf("a delivery takes %s; reading, HMAC and decoding %s", best, floor)
	}
	for i := range rounds {
		d := store.find(t, cyclone.DeliveryID(fmt.Sprint("large-", i)))
		for end := time.Now().Add(20 * time.Second); d.HandledAt == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
			d = store.find(t, d.ID) // of a slow machine, whose answer does not wait
		}
		if len(d.Events) != 1 || len(d.Body) != len(body) {
			t.Errorf("%s: events %v, ignored %q", d.ID, d.Events, d.Ignored)
		}
	}
	if n := len(store.all(t)); n != rounds {
		t.Errorf("%d events", n)
	}
}
