// Package synth makes records of rehearsals that never took place: seeded, with
// latency that behaves like a real service's (a lognormal body, a heavier tail,
// seconds that resemble their neighbours, a slow drift) and with faults planted
// at known times. The statistics of package judge are proved on them, and the
// reports use them as fixtures.
package synth

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Options describe a rehearsal. The zero value of each field takes the default
// named beside it.
type Options struct {
	Seed                              uint64        // of all randomness; its zero is one like any other
	Rate                              float64       // 100 requests a second on each lane
	Lanes                             []string      // new, reused
	Warmup, Baseline, Upgrade, Settle time.Duration // 10 s, 60 s, 180 s, 30 s
	Profile                           *Profile      // DefaultProfile
	Faults                            []Fault       // none
	ControlPlanes, Workers            int           // 1, 3
	From, To                          string        // v1.34.4, v1.35.4
}

// Profile is how latency behaves: exp(level of the second) × a lognormal body, of
// which some requests are a multiple. Its zero value answers at once; start from
// DefaultProfile.
type Profile struct {
	// Median of the body in milliseconds.
	Median float64
	// Sigma is the standard deviation of the logarithm of the body.
	Sigma float64
	// TailShare of the requests take TailFactor times as long, with a spread of
	// their own of TailSigma.
	TailShare, TailFactor, TailSigma float64
	// Each second's level follows an AR(1) process of coefficient AR whose
	// logarithm has the standard deviation Noise; half of its variance is shared
	// by all lanes.
	AR, Noise float64
	// Drift is the height, peak to peak, of a slow sine with a period of 5 to 20
	// minutes; half of it is shared by all lanes.
	Drift float64
	// Bursts is how many times a minute each lane by itself is slower by
	// BurstFactor, for one to three seconds.
	Bursts, BurstFactor float64
	// ErrorRate is the share of requests that is reset at any time.
	ErrorRate float64
}

// DefaultProfile resembles a small HTTP service behind a balancer: p50 8 ms, p99
// about 30 ms, neighbouring seconds correlated at 0.8, and a drift of 2%.
func DefaultProfile() Profile {
	return Profile{Median: 8, Sigma: 0.35, TailShare: 0.02, TailFactor: 3, TailSigma: 0.4, AR: 0.8, Noise: 0.03, Drift: 0.04}
}

// FaultKind says what a Fault does.
type FaultKind uint8

// Kinds of faults.
const (
	Fail     FaultKind = iota // Share of the requests end in Class
	Hang                      // nothing is answered until the fault ends
	Pause                     // the generator stops: slots are not sent
	SlowBody                  // every latency times Factor
	SlowTail                  // the slowest tenth times Factor
	Busy                      // the machine is busy: every lane, control too, times Factor, and sent late
	// Overload: the machine has far too much to do in Share of the seconds. Every
	// lane, control too, leaves 20 to 100% of its slots unsent then, and each by
	// itself, in some of those seconds or the one after, loses some requests.
	Overload
)

// Fault is something planted. Start is counted from the upgrade's beginning and
// may be negative to hit the baseline.
type Fault struct {
	Kind          FaultKind // Fail by default
	Lane          string    // empty: every lane but control; for Busy, Pause and Overload, every lane
	Start, Length time.Duration
	Share         float64      // of requests, for Fail; of seconds, for Overload; 0 means all
	Class         record.Class // for Fail; refused by default
	Factor        float64      // by which latency grows, for SlowBody, SlowTail and Busy; 1 is none
}

func (f *Fault) hits(lane string) bool {
	switch {
	case f.Kind == Busy, f.Kind == Overload, f.Kind == Pause && f.Lane == "":
		return true // one process sends all lanes
	case f.Lane == "":
		return lane != scenarios.LaneControl
	}
	return f.Lane == lane
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Warmup, 10*time.Second)
	def(&o.Baseline, 60*time.Second)
	def(&o.Upgrade, 180*time.Second)
	def(&o.Settle, 30*time.Second)
	if o.Rate == 0 {
		o.Rate = 100
	}
	if o.Lanes == nil {
		o.Lanes = []string{scenarios.LaneNew, scenarios.LaneReused}
	}
	if o.Profile == nil {
		p := DefaultProfile()
		o.Profile = &p
	}
	if o.ControlPlanes == 0 {
		o.ControlPlanes = 1
	}
	if o.Workers == 0 {
		o.Workers = 3
	}
	if o.From == "" {
		o.From, o.To = "v1.34.4", "v1.35.4"
	}
	return o
}

// Scenario returns the scenario that a record of these options ran.
func (o Options) Scenario() scenarios.Scenario {
	o = o.withDefaults()
	s := scenarios.Default()
	s.Name = "synthetic"
	s.Cluster.ControlPlanes, s.Cluster.Workers = o.ControlPlanes, o.Workers
	if o.ControlPlanes > 1 {
		s.Thresholds.APIAvailability = scenarios.Pct(scenarios.DefaultAPIAvailability)
	}
	s.Versions = scenarios.Versions{From: o.From, To: o.To}
	s.Load.Rate, s.Load.Lanes = o.Rate, o.Lanes
	s.Load.Warmup, s.Load.Baseline, s.Load.Settle = scenarios.D(o.Warmup), scenarios.D(o.Baseline), scenarios.D(o.Settle)
	s.Checks.SystemComponents = scenarios.DefaultSystemComponents(s.Cluster.Network)
	return s
}

// Record makes the record, complete and as it would be loaded. The same options
// give the same record.
func Record(o Options) *record.Record {
	o = o.withDefaults()
	r := frame(o)
	seconds := int((o.Warmup + o.Baseline + o.Upgrade + o.Settle) / time.Second)
	shared := levels(rand.New(rand.NewPCG(o.Seed, 0)), seconds, o.Profile)
	for i, lane := range r.Run.Lanes {
		rng := rand.New(rand.NewPCG(o.Seed, uint64(i)+1))
		g := generator{o: o, lane: lane, rng: rng, level: levels(rng, seconds, o.Profile), begin: o.Warmup + o.Baseline}
		burst := 0
		for s := range g.level {
			g.level[s] += shared[s]
			if o.Profile.Bursts > 0 && burst == 0 && rng.Float64() < o.Profile.Bursts/60 {
				burst = 1 + rng.IntN(3)
			}
			if burst > 0 {
				g.level[s] += math.Log(o.Profile.BurstFactor)
				burst--
			}
		}
		r.Lanes = append(r.Lanes, g.data(seconds))
	}
	return r
}

// levels returns the logarithm of each second's level: AR(1) noise and a drift,
// of half the profile's variance and height.
func levels(rng *rand.Rand, seconds int, p *Profile) []float64 {
	out := make([]float64, seconds)
	period := 300 + 900*rng.Float64()
	at := 2 * math.Pi * rng.Float64()
	noise := p.Noise / math.Sqrt2
	x := noise * rng.NormFloat64()
	for s := range out {
		x = p.AR*x + noise*math.Sqrt(1-p.AR*p.AR)*rng.NormFloat64()
		out[s] = x + p.Drift/4*math.Sin(at+2*math.Pi*float64(s)/period)
	}
	return out
}
