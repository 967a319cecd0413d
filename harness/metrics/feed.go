package metrics

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes/watch"
)

// Begin takes the plan of the rehearsal that begins in the run directory dir. It
// forgets the one before.
func (m *Metrics) Begin(p *harness.RunPlan, dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reset()
	s := p.Scenario
	m.gauges[runInfo].WithLabelValues(filepath.Base(dir), s.Name, s.Cluster.Driver, s.Versions.From, s.Versions.To).Set(1)
	m.gauges[runStart].WithLabelValues().Set(seconds(m.now()))
	m.gauges[runExpected].WithLabelValues().Set(p.Expected().Seconds())
	m.gauges[runSteps].WithLabelValues().Set(float64(len(p.Entries)))
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// Start implements harness.Progress.
func (m *Metrics) Start(e harness.Entry, _ int) {
	m.gauges[stepInProgress].Reset()
	m.gauges[stepInProgress].WithLabelValues(strconv.Itoa(e.Number), e.Section, e.Description).Set(1)
	m.gauges[stepStart].WithLabelValues().Set(seconds(m.now()))
	m.gauges[stepExpected].Reset()
	if e.Expected > 0 {
		m.gauges[stepExpected].WithLabelValues().Set(e.Expected.Seconds())
	}
}

// End implements harness.Progress.
func (m *Metrics) End(e harness.Entry, took time.Duration, err error, skipped bool) {
	outcome := record.OutcomePassed
	switch {
	case skipped:
		outcome = record.OutcomeSkipped
	case err != nil:
		outcome = record.OutcomeFailed
	}
	m.counters[stepsEnded].WithLabelValues(outcome).Inc()
	if skipped {
		return
	}
	for _, name := range []string{stepInProgress, stepStart, stepExpected} {
		m.gauges[name].Reset()
	}
	m.gauges[stepDuration].WithLabelValues(strconv.Itoa(e.Number), e.Section, e.Description, outcome).Set(took.Seconds())
}

// Observer returns what sees the load, the probes and the nodes.
func (m *Metrics) Observer() step.Observer {
	return step.Observer{
		Load: load.Observer{
			Window: m.window,
			Started: func(sums func() []load.Sum) {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.sums = sums
			},
		},
		Sample: m.sample,
		Nodes: func(nodes func() []watch.Node) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.nodes = nodes
		},
	}
}

// window counts a second of a lane. It is in the phase that was under way when
// the second began.
func (m *Metrics) window(lane record.Lane, w *record.Window) {
	phase := m.phaseAt(w.Second * int64(time.Second))
	for c, n := range w.Counts {
		switch class := record.Class(c); {
		case n == 0:
		case class == record.Unsent:
			m.counters[requestsUnsent].WithLabelValues(lane.Name, phase).Add(float64(n))
		default:
			m.counters[requests].WithLabelValues(lane.Name, phase, class.String()).Add(float64(n))
		}
	}
	m.counters[connections].WithLabelValues(lane.Name, phase).Add(float64(w.NewConns))
	m.hists[latency].add(&w.Latency, lane.Name, phase)
	m.hists[sendLag].add(&w.SendLag, lane.Name, phase)
}

func (m *Metrics) phaseAt(ns int64) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range slices.Backward(m.phases) {
		if p.at <= ns {
			return p.name
		}
	}
	if len(m.phases) > 0 {
		return m.phases[0].name
	}
	return ""
}

func (m *Metrics) sample(probe string, s record.ProbeSample) {
	outcome, up := record.OK.String(), 1.0
	if !s.OK {
		outcome, up = s.Class, 0
	}
	m.counters[observations].WithLabelValues(probe, outcome).Inc()
	m.gauges[probeUp].WithLabelValues(probe).Set(up)
}

// Event takes an event of the timeline; it is what Options.Events of a run wants.
func (m *Metrics) Event(e timeline.Event) {
	m.counters[events].WithLabelValues(e.Source, e.Kind).Inc()
	kind, subject, _ := strings.Cut(e.Subject, "/")
	switch e.Kind {
	case timeline.KindPhase:
		m.mu.Lock()
		m.phases = append(m.phases, phaseStart{e.T, subject})
		m.mu.Unlock()
		m.gauges[phaseNow].WithLabelValues(subject).Set(1)
	case timeline.KindPhaseEnd:
		m.gauges[phaseNow].WithLabelValues(subject).Set(0)
	case timeline.KindLaneLost:
		m.counters[lanesLost].WithLabelValues(subject).Inc()
	case timeline.KindDrainStalled, timeline.KindDrainResumed, timeline.KindDrainEnd:
		if kind == "node" {
			m.stall(e, subject)
		}
	}
}

// stall keeps which pods hold the drain of a node up. A pod whose cause changes
// is stalled once more, and is one pod still.
func (m *Metrics) stall(e timeline.Event, node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Kind {
	case timeline.KindDrainStalled:
		m.counters[drainStalls].WithLabelValues(node, e.Detail["cause"]).Inc()
		if m.stalls[node] == nil {
			m.stalls[node] = map[string]bool{}
		}
		m.stalls[node][e.Detail["pod"]] = true
	case timeline.KindDrainResumed:
		delete(m.stalls[node], e.Detail["pod"])
	case timeline.KindDrainEnd:
		delete(m.stalls, node)
	}
	m.gauges[stalledPods].WithLabelValues(node).Set(float64(len(m.stalls[node])))
}

// Verdict takes the verdict.
func (m *Metrics) Verdict(v judge.Verdict) {
	for _, c := range v.Criteria {
		m.gauges[criterionResult].WithLabelValues(c.ID, string(c.Result)).Set(1)
	}
	for _, o := range []judge.Outcome{judge.Go, judge.NoGo, judge.Inconclusive} {
		is := 0.0
		if o == v.Outcome {
			is = 1
		}
		m.gauges[verdict].WithLabelValues(string(o)).Set(is)
	}
}
