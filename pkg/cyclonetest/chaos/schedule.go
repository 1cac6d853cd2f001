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
	// late kinds take so long that a short run is spared them.
	late bool
}

// kinds are all kinds of faults.
func kinds() []kind {
	const s, ms = time.Second, time.Millisecond
	return []kind{
		{name: "kill server", weight: 5, most: 4 * s},
		{name: "kill worker", weight: 4},
		// Longer than its lease: its event is somebody else's when it comes back.
		{name: "freeze worker", weight: 1, least: 62 * s, most: 75 * s, late: true},
		{name: "kill inner engine", weight: 2},
		{name: "kill engine", weight: 2, least: 200 * ms, most: 3 * s},
		{name: "kill store", weight: 3, least: 200 * ms, most: 4 * s},
		{name: "freeze store", weight: 3, least: 1 * s, most: 8 * s},
		{name: "cut workers", weight: 4, most: 4 * s},
		{name: "delay workers", weight: 2, least: 2 * s, most: 6 * s},
		{name: "forget workers", weight: 3},
		{name: "cut store", weight: 3, most: 3 * s},
		{name: "delay store", weight: 3, least: 2 * s, most: 6 * s},
		{name: "forget store", weight: 2},
		{name: "fill disk", weight: 3, least: 2 * s, most: 8 * s},
	}
}

// Pauses between faults.
const (
	leastPause = 1500 * time.Millisecond
	mostPause  = 6 * time.Second
)

// Schedule is an endless sequence of faults that a seed fixes: first one of
// each kind but the late ones, in any order, and from then on as often as each kind's weight says.
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
			if k.late {
				n = 0
			}
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
