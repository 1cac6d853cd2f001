package patience_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/patience"
)

// looks notes when it is looked, and finds something at the n-th look.
type looks struct {
	began time.Time
	at    []string
	last  []bool
	said  []string
	found int
	err   error
}

func (l *looks) look(_ context.Context, last bool) (string, error) {
	l.at = append(l.at, time.Since(l.began).String())
	l.last = append(l.last, last)
	if len(l.at) == l.found {
		return "it", l.err
	}
	return "", fmt.Errorf("look: %w", &patience.Late{What: "x is not in y", Why: "it may be gone"})
}

func (l *looks) say(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

func TestLook(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		patience time.Duration
		found    int
		err      error
		at       []string
		want     string
	}{
		"at once":          {time.Minute, 1, nil, []string{"0s"}, ""},
		"later":            {time.Minute, 3, nil, []string{"0s", "1s", "3s"}, ""},
		"never":            {time.Minute, 0, nil, []string{"0s", "1s", "3s", "7s", "15s", "30s", "45s", "1m0s"}, "x is not in y after 60 s; it may be gone"},
		"little patience":  {2500 * time.Millisecond, 0, nil, []string{"0s", "1s", "2.5s"}, "x is not in y after 2.5 s; it may be gone"},
		"no patience":      {0, 0, nil, []string{"0s"}, "x is not in y; it may be gone"},
		"another failure":  {time.Minute, 1, broken, []string{"0s"}, "broken"},
		"fails in between": {time.Minute, 2, broken, []string{"0s", "1s"}, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &looks{began: time.Now(), found: tt.found, err: tt.err}
				got, err := patience.Look(t.Context(), tt.patience, l.say, l.look)
				if !slices.Equal(l.at, tt.at) || len(l.said) != len(tt.at)-1 {
					t.Errorf("looked at %v, said %q", l.at, l.said)
				}
				switch {
				case tt.want == "" && (err != nil || got != "it"):
					t.Errorf("%q, %v", got, err)
				case tt.want != "" && (err == nil || err.Error() != tt.want):
					t.Errorf("%v, want %s", err, tt.want)
				case tt.found == 0 && !errors.Is(err, cyclone.ErrNotFound):
					t.Errorf("%v is not of the kind", err)
				}
				if at := slices.Index(l.last, true); tt.found == 0 && at != len(l.last)-1 {
					t.Errorf("the last look is not told so: %v", l.last)
				}
			})
		})
	}
}

func TestLookEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("somebody asked")
		l := &looks{began: time.Now()}
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		if _, err := patience.Look(ctx, time.Hour, l.say, l.look); !errors.Is(err, why) || time.Since(l.began) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(l.began))
		}
	})
}
