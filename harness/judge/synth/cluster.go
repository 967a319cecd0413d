package synth

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// epoch is when every synthetic run began.
var epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

// frame returns everything of a record but its lanes' data.
func frame(o Options) *record.Record {
	s := o.Scenario()
	doc, err := json.Marshal(s)
	if err != nil {
		doc = []byte("{}") // a scenario of plain values always marshals
	}
	sum := sha256.Sum256(doc)
	total := o.Warmup + o.Baseline + o.Upgrade + o.Settle
	r := &record.Record{Complete: true, Run: record.Run{
		Format: record.FormatVersion, ID: fmt.Sprintf("synthetic-%d", o.Seed), Name: s.Name, Tool: "test",
		Command: "rehearse run", Scenario: doc, ScenarioSHA256: hex.EncodeToString(sum[:]),
		Driver: s.Cluster.Driver, Simulated: true, Started: epoch, Ended: epoch.Add(total),
		Versions: record.Versions{From: o.From, To: o.To, Before: o.From, After: o.To},
		Host:     record.Host{OS: "linux", Arch: "amd64", CPUs: 2},
		Outcome:  record.OutcomePassed,
	}}
	for _, name := range append(slices.Clone(o.Lanes), scenarios.LaneControl) {
		target := "http://127.0.0.1:30080/"
		if name == scenarios.LaneControl {
			target = "http://127.0.0.1:30081/"
		}
		rate := o.Rate
		if name == scenarios.LaneStream {
			rate = min(rate, scenarios.StreamRate)
		}
		r.Run.Lanes = append(r.Run.Lanes, record.Lane{Name: name, Target: target, Rate: rate, TimeoutNS: int64(5 * time.Second), Control: name == scenarios.LaneControl})
	}
	r.Events = events(o)
	r.Run.Steps = steps(o)
	begin := int64(o.Warmup + o.Baseline)
	for i, name := range []string{"api-new", "api-reused"} {
		p := record.Probe{Name: name, IntervalNS: int64(250 * time.Millisecond), TimeoutNS: int64(time.Second)}
		r.Run.Probes = append(r.Run.Probes, p)
		rng := rand.New(rand.NewPCG(o.Seed, 100+uint64(i)))
		d := record.ProbeData{Probe: p}
		for t := int64(o.Warmup); t < int64(total); t += p.IntervalNS {
			d.Samples = append(d.Samples, record.ProbeSample{T: t, D: int64(2e6 + 1e6*rng.ExpFloat64()), OK: true})
		}
		r.Probes = append(r.Probes, d)
	}
	r.Before = Snapshot(o, begin, o.From)
	r.After = Snapshot(o, int64(total), o.To)
	return r
}

// nodes returns the names of the cluster's nodes, control planes first.
func nodes(o Options) (control, workers []string) {
	for i := range o.ControlPlanes {
		control = append(control, fmt.Sprintf("cp-%d", i+1))
	}
	for i := range o.Workers {
		workers = append(workers, fmt.Sprintf("worker-%d", i+1))
	}
	return control, workers
}

// steps returns a plan that was carried out: one step a node in the upgrade.
func steps(o Options) []record.Step {
	var out []record.Step
	add := func(section, what string, start, end time.Duration) {
		out = append(out, record.Step{
			Number: len(out) + 1, Section: section, Description: what,
			StartNS: int64(start), EndNS: int64(end), Outcome: record.OutcomePassed,
		})
	}
	begin := o.Warmup + o.Baseline
	add("prepare", "Create the cluster at "+o.From, 0, 0)
	add("measure", "Record the baseline", 0, begin)
	control, workers := nodes(o)
	all := append(slices.Clone(control), workers...)
	each := o.Upgrade / time.Duration(len(all))
	for i, n := range all {
		add("upgrade", "Upgrade node "+n+" to "+o.To, begin+time.Duration(i)*each, begin+time.Duration(i+1)*each)
	}
	add("measure", "Settle", begin+o.Upgrade, begin+o.Upgrade+o.Settle)
	return out
}

// events returns the phases, and an upgrade spread evenly over its phase.
func events(o Options) []timeline.Event {
	var out []timeline.Event
	add := func(t time.Duration, source, kind, subject string, detail map[string]string) {
		out = append(out, timeline.Event{T: int64(t), Source: source, Kind: kind, Subject: subject, Detail: detail})
	}
	at, begin := time.Duration(0), time.Duration(0)
	for _, p := range []struct {
		name string
		d    time.Duration
	}{{timeline.PhaseWarmup, o.Warmup}, {timeline.PhaseBaseline, o.Baseline}, {timeline.PhaseUpgrade, o.Upgrade}, {timeline.PhaseSettle, o.Settle}} {
		add(at, timeline.SourceRun, timeline.KindPhase, "phase/"+p.name, nil)
		if p.name == timeline.PhaseUpgrade {
			begin = at
		}
		at += p.d
		add(at, timeline.SourceRun, timeline.KindPhaseEnd, "phase/"+p.name, nil)
	}
	control, workers := nodes(o)
	all := append(slices.Clone(control), workers...)
	each := o.Upgrade / time.Duration(len(all)+1)
	for i, name := range all {
		t, node := begin+each/2+time.Duration(i)*each, "node/"+name
		if i >= len(control) {
			pod := fmt.Sprintf("pod/rehearse/canary-%d", i)
			add(t, timeline.SourceStep, timeline.KindCordon, node, nil)
			add(t+200*time.Millisecond, timeline.SourceStep, timeline.KindDrainStart, node, nil)
			add(t+300*time.Millisecond, timeline.SourceStep, timeline.KindEvict, pod, map[string]string{"node": name})
			add(t+350*time.Millisecond, timeline.SourceKube, timeline.KindPodTerminating, pod, map[string]string{"node": name})
			add(t+500*time.Millisecond, timeline.SourceKube, timeline.KindEndpointRemoved, pod, nil)
			add(t+each/4, timeline.SourceStep, timeline.KindDrainEnd, node, nil)
		}
		add(t+each/3, timeline.SourceStep, timeline.KindUpgradeStart, node, map[string]string{"to": o.To})
		if i < len(control) {
			for _, c := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
				add(t+each/3+time.Millisecond, timeline.SourceKube, timeline.KindPodVersion, "pod/kube-system/"+c+"-"+name,
					map[string]string{"container": c, "node": name, "from": o.From, "to": o.To})
			}
		}
		add(t+each/2, timeline.SourceStep, timeline.KindUpgradeEnd, node, map[string]string{"to": o.To})
		add(t+each/2+time.Second, timeline.SourceKube, timeline.KindNodeVersion, node, map[string]string{"component": "kubelet", "from": o.From, "to": o.To})
		if i >= len(control) {
			add(t+each/2+2*time.Second, timeline.SourceStep, timeline.KindUncordon, node, nil)
		}
	}
	slices.SortStableFunc(out, func(a, b timeline.Event) int { return cmp.Compare(a.T, b.T) })
	return out
}

// Snapshot returns a healthy cluster at a version, observed at t, in nanoseconds
// from the run's start.
func Snapshot(o Options, t int64, version string) *record.Snapshot {
	o = o.withDefaults()
	control, workers := nodes(o)
	all := append(slices.Clone(control), workers...)
	s := &record.Snapshot{
		T: t, ServerVersion: version, Network: scenarios.NetworkFlannel,
		DNSLookup:   record.Named{Name: "kubernetes.default.svc.cluster.local", OK: true},
		APIServices: []record.Named{{Name: "v1.", OK: true}, {Name: "v1.apps", OK: true}},
	}
	for i, n := range all {
		s.Nodes = append(s.Nodes, record.Node{Name: n, ControlPlane: i < len(control), KubeletVersion: version, Ready: true, Runtime: "containerd://2.1.4"})
	}
	pods := func(name, kind, version string, on []string) {
		c := record.Component{Name: name, Kind: kind, Desired: len(on), Ready: len(on), Present: true}
		for _, n := range on {
			c.Instances = append(c.Instances, record.PodState{Pod: "kube-system/" + name + "-" + n, Node: n, Version: version, Phase: "Running", Ready: true})
			if name == "etcd" {
				c.Members = append(c.Members, record.Named{Name: n, OK: true})
			}
		}
		s.Components = append(s.Components, c)
	}
	pods("kube-flannel", "DaemonSet", "v0.27.0", all)
	pods("coredns", "Deployment", "v1.12.1", workers[:min(2, len(workers))])
	pods("kube-proxy", "DaemonSet", version, all)
	pods("kube-apiserver", "Static", version, control)
	pods("kube-controller-manager", "Static", version, control)
	pods("kube-scheduler", "Static", version, control)
	pods("etcd", "Static", "3.6.5-0", control)
	return s
}
