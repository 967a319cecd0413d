//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	engine "github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/load/agentjob"
	"github.com/kube-rehearse/rehearse/harness/load/fleet"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// agentsTarget is the canary's Service as pods of its cluster reach it.
const agentsTarget = "http://canary.rehearse.svc.cluster.local/"

// TestAgents sends load by three pods of a real cluster of one node.
func TestAgents(t *testing.T) {
	d, s := driver(t, "agn001")
	s.Workers = 0
	ctx := cluster.WithLog(t.Context(), nil, t.Output())
	c, err := d.Create(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	c.Spec = s
	image, err := d.CanaryImage(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	cfg := deploy.Config{Image: image, Replicas: 1, ShutdownDelay: time.Second, GracePeriod: time.Second}
	if err := deploy.Deploy(ctx, c.Client, cfg); err != nil {
		t.Fatal(err)
	}
	if err := deploy.WaitReady(ctx, c.Client, cfg, 3*time.Minute); err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, c.Kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	b := &agentsBed{cluster: c, image: image, kubeconfig: kubeconfig}
	t.Run("what is merged is what one engine would have recorded", b.merged)
	t.Run("a pod that is killed is named, and there is no verdict", b.killed)
	t.Run("an address that does not answer is told before the load", b.unreachable)
}

type agentsBed struct {
	cluster           *cluster.Cluster
	image, kubeconfig string
}

// tap hears what an agent tells, each entry once.
type tap struct {
	fleet.Conn
	mu      sync.Mutex
	seen    int64
	seconds map[int][]*engine.Second // by lane
	bytes   int
}

func (c *tap) Do(ctx context.Context, method, path, query string, body []byte) ([]byte, error) {
	got, err := c.Conn.Do(ctx, method, path, query, body)
	if err != nil || path != agent.PathTold {
		return got, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var after int64
	if _, err := fmt.Sscanf(query, "after=%d", &after); err != nil {
		return nil, err
	}
	_, _, rest, err := agent.ReadEntry(got)
	for seq := after + 1; err == nil && len(rest) > 0; seq++ {
		var kind byte
		var payload []byte
		before := len(rest)
		if kind, payload, rest, err = agent.ReadEntry(rest); err != nil || seq <= c.seen {
			continue
		}
		c.seen = seq
		if kind == agent.KindSecond {
			lane, s, err := agent.ReadSecond(payload)
			if err != nil {
				return nil, err
			}
			c.bytes += before - len(rest)
			c.seconds[lane] = append(c.seconds[lane], s)
		}
	}
	return got, nil
}

func (b *agentsBed) merged(t *testing.T) {
	ctx := t.Context()
	in, err := agentjob.Connect(b.kubeconfig, "")
	if err != nil {
		t.Fatal(err)
	}
	job := agentjob.Config{RunID: "merged", Agents: 3, Image: b.image, Rate: 450}
	if findings, err := agentjob.Preflight(ctx, in, job.RunID); err != nil || len(findings) > 0 {
		t.Fatalf("%v, %v", findings, err)
	}
	t.Cleanup(func() { _ = agentjob.Remove(context.Background(), in, job.RunID) })
	token, err := agentjob.Create(ctx, in, job)
	if err != nil {
		t.Fatal(err)
	}
	agents, err := agentjob.Wait(ctx, in, job, token, 3*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var taps []*tap
	for i := range agents {
		taps = append(taps, &tap{Conn: agents[i].Conn, seconds: map[int][]*engine.Second{}})
		agents[i].Conn = taps[i]
	}
	lane := func(name string, kind engine.Kind) engine.Lane {
		return engine.Lane{Name: name, Kind: kind, Target: agentsTarget, Rate: 150, Timeout: 5 * time.Second, Canary: true}
	}
	lanes := []engine.Lane{lane("new", engine.New), lane("reused", engine.Reused), lane("control", engine.New)}
	lanes[2].Control, lanes[2].Target = true, agent.TwinURL

	path := filepath.Join(evidence, "agents-merged")
	run := record.Run{ID: "merged", Name: "agents", Started: time.Now(), Outcome: record.OutcomePassed}
	for _, l := range lanes {
		run.Lanes = append(run.Lanes, l.Record())
	}
	for _, a := range agents {
		run.Agents = append(run.Agents, record.Agent{Name: a.Name, Node: a.Node})
	}
	dir, err := record.Create(path, run)
	if err != nil {
		t.Fatal(err)
	}
	events, err := dir.Timeline()
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.Ready(ctx, fleet.Config{
		Agents: agents, Lanes: lanes, Twin: agent.Twin{BodyBytes: 1024}, Log: slog.Default(),
		Timeline: timeline.NewRecorder(timeline.NewClock(time.Now()), events), Open: engine.ToDir(dir),
		OpenPart: func(l record.Lane, k int) (engine.LaneSink, error) { return dir.Part(l, k) },
	}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	running, err := f.Start(ctx, timeline.PhaseMeasured)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Second)
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := dir.Seal(); err != nil {
		t.Fatal(err)
	}
	rec, err := record.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range rec.Events {
		if e.Source == timeline.SourceLoad {
			t.Logf("%s %s %v", e.Kind, e.Subject, e.Detail)
		}
	}
	at := time.Duration(rec.Events[indexOf(t, rec.Events, timeline.KindAgentStart)].T)
	for i, l := range rec.Lanes {
		b.compare(t, l, lanes, i, at, taps)
	}
}

func indexOf(t *testing.T, events []timeline.Event, kind string) int {
	t.Helper()
	for i, e := range events {
		if e.Kind == kind {
			return i
		}
	}
	t.Fatalf("no event %s", kind)
	return 0
}

// windows is a sink that keeps them.
type windows struct{ all []record.Window }

func (w *windows) WriteWindow(x *record.Window) error { w.all = append(w.all, *x); return nil }
func (w *windows) WriteRequest(*record.Request) error { return nil }
func (w *windows) Close() error                       { return nil }

// compare holds a lane of the record against its agents' parts, against the samples
// that went over the wire, and against what one engine makes of the same samples.
func (b *agentsBed) compare(t *testing.T, got record.LaneData, lanes []engine.Lane, index int, at time.Duration, taps []*tap) {
	t.Helper()
	name := got.Lane.Name
	var merged, parts record.Window
	for i := range got.Windows {
		w := &got.Windows[i]
		for c, n := range w.Counts {
			merged.Counts[c] += n
		}
		merged.Latency.Merge(&w.Latency)
		merged.SendLag.Merge(&w.SendLag)
	}
	for _, p := range got.Parts {
		for c, n := range p.Sum.Counts {
			parts.Counts[c] += n
		}
		parts.Latency.Merge(&p.Sum.Latency)
		parts.SendLag.Merge(&p.Sum.SendLag)
	}
	if merged.Counts != parts.Counts || !merged.Latency.Equal(&parts.Latency) || !merged.SendLag.Equal(&parts.SendLag) {
		t.Errorf("lane %s: merged %v %v, the agents' sum %v %v", name, merged.Counts, &merged.Latency, parts.Counts, &parts.Latency)
	}

	// The samples themselves, in the order of the whole schedule.
	var samples record.Histogram
	var slots []engine.Slot
	var due int64
	bytes := 0
	next := make([]int, len(taps))
	flat := make([][]engine.Slot, len(taps))
	for k, c := range taps {
		bytes += c.bytes
		for _, s := range c.seconds[index] {
			flat[k] = append(flat[k], s.Slots...)
		}
	}
	for k := 0; next[k] < len(flat[k]); k = (k + 1) % len(taps) {
		slots = append(slots, flat[k][next[k]])
		next[k]++
	}
	for k := range flat {
		for _, s := range flat[k] {
			due++
			if s.Class == record.OK {
				samples.Add(uint64(s.Latency))
			}
		}
	}
	if uint64(due) != merged.Due() {
		t.Errorf("lane %s: %d slots went over the wire, %d are recorded", name, due, merged.Due())
	}
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		if merged.Latency.Quantile(q) != samples.Quantile(q) {
			t.Errorf("lane %s: p%g is %d µs, of the samples %d µs", name, 100*q, merged.Latency.Quantile(q), samples.Quantile(q))
		}
	}

	// One engine with the same samples: as far as no agent had ended.
	one := &windows{}
	all, err := engine.Merge(engine.MergeConfig{
		Lanes: lanes, At: at, Engines: []string{"one"},
		Open:     func(record.Lane) (engine.LaneSink, error) { return one, nil },
		OpenPart: func(record.Lane, int) (engine.LaneSink, error) { return &windows{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	origin := int64(at) + int64(float64(index)/float64(len(lanes))*1e9/got.Lane.Rate)
	var seconds []*engine.Second
	for i, s := range slots {
		second := (origin + int64(float64(i)*1e9/got.Lane.Rate+0.5)) / 1e9
		if len(seconds) == 0 || seconds[len(seconds)-1].Second != second {
			seconds = append(seconds, &engine.Second{Second: second, First: int64(i)})
		}
		seconds[len(seconds)-1].Slots = append(seconds[len(seconds)-1].Slots, s)
	}
	for _, s := range seconds[:len(seconds)-2] {
		if err := all[index].Add(0, s); err != nil {
			t.Fatal(err)
		}
	}
	_ = all[index].Leave(0)
	same := 0
	for i := range one.all {
		a, w := &got.Windows[i], &one.all[i]
		if a.Second != w.Second || a.Counts != w.Counts || a.NewConns != w.NewConns || !a.Latency.Equal(&w.Latency) || !a.SendLag.Equal(&w.SendLag) || fmt.Sprint(a.Spans) != fmt.Sprint(w.Spans) {
			t.Errorf("lane %s, second %d: %v %v %v; one engine %v %v %v", name, w.Second, a.Counts, &a.Latency, a.Spans, w.Counts, &w.Latency, w.Spans)
			continue
		}
		same++
	}
	if same < 20 {
		t.Errorf("lane %s: only %d seconds could be compared", name, same)
	}
	t.Logf("lane %s: %d slots, %d served, latency µs %v, send lag µs %v; %d seconds are what one engine makes of them; %.1f bytes a slot on the wire",
		name, merged.Due(), merged.Counts[record.OK], &merged.Latency, &merged.SendLag, same, float64(bytes)/float64(3*due))
}

// env is what the steps of a rehearsal share, writing to a record.
func (b *agentsBed) env(t *testing.T, name, target string) (*step.Env, string) {
	t.Helper()
	path := filepath.Join(evidence, "agents-"+name)
	run := &record.Run{ID: name, Name: "agents", Started: time.Now(), Outcome: record.OutcomeRunning}
	dir, err := record.Create(path, *run)
	if err != nil {
		t.Fatal(err)
	}
	events, err := dir.Timeline()
	if err != nil {
		t.Fatal(err)
	}
	env := &step.Env{
		Cluster: b.cluster, Spec: cluster.Spec{RunID: name}, Canary: cluster.Endpoint{URL: target}, Log: slog.Default(), Dir: dir, Run: run, Cleanup: &cleanup.Stack{},
		Timeline: timeline.NewRecorder(timeline.NewClock(run.Started), events),
	}
	t.Cleanup(func() { _ = env.Cleanup.Run(context.Background(), 2*time.Minute) })
	return env, path
}

func (b *agentsBed) steps(name string) (in step.AgentsCluster, agents step.LoadAgents, start step.StartLoad) {
	in = step.AgentsCluster{Kubeconfig: b.kubeconfig}
	agents = step.LoadAgents{In: in, Count: 3, Image: b.image, Rate: 180, InTarget: true}
	start = step.StartLoad{
		Lanes: []string{"new", "reused"}, Control: scenarios.LaneControl, Rate: 60, Timeout: 3 * time.Second, Warmup: 3 * time.Second,
		Agents: 3, Twin: agent.Twin{BodyBytes: 1024},
	}
	return in, agents, start
}
