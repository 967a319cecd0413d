// Package metrics shows a rehearsal to Prometheus while it runs: what is sent and
// what becomes of it, what the probes observe, where the plan and the nodes stand,
// and at the end the verdict.
//
// Nothing here is judged, and nothing judges by it: the record is the evidence,
// and these are its figures as they come. docs/guides/watching.md lists every
// metric.
package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/probes/watch"
)

// Build says what is running.
type Build struct {
	Version  string // of rehearse
	Revision string // of its source, empty where it is not known
	Go       string // version of Go
}

// Metrics are those of one process, which carries out one rehearsal at a time.
// All methods are safe for concurrent use; none blocks.
type Metrics struct {
	registry *prometheus.Registry
	counters map[string]*prometheus.CounterVec
	gauges   map[string]*prometheus.GaugeVec
	hists    map[string]*histograms

	mu     sync.Mutex // guards what follows
	phases []phaseStart
	stalls map[string]map[string]bool // of each node, the pods that hold its drain up
	sums   func() []load.Sum
	nodes  func() []watch.Node
	now    func() time.Time
}

// phaseStart is where a phase begins, in nanoseconds from the run's start.
type phaseStart struct {
	at   int64
	name string
}

// New returns metrics of a process that has no rehearsal yet.
func New(b Build) *Metrics {
	m := &Metrics{
		registry: prometheus.NewPedanticRegistry(),
		counters: map[string]*prometheus.CounterVec{}, gauges: map[string]*prometheus.GaugeVec{}, hists: map[string]*histograms{},
		stalls: map[string]map[string]bool{}, now: time.Now,
	}
	for _, d := range definitions {
		switch d.kind {
		case counter:
			m.counters[d.name] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.name, Help: d.help}, d.labels)
			m.registry.MustRegister(m.counters[d.name])
		case gauge:
			m.gauges[d.name] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: d.name, Help: d.help}, d.labels)
			m.registry.MustRegister(m.gauges[d.name])
		case histogram:
			m.hists[d.name] = newHistograms(d)
			m.registry.MustRegister(m.hists[d.name])
		}
	}
	m.registry.MustRegister(pulled{m}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauges[buildInfo].WithLabelValues(b.Version, b.Revision, b.Go).Set(1)
	return m
}

// Handler answers scrapes, in the text formats and, for native histograms, in
// protobuf.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// reset forgets the rehearsal before. The caller holds m.mu.
func (m *Metrics) reset() {
	for _, c := range m.counters {
		c.Reset()
	}
	for name, g := range m.gauges {
		if name != buildInfo {
			g.Reset()
		}
	}
	for _, h := range m.hists {
		h.reset()
	}
	m.phases, m.stalls, m.sums, m.nodes = nil, map[string]map[string]bool{}, nil, nil
}

// pulled collects what is asked for at each scrape.
type pulled struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (p pulled) Describe(out chan<- *prometheus.Desc) {
	for _, d := range definitions {
		if d.kind == pulledGauge {
			out <- d.desc()
		}
	}
}

// Collect implements prometheus.Collector.
func (p pulled) Collect(out chan<- prometheus.Metric) {
	p.m.mu.Lock()
	sums, nodes := p.m.sums, p.m.nodes
	p.m.mu.Unlock()
	send := func(name string, value int, labels ...string) {
		out <- prometheus.MustNewConstMetric(find(name).desc(), prometheus.GaugeValue, float64(value), labels...)
	}
	if sums != nil {
		for _, s := range sums() {
			send(inFlight, int(s.Open), s.Lane)
		}
	}
	if nodes == nil {
		return
	}
	type group struct{ version, role, ready string }
	count, cordoned := map[group]int{}, 0
	for _, n := range nodes() {
		g := group{n.Version, "worker", "false"}
		if n.ControlPlane {
			g.role = "control-plane"
		}
		if n.Ready {
			g.ready = "true"
		}
		count[g]++
		if n.Cordoned {
			cordoned++
		}
	}
	for g, n := range count {
		send(nodesNow, n, g.version, g.role, g.ready)
	}
	send(nodesCordoned, cordoned)
}
