// Package dns watches the cluster's DNS as pods on every node see it. Agents in
// the cluster resolve names each second and remember what came of it; a Poller
// collects that through the API server's proxy to pods. What the agents saw while
// the API was away is told afterwards, so that "could not ask" is never "DNS
// failed": a stretch of which no agent tells is a gap in the series.
package dns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes"
)

// Prefix begins the name of each node's series in the record: dns-NODE.
const Prefix = "dns-"

// How often the agents resolve, how long one observation may take, and how often
// the agents are asked.
const (
	Every    = time.Second
	Timeout  = 2 * time.Second
	PollEach = 2 * time.Second
)

// MaxNodes is how many nodes have a series. More are watched by nobody, and a
// finding says so: a record is read whole, and each series is a row of the report.
const MaxNodes = 50

const (
	askTimeout = 5 * time.Second // of one list, and of one agent
	atOnce     = 8               // agents asked at the same time
	maxError   = 200             // bytes of an error kept
)

// Config is what a Poller needs.
type Config struct {
	Client              kubernetes.Interface
	Namespace, Selector string // of the agents' pods
	Events              *timeline.Recorder
	Sink                probes.Sink
	// Declare puts a series into the record before its first sample.
	Declare func(record.Probe) error
	Log     *slog.Logger
}

// Poller collects what the agents saw from its start on.
type Poller struct {
	cfg   Config
	begin int64

	mu     sync.Mutex
	series map[string]*series // by node
	beyond map[string]bool    // nodes past MaxNodes
	turns  turns

	cancel   context.CancelFunc
	finished chan struct{}
}

// series is one node's. Its agent is asked by one goroutine at a time.
type series struct {
	name, node string
	declared   bool
	lost       bool
	told       bool  // an agent on the node has answered
	last       int64 // T of the last sample
	aways      []away
	lastErr    error

	// Of the agent that answered last:
	boot   string
	seq    int64
	offset int64 // add to its clock to get the timeline's
	rtt    int64 // of the answer that offset was taken from
}

// New returns a poller. From now on it hears from the timeline which node's turn
// it is.
func New(cfg Config) *Poller {
	p := &Poller{cfg: cfg, series: map[string]*series{}, beyond: map[string]bool{}, turns: turns{}}
	cfg.Events.Tap(func(e timeline.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.turns.hear(e)
	})
	return p
}

// Start begins to ask and returns at once; it goes on until Stop is called or ctx
// ends.
func (p *Poller) Start(ctx context.Context) {
	p.begin = int64(p.cfg.Events.Clock().Now())
	ctx, p.cancel = context.WithCancel(ctx)
	p.finished = make(chan struct{})
	go func() {
		defer close(p.finished)
		t := time.NewTicker(PollEach)
		defer t.Stop()
		for {
			p.poll(ctx)
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}()
}

// Stop asks once more, so that nothing is missing at the end, and returns when the
// poller has ended. It may be called once.
func (p *Poller) Stop(ctx context.Context) {
	if p.cancel == nil {
		return
	}
	p.cancel()
	<-p.finished
	p.poll(ctx)
}

// poll asks every agent once. That it could not ask is told at the next answer, by
// what is missing.
func (p *Poller) poll(ctx context.Context) {
	list, cancel := context.WithTimeout(ctx, askTimeout)
	pods, err := p.cfg.Client.CoreV1().Pods(p.cfg.Namespace).List(list, metav1.ListOptions{LabelSelector: p.cfg.Selector})
	cancel()
	if err != nil {
		p.cfg.Log.Debug("the DNS agents were not asked", "error", err)
		return
	}
	// One pod a node: the last one that runs, where one replaces another.
	byNode := map[string]*corev1.Pod{}
	for i := range pods.Items {
		if x := &pods.Items[i]; x.Status.Phase == corev1.PodRunning && x.Status.PodIP != "" {
			if y := byNode[x.Spec.NodeName]; y == nil || y.DeletionTimestamp != nil {
				byNode[x.Spec.NodeName] = x
			}
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, node := range slices.Sorted(maps.Keys(byNode)) {
		s := p.of(node)
		if s == nil || s.lost {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if s.lastErr = p.ask(ctx, s, byNode[node].Name); s.lastErr != nil {
				p.cfg.Log.Debug("a DNS agent was not heard", "node", node, "error", s.lastErr)
			}
		})
	}
	wg.Wait()
}

// of returns the node's series, nil where there are too many.
func (p *Poller) of(node string) *series {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.series[node]
	if s == nil && len(p.series) >= MaxNodes {
		p.beyond[node] = true
		return nil
	}
	if s == nil {
		s = &series{node: node, name: Prefix + node}
		p.series[node] = s
	}
	return s
}

// ask gets what the agent saw since it was heard last, and writes it down.
func (p *Poller) ask(ctx context.Context, s *series, pod string) error {
	clock := p.cfg.Events.Clock()
	for {
		before := clock.Now()
		a, err := p.get(ctx, pod, s.seq)
		if err != nil {
			return err
		}
		after := clock.Now()
		if a.Boot != s.boot {
			// Another agent than before, which counts from 1. What the old one had not
			// told is lost with it.
			asked := s.seq
			s.boot, s.seq, s.rtt = a.Boot, 0, 0
			s.closeAway()
			if asked > 0 {
				continue
			}
		}
		// The agent's clock was read between the two; the quicker the answer, the
		// better it is known when (Cristian's algorithm). The best is given up slowly,
		// so that clocks that drift are followed.
		rtt := int64(after - before)
		if s.rtt += s.rtt / 100; s.rtt == 0 || rtt <= s.rtt {
			s.rtt, s.offset = max(rtt, 1), int64(before)+rtt/2-a.Now
		}
		s.told = true
		return p.take(s, a.Results)
	}
}

func (p *Poller) get(ctx context.Context, pod string, after int64) (canary.DNSAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var a canary.DNSAnswer
	data, err := p.cfg.Client.CoreV1().Pods(p.cfg.Namespace).ProxyGet("http", pod, strconv.Itoa(canary.DefaultPort),
		strings.TrimPrefix(canary.PathDNS, "/"), map[string]string{"after": strconv.FormatInt(after, 10)}).DoRaw(ctx)
	if err != nil {
		return a, fmt.Errorf("ask pod %s/%s: %w", p.cfg.Namespace, pod, err)
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("ask pod %s/%s: its answer: %w", p.cfg.Namespace, pod, err)
	}
	if a.Boot == "" {
		return a, fmt.Errorf("ask pod %s/%s: its answer names no boot: is it an agent?", p.cfg.Namespace, pod)
	}
	return a, nil
}

// take writes what is new into the record.
func (p *Poller) take(s *series, results []canary.DNSResult) error {
	for _, r := range results {
		if r.Seq <= s.seq {
			continue
		}
		if r.Seq != s.seq+1 {
			s.closeAway() // nobody knows what was in between
		}
		s.seq = r.Seq
		x := record.ProbeSample{T: max(r.T+s.offset, s.last+1), D: max(r.D, 0), OK: r.OK, Class: r.Class, Error: cut(r.Error)}
		if x.T < p.begin {
			continue // before anybody measured, or told to an earlier process
		}
		if err := p.write(s, x); err != nil {
			s.lost = true
			p.cfg.Log.Error("probe lost", "probe", s.name, "reason", err)
			p.cfg.Events.Record(timeline.SourceProbe, timeline.KindProbeLost, "probe/"+s.name, map[string]string{"reason": err.Error()})
			return err
		}
		s.last = x.T
		s.note(x)
	}
	return nil
}

func (p *Poller) write(s *series, x record.ProbeSample) error {
	if !s.declared {
		if err := p.cfg.Declare(record.Probe{Name: s.name, IntervalNS: int64(Every), TimeoutNS: int64(Timeout)}); err != nil {
			return err
		}
		s.declared = true
	}
	if err := p.cfg.Sink.ProbeSample(s.name, x); err != nil {
		return fmt.Errorf("its samples could not be written: %w", err)
	}
	return nil
}

// note keeps the stretches in which DNS was away.
func (s *series) note(x record.ProbeSample) {
	if x.OK {
		s.closeAway()
		return
	}
	if n := len(s.aways); n == 0 || !s.aways[n-1].open {
		s.aways = append(s.aways, away{stretch: stretch{from: x.T}, open: true, err: x.Error})
	}
	s.aways[len(s.aways)-1].to = x.T + x.Held()
}

func (s *series) closeAway() {
	if n := len(s.aways); n > 0 {
		s.aways[n-1].open = false
	}
}

func cut(text string) string {
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "")
	}
	return text
}

// Findings are what is worth telling after Stop: nodes that DNS was away from for
// long, and nodes that were not watched.
func (p *Poller) Findings() []record.Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	nodes := slices.Sorted(maps.Keys(p.series))
	aways := map[string][]away{}
	for _, n := range nodes {
		aways[n] = p.series[n].aways
	}
	out := findings(nodes, aways, p.turns)
	for _, n := range nodes {
		if s := p.series[n]; !s.told {
			err := s.lastErr
			if err == nil {
				err = errors.New("it was never asked")
			}
			out = append(out, record.Finding{
				ID: "dns-unwatched", Severity: record.SeverityWarn, Object: "node/" + n,
				Cause:  "the DNS agent on the node was never heard: " + err.Error(),
				Remedy: "let the API server reach pods (kubectl get --raw /api/v1/namespaces/NAMESPACE/pods/POD:PORT/proxy/), with permission for pods/proxy",
			})
		}
	}
	if n := len(p.beyond); n > 0 {
		out = append(out, record.Finding{
			ID: "dns-unwatched", Severity: record.SeverityWarn, Object: "cluster",
			Cause:  fmt.Sprintf("DNS was watched on %d nodes, and not on %d more: %s", MaxNodes, n, strings.Join(slices.Sorted(maps.Keys(p.beyond)), ", ")),
			Remedy: "nothing is judged by it; rehearse with fewer nodes where each one's DNS matters",
		})
	}
	return out
}
