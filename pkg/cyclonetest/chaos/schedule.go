package chaos

import (
	"math/rand/v2"
	"time"
)

// Fault is one thing to go wrong.
type Fault struct {
	// After is the time from the fault before.
	After time.Duration
	Kind  string
	// For is how long it lasts, or until what was killed is started again.
	For time.Duration
	// Pick in [0,1) chooses among those whom it can hit.
	Pick float64
}

// kind is a kind of fault: how often, and how long at the least and the most.
type kind struct {
	name        string
	weight      int
	least, most time.Duration
}

// kinds are all kinds of faults.
func kinds() []kind {
	const s, ms = time.Second, time.Millisecond
	return []kind{
		{"kill server", 5, 0, 4 * s},
		{"kill worker", 4, 0, 0},
		{"kill inner engine", 2, 0, 0},
		{"kill engine", 2, 200 * ms, 3 * s},
		{"kill store", 3, 200 * ms, 4 * s},
		{"freeze store", 3, 1 * s, 8 * s},
		{"cut workers", 4, 0, 4 * s},
		{"delay workers", 2, 2 * s, 6 * s},
		{"forget workers", 3, 0, 0},
		{"cut store", 3, 0, 3 * s},
		{"delay store", 3, 2 * s, 6 * s},
		{"forget store", 2, 0, 0},
		{"fill disk", 3, 2 * s, 8 * s},
	}
}

// Pauses between faults.
const (
	leastPause = 1500 * time.Millisecond
	mostPause  = 6 * time.Second
)

// Schedule is an endless sequence of faults that a seed fixes: first one of
// each kind, in any order, and from then on as often as each kind's weight says.
type Schedule struct {
	rng   *rand.Rand
	bag   []kind
	begun bool
}

// NewSchedule begins the sequence of a seed.
func NewSchedule(seed uint64) *Schedule {
	return &Schedule{rng: rand.New(rand.NewPCG(seed, 1))}
}

// Next is the next fault.
func (s *Schedule) Next() Fault {
	if len(s.bag) == 0 {
		s.fill()
	}
	k := s.bag[0]
	s.bag = s.bag[1:]
	return Fault{After: between(s.rng, leastPause, mostPause), Kind: k.name, For: between(s.rng, k.least, k.most), Pick: s.rng.Float64()}
}

func (s *Schedule) fill() {
	for _, k := range kinds() {
		n := k.weight
		if !s.begun {
			n = 1
		}
		for range n {
			s.bag = append(s.bag, k)
		}
	}
	s.begun = true
	s.rng.Shuffle(len(s.bag), func(i, j int) { s.bag[i], s.bag[j] = s.bag[j], s.bag[i] })
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Float64()*float64(most-least))
}
