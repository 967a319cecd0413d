package synth

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// maxSingle bounds the requests recorded singly, as the load engine does.
const maxSingle = 20000

// generator makes the data of one lane, slot by slot.
type generator struct {
	o     Options
	lane  record.Lane
	rng   *rand.Rand
	level []float64
	begin time.Duration // of the upgrade
	open  int           // index of the span that the next slot may continue, or -1
}

func (g *generator) data(seconds int) record.LaneData {
	d := record.LaneData{Lane: g.lane, Windows: make([]record.Window, 0, seconds)}
	var latency, lag record.Dense
	next := 0 // slot
	for s := range seconds {
		w := record.Window{Second: int64(s)}
		latency.Reset()
		lag.Reset()
		faults := g.faultsIn(s)
		level := math.Exp(g.level[s])
		g.open = -1
		for {
			due := int64(math.Ceil(float64(next) * 1e9 / g.lane.Rate))
			if due >= int64(s+1)*1e9 {
				break
			}
			next++
			x := g.request(due, level, faults)
			w.Counts[x.class]++
			if x.class == record.Unsent {
				g.span(&w, record.SpanUnsent, due)
				continue
			}
			lag.Add(uint64(x.lag / 1000))
			if x.class == record.OK {
				latency.Add(uint64(x.latency / 1000))
				if x.stalled {
					g.span(&w, record.SpanStalled, due)
				} else {
					g.open = -1
				}
				continue
			}
			g.span(&w, record.SpanFailed, due)
			if len(d.Requests) == maxSingle {
				d.Dropped++
				w.Dropped++
				continue
			}
			d.Requests = append(d.Requests, record.Request{
				Due: due, Sent: due + x.lag, Latency: x.latency, Class: x.class.String(),
				Reused: g.lane.Name == scenarios.LaneReused, Remote: "127.0.0.1:30080",
				Error: fmt.Sprintf("synthetic %s", x.class),
			})
		}
		if g.lane.Name != scenarios.LaneReused {
			w.NewConns = w.Sent()
		}
		w.Latency, w.SendLag = latency.Histogram(), lag.Histogram()
		d.Windows = append(d.Windows, w)
	}
	return d
}

// span continues the open span where it is of that kind, or begins one.
func (g *generator) span(w *record.Window, kind record.SpanKind, due int64) {
	if g.open >= 0 && w.Spans[g.open].Kind == kind {
		w.Spans[g.open].Last = due
		w.Spans[g.open].Count++
		return
	}
	if len(w.Spans) == record.MaxSpans {
		g.open = -1
		return
	}
	g.open = len(w.Spans)
	w.Spans = append(w.Spans, record.Span{Kind: kind, First: due, Last: due, Count: 1})
}

// faultsIn returns the faults that touch a second of this lane.
func (g *generator) faultsIn(s int) []Fault {
	var out []Fault
	from := time.Duration(s) * time.Second
	for _, f := range g.o.Faults {
		start := g.begin + f.Start
		if f.hits(g.lane.Name) && start < from+time.Second && start+f.Length > from {
			out = append(out, f)
		}
	}
	return out
}

// answer is the outcome of one slot; times in nanoseconds.
type answer struct {
	class        record.Class
	latency, lag int64
	stalled      bool
}

// unsentIn returns the share of a second's slots that an overloaded machine
// does not send, the same for every lane.
func (g *generator) unsentIn(f *Fault, second int64) float64 {
	rng := rand.New(rand.NewPCG(g.o.Seed, 1<<32+uint64(second)))
	if f.Share != 0 && rng.Float64() >= f.Share {
		return 0.05 * rng.Float64()
	}
	return 0.2 + 0.8*rng.Float64()
}

// lostIn returns the share of a second's requests that an overloaded machine
// loses, on this lane.
func (g *generator) lostIn(f *Fault, second int64) float64 {
	first := second*1e9 < int64(g.begin+f.Start)+1e9
	if g.unsentIn(f, second) < 0.2 && (first || g.unsentIn(f, second-1) < 0.2) {
		return 0
	}
	rng := rand.New(rand.NewPCG(g.o.Seed^uint64(len(g.lane.Name)), 2<<32+uint64(second)))
	if rng.Float64() < 0.6 {
		return 0
	}
	return 0.5 * rng.Float64()
}

func (g *generator) request(due int64, level float64, faults []Fault) answer {
	p := g.o.Profile
	body := g.rng.NormFloat64()
	ms := p.Median * level * math.Exp(p.Sigma*body)
	tail := g.rng.Float64() < p.TailShare
	if tail {
		ms *= p.TailFactor * math.Exp(p.TailSigma*g.rng.NormFloat64())
	}
	a := answer{latency: int64(ms * 1e6), lag: int64(g.rng.ExpFloat64() * 0.2e6)}
	if p.ErrorRate > 0 && g.rng.Float64() < p.ErrorRate {
		a.class = record.Reset
	}
	for i := range faults {
		f := &faults[i]
		start := int64(g.begin + f.Start)
		end := start + int64(f.Length)
		if due < start || due >= end {
			continue
		}
		switch f.Kind {
		case Fail:
			if f.Share == 0 || g.rng.Float64() < f.Share {
				a.class = f.Class
				if a.class == record.OK {
					a.class = record.Refused
				}
			}
		case Hang:
			a.latency += end - due
			a.stalled = true
		case Pause:
			a.class = record.Unsent
		case SlowBody:
			a.latency = int64(float64(a.latency) * f.Factor)
		case SlowTail:
			if tail || body > 1.2816 { // the normal distribution's 90th percentile
				a.latency = int64(float64(a.latency) * f.Factor)
			}
		case Overload:
			if float64(due%1e9)/1e9 < g.unsentIn(f, due/1e9) {
				a.class = record.Unsent
				break
			}
			a.lag += int64(g.rng.Float64() * 99e6)
			a.latency += a.lag
			if g.rng.Float64() < g.lostIn(f, due/1e9) {
				a.class = record.Reset
			}
		case Busy:
			a.latency = int64(float64(a.latency) * (1 + (f.Factor-1)*2*g.rng.Float64()))
			a.lag += int64(g.rng.ExpFloat64() * f.Factor * 1e6)
		}
	}
	return a
}
