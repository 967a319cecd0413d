package onsim

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// moment is a point of the rehearsal that a fault waits for.
type moment int

const (
	upgradeBegins moment = iota
	settleBegins         // all nodes are done
	nodeSwapped          // the kubelet of the worker that was chosen is replaced
	moments
)

// stage is what a fault knows of the rehearsal that it is planted in, and what
// it did there. It hears of the plan's steps as their Progress.
type stage struct {
	reached [moments]atomic.Int64 // Unix nanoseconds, 0 before

	mu      sync.Mutex
	windows []*window
	object  string
	onBegin func() // called when the upgrade begins
}

var _ harness.Progress = (*stage)(nil)

func (s *stage) at(m moment) { s.reached[m].CompareAndSwap(0, time.Now().UnixNano()) }

// Start implements harness.Progress.
func (s *stage) Start(e harness.Entry, _ int) {
	if e.Section == harness.SectionUpgrade && s.reached[upgradeBegins].Load() == 0 {
		s.at(upgradeBegins)
		if s.onBegin != nil {
			s.onBegin()
		}
	}
	if h, ok := e.Step.(step.Hold); ok && h.Phase == timeline.PhaseSettle {
		s.at(settleBegins)
	}
}

// End implements harness.Progress.
func (s *stage) End(harness.Entry, time.Duration, error, bool) {}

// window is a stretch in which a fault is there. It notes when it was really
// asked and said so.
type window struct {
	stage       *stage
	from        moment
	after, for_ time.Duration
	first, end  atomic.Int64
}

// during makes a window that begins some time after a moment. Without a length
// it lasts until the end.
func (s *stage) during(m moment, after, length time.Duration) *window {
	w := &window{stage: s, from: m, after: after, for_: length}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windows = append(s.windows, w)
	return w
}

func (w *window) on() bool {
	begun := w.stage.reached[w.from].Load()
	if begun == 0 {
		return false
	}
	now := time.Now().UnixNano()
	since := time.Duration(now - begun)
	switch {
	case since < w.after:
		return false
	case w.for_ == 0 || since < w.after+w.for_:
		w.first.CompareAndSwap(0, now)
		return true
	}
	if w.first.Load() != 0 {
		w.end.CompareAndSwap(0, now)
	}
	return false
}

// node is on for one node, by the end of its name: "-worker".
func (w *window) node(suffix string) func(string) bool {
	return func(node string) bool {
		if !strings.HasSuffix(node, suffix) {
			return false
		}
		w.stage.hit("node/" + node)
		return w.on()
	}
}

func (s *stage) hit(object string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.object = object
}

// planted says when the fault was there.
func (s *stage) planted() prove.Planted {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := prove.Planted{Object: s.object}
	for _, w := range s.windows {
		if t := w.first.Load(); t != 0 {
			p.From = time.Unix(0, t)
		}
		if t := w.end.Load(); t != 0 {
			p.To = time.Unix(0, t)
		}
	}
	return p
}

// driver is the simulation, with an ear for when its nodes are replaced.
type driver struct {
	*sim.Driver
	stage *stage
	dies  string
}

// Create implements cluster.Driver. It plants what kills a probe in the
// configuration by which probes reach the API: in a real run that is a defect
// of the probe's own code.
func (d *driver) Create(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	c, err := d.Driver.Create(ctx, s)
	if err != nil || d.dies == "" {
		return c, err
	}
	w := d.stage.during(upgradeBegins, 5*time.Second, 0)
	for i := range c.APIServers {
		if a := &c.APIServers[i]; a.Name == d.dies {
			a.Config = rest.CopyConfig(a.Config)
			a.Config.WrapTransport = func(rt http.RoundTripper) http.RoundTripper { return deadly{rt, w} }
			return c, nil
		}
	}
	return c, errors.New("no API server is called " + d.dies)
}

// UpgradeNode implements cluster.NodeUpgrader.
func (d *driver) UpgradeNode(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version) error {
	if strings.HasSuffix(node, chosen) {
		d.stage.at(nodeSwapped)
	}
	return d.Driver.UpgradeNode(ctx, c, node, to)
}

// deadly panics in the probe's own goroutine.
type deadly struct {
	http.RoundTripper
	w *window
}

// RoundTrip implements http.RoundTripper.
func (d deadly) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.w.on() {
		panic("planted: this probe dies")
	}
	return d.RoundTripper.RoundTrip(r)
}
