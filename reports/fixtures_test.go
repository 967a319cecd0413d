package reports

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// fixture is one record with the verdict that goes with it. The verdicts are
// written by hand: what is tested here is how they are shown.
type fixture struct {
	name    string
	record  *record.Record
	verdict judge.Verdict
}

func fixtures() []fixture {
	return []fixture{
		{"go", loaded(goRecord()), goVerdict()},
		{"no-go", loaded(noGoRecord(), trouble{"new", 246, 251, record.Refused, 1}, trouble{"new", 251, 252, record.HTTP5xx, 0.21}), noGoVerdict()},
		{"inconclusive", loaded(goRecord(), trouble{"new", 300, 302, record.Unsent, 1}, trouble{"reused", 300, 302, record.Unsent, 1}, trouble{"control", 300, 302, record.Unsent, 1}), inconclusiveVerdict()},
		{"agents", agentsRecord(), agentsVerdict()},
		{"aborted", abortedRecord(), abortedVerdict()},
		{"recorded", recordedRecord(), recordedVerdict()},
		{"hostile", hostileRecord(), hostileVerdict()},
	}
}

const second = int64(time.Second)

func p[T any](x T) *T { return &x }

// goRecord is a quickstart on kind: one control plane and two workers.
func goRecord() *record.Record {
	start := time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)
	scenario := `{"name":"quickstart","cluster":{"driver":"kind","controlPlanes":1,"workers":2,"network":"flannel"},"versions":{"from":"v1.34.4","to":"v1.35.4"}}`
	r := &record.Record{Run: record.Run{
		Format: 1, ID: "rehearse-4f2c91", Name: "quickstart", Tool: "v0.1.0", Command: "rehearse run -f scenarios.yaml",
		Scenario: json.RawMessage(scenario), ScenarioSHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		Driver: "kind", Started: start, Ended: start.Add(620 * time.Second),
		Versions: record.Versions{From: "v1.34.4", To: "v1.35.4", Before: "v1.34.4", After: "v1.35.4"},
		Host:     record.Host{OS: "linux", Arch: "amd64", Kernel: "6.1.0", CPUs: 2, MemoryBytes: 24 << 30, Pressure: p(0.031)},
		Lanes: []record.Lane{
			{Name: "new", Target: "http://127.0.0.1:30080/", Rate: 100, TimeoutNS: 5 * second},
			{Name: "reused", Target: "http://127.0.0.1:30080/", Rate: 100, TimeoutNS: 5 * second},
			{Name: "control", Target: "http://127.0.0.1:30081/", Rate: 100, TimeoutNS: 5 * second, Control: true},
		},
		Probes: []record.Probe{
			{Name: "api-new", IntervalNS: second / 4, TimeoutNS: second}, {Name: "api-reused", IntervalNS: second / 4, TimeoutNS: second},
			{Name: "dns-quickstart-control-plane", IntervalNS: second, TimeoutNS: 2 * second}, {Name: "dns-quickstart-worker", IntervalNS: second, TimeoutNS: 2 * second},
		},
		Steps:   steps(),
		Outcome: record.OutcomePassed,
		Findings: []record.Finding{
			{ID: "single-control-plane", Severity: "info", Object: "cluster", Cause: "The cluster has one control plane: its API goes away while it is upgraded.", Remedy: "Expect it, or rehearse with three control planes as production has."},
			{ID: "event-repeated", Severity: "warn", Object: "pod/kube-system/coredns-5d78c9869d-abcde", Cause: "The event Unhealthy occurred 24 times during the upgrade.", Remedy: "Look at the readiness probe's timeout."},
		},
	}}
	r.Before, r.After = snapshot("v1.34.4", 62), snapshot("v1.35.4", 560)
	r.Events = upgradeEvents()
	return r
}

// loaded gives a record of the quickstart its load.
func loaded(r *record.Record, troubles ...trouble) *record.Record {
	return withLoad(r, 40, 550, troubles...)
}

func steps() []record.Step {
	descriptions := []string{
		"Check the machine and the scenario",
		"Create a kind cluster at v1.34.4: 1 control plane, 2 workers, flannel",
		"Deploy the canary: 3 replicas with a disruption budget",
		"Record the baseline on lanes new, reused and control for 60s",
		"Upgrade the control plane quickstart-control-plane to v1.35.4",
		"Upgrade the worker quickstart-worker to v1.35.4",
		"Upgrade the worker quickstart-worker2 to v1.35.4",
		"Check 7 system components and the version of every node",
		"Delete the cluster",
	}
	var out []record.Step
	t := int64(0)
	for i, d := range descriptions {
		took := int64(7+i*13) * second
		section := []string{"prepare", "prepare", "prepare", "measure", "upgrade", "upgrade", "upgrade", "judge", "prepare"}[i]
		out = append(out, record.Step{Number: i + 1, Section: section, Description: d, StartNS: t, EndNS: t + took, Outcome: record.OutcomePassed})
		t += took
	}
	return out
}

func snapshot(version string, at int64) *record.Snapshot {
	s := &record.Snapshot{T: at * second, ServerVersion: version, Network: "flannel", DNSLookup: record.Named{Name: "kubernetes.default", OK: true}}
	for i, n := range []string{"quickstart-control-plane", "quickstart-worker", "quickstart-worker2"} {
		s.Nodes = append(s.Nodes, record.Node{
			Name: n, ControlPlane: i == 0, KubeletVersion: version, KubeProxyVersion: version,
			Runtime: "containerd://2.2.0", OSImage: "Debian GNU/Linux 12", Ready: true,
		})
	}
	for _, c := range []struct {
		name, kind, version string
		n                   int
	}{
		{"kube-flannel", "DaemonSet", "v0.27.4", 3}, {"coredns", "Deployment", "v1.12.1", 2}, {"kube-proxy", "DaemonSet", version, 3},
		{"kube-apiserver", "Static", version, 1}, {"etcd", "Static", "3.6.5-0", 1},
	} {
		shown := record.Component{Name: c.name, Kind: c.kind, Desired: c.n, Ready: c.n, Present: true}
		for i := range c.n {
			shown.Instances = append(shown.Instances, record.PodState{Pod: fmt.Sprintf("kube-system/%s-%d", c.name, i), Version: c.version, Phase: "Running", Ready: true})
		}
		if c.name == "etcd" {
			shown.Members = []record.Named{{Name: "quickstart-control-plane", OK: true, Detail: "leader"}}
		}
		s.Components = append(s.Components, shown)
	}
	return s
}

// upgradeEvents are the phases of a run and the roll of its three nodes.
func upgradeEvents() []timeline.Event {
	phase := func(t int64, kind, name string) timeline.Event {
		return timeline.Event{T: t * second, Source: timeline.SourceRun, Kind: kind, Subject: "phase/" + name}
	}
	out := []timeline.Event{
		phase(40, timeline.KindPhase, "warmup"), phase(50, timeline.KindPhaseEnd, "warmup"),
		phase(50, timeline.KindPhase, "baseline"), phase(110, timeline.KindPhaseEnd, "baseline"),
		phase(112, timeline.KindPhase, "upgrade"),
	}
	for i, n := range []string{"node/quickstart-control-plane", "node/quickstart-worker", "node/quickstart-worker2"} {
		out = append(out, nodeEvents(int64(115+130*i), n, 2)...)
	}
	return append(out, phase(520, timeline.KindPhaseEnd, "upgrade"), phase(520, timeline.KindPhase, "settle"), phase(550, timeline.KindPhaseEnd, "settle"))
}

// nodeEvents are the upgrade of one node that begins at t and has some pods.
func nodeEvents(t int64, node string, pods int) []timeline.Event {
	var out []timeline.Event
	add := func(after int64, source, kind, subject string, detail map[string]string) {
		out = append(out, timeline.Event{T: (t + after) * second, Source: source, Kind: kind, Subject: subject, Detail: detail})
	}
	add(0, "step", timeline.KindCordon, node, nil)
	add(1, "step", timeline.KindDrainStart, node, nil)
	for i := range pods {
		pod := fmt.Sprintf("pod/rehearse/canary-%d-%d", t, i)
		add(2, "step", timeline.KindEvict, pod, map[string]string{"node": node[5:]})
		add(3, "kube", timeline.KindPodTerminating, pod, nil)
		add(9, "kube", timeline.KindPodDeleted, pod, nil)
	}
	add(12, "step", timeline.KindDrainEnd, node, map[string]string{"pods": fmt.Sprint(pods)})
	add(13, "step", timeline.KindUpgradeStart, node, map[string]string{"to": "v1.35.4"})
	add(40, "kube", timeline.KindNodeNotReady, node, map[string]string{"reason": "KubeletNotReady", "message": "container runtime is down"})
	add(55, "kube", timeline.KindNodeVersion, node, map[string]string{"from": "v1.34.4", "to": "v1.35.4"})
	add(60, "kube", timeline.KindNodeReady, node, nil)
	add(62, "step", timeline.KindUpgradeEnd, node, nil)
	add(63, "step", timeline.KindUncordon, node, nil)
	add(80, "step", timeline.KindValidation, node, map[string]string{"passed": "true", "consecutive": "2"})
	slices.SortStableFunc(out, func(a, b timeline.Event) int { return cmp.Compare(a.T, b.T) })
	return out
}

func goVerdict() judge.Verdict {
	v := judge.Verdict{
		Format: 1, Outcome: judge.Go,
		Summary: "Every request on 2 lanes was answered while v1.34.4 was upgraded to v1.35.4, latency stayed within its limits, and 7 of 7 system components are healthy.",
		Lanes: []judge.LaneSum{
			{Lane: "new", Phase: "baseline", Due: 6000, Sent: 6000, P50MS: 1.21, P90MS: 2.4, P99MS: 4.52, P999MS: 8.1, MaxMS: 12.2},
			{Lane: "new", Phase: "upgrade", Due: 40800, Sent: 40800, P50MS: 1.25, P90MS: 2.6, P99MS: 4.98, P999MS: 19.4, MaxMS: 48.7},
			{Lane: "reused", Phase: "baseline", Due: 6000, Sent: 6000, P50MS: 0.61, P90MS: 0.94, P99MS: 2.1, P999MS: 4, MaxMS: 6.8},
			{Lane: "reused", Phase: "upgrade", Due: 40800, Sent: 40799, Unsent: 1, P50MS: 0.62, P90MS: 0.98, P99MS: 2.3, P999MS: 9.4, MaxMS: 31},
			{Lane: "control", Phase: "baseline", Due: 6000, Sent: 6000, P50MS: 0.31, P90MS: 0.42, P99MS: 1.1, P999MS: 2, MaxMS: 3.3},
			{Lane: "control", Phase: "upgrade", Due: 40800, Sent: 40800, P50MS: 0.31, P90MS: 0.44, P99MS: 1.2, P999MS: 2.4, MaxMS: 9},
		},
		Resolution: []judge.Resolution{
			{Lane: "new", OutageMS: 100, ErrorRate: 0.0000734, Explain: "an outage of 100 ms or more would have been seen; error rate ≤ 0.0073% at 95%"},
			{Lane: "reused", OutageMS: 100, ErrorRate: 0.0000734, Explain: "an outage of 100 ms or more would have been seen; error rate ≤ 0.0073% at 95%"},
		},
		Validity: []judge.Validity{
			{Rule: "send-lag", Lane: "new", Value: 3.1, Limit: 25, Unit: "ms", Result: judge.Pass, Explain: "p99 of the send lag was 3.1 ms"},
			{Rule: "achieved-rate", Lane: "new", Value: 1, Limit: 0.99, Unit: "ratio", Result: judge.Pass, Explain: "all slots were sent"},
		},
	}
	v.Ledger = judge.Ledger{
		Summary: "No request was lost. 41 requests were slow: all scattered and unattributed.",
		Lanes: []judge.LaneLedger{
			{Lane: "new", Slow: 33, SlowMS: 6.78, Explain: "An answer is slow above 6.78 ms: half as much again as the baseline's p99 of 4.52 ms, and at least 2 ms more."},
			{Lane: "reused", Slow: 8, SlowMS: 4.1, Explain: "An answer is slow above 4.1 ms: half as much again as the baseline's p99 of 2.1 ms, and at least 2 ms more."},
		},
		Rest: []judge.Rest{
			{Lane: "new", Kind: judge.BurstSlow, Phase: "upgrade", Slow: 33, Start: 120 * second, End: 500 * second, Cause: "unattributed: scattered, never more at once than the baseline's share of 0.12% supports"},
			{Lane: "reused", Kind: judge.BurstSlow, Phase: "upgrade", Slow: 8, Start: 131 * second, End: 433 * second, Cause: "unattributed: scattered, never more at once than the baseline's share of 0.1% supports"},
		},
	}
	v.Criteria = append(v.Criteria, judge.Criterion{ID: "versions", Name: "Every node runs the target version", Result: judge.Pass, Explain: "3 of 3 nodes and the API server run v1.35.4."})
	for i, lane := range []string{"new", "reused"} {
		n := judge.Samples{Baseline: 6000, Upgrade: 40800}
		v.Criteria = append(v.Criteria,
			judge.Criterion{ID: "outage/" + lane, Name: "Longest outage", Lane: lane, Unit: "ms", Threshold: p(1000.), Estimate: p(0.), Samples: n, Result: judge.Pass, Explain: "No outage was seen; 1 s is allowed."},
			judge.Criterion{ID: "success/" + lane, Name: "Requests served", Lane: lane, Unit: "ratio", Threshold: p(0.999), Estimate: p(1.), Interval: &[2]float64{0.99993, 1}, Samples: n, Result: judge.Pass, Explain: "40,800 of 40,800 requests were served."},
			judge.Criterion{ID: "p99/" + lane, Name: "Growth of p99 latency", Lane: lane, Unit: "ratio", Threshold: p(0.25), Estimate: p(0.1 + float64(i)/100), Interval: &[2]float64{0.04, 0.17}, PValue: p(0.81), Samples: n, Result: judge.Pass, Explain: "p99 grew by 10%, and by at most 17% at 95%; 25% is allowed."},
		)
	}
	v.Criteria = append(v.Criteria, judge.Criterion{ID: "api", Name: "API server answered", Unit: "ratio", Threshold: p(0.995), Estimate: p(0.9731), Samples: judge.Samples{Upgrade: 1632}, Result: judge.Reported, Explain: "97.31% of 1,632 probes were answered; with one control plane this is reported, not judged."})
	for _, c := range []string{"kube-flannel", "coredns", "kube-proxy", "kube-apiserver", "etcd"} {
		v.Criteria = append(v.Criteria, judge.Criterion{ID: "component/" + c, Name: c + " is healthy", Result: judge.Pass, Explain: c + " is healthy on every node."})
	}
	return v
}

func noGoRecord() *record.Record {
	r := goRecord()
	r.Run.Name, r.Run.Simulated, r.Run.Driver = "single-replica", true, "sim"
	r.After.Components[1].Ready, r.After.Components[1].Problem = 1, "1 of 2 replicas is ready: pod kube-system/coredns-1 is in CrashLoopBackOff."
	r.After.Components[1].Instances[1].Restarts = 6
	r.After.Nodes[2].KubeletVersion, r.After.Nodes[2].Ready = "v1.34.4", false
	r.Run.Findings = append(r.Run.Findings, record.Finding{
		ID: "budget-missing", Severity: "block", Object: "deployment/rehearse/canary",
		Cause: "The deployment has one replica and no PodDisruptionBudget: draining its node stops the service.", Remedy: "Run at least 2 replicas and add a PodDisruptionBudget.",
	})
	return r
}

func noGoVerdict() judge.Verdict {
	v := goVerdict()
	v.Outcome, v.Simulated = judge.NoGo, true
	v.Summary = "Lane new could not be served for 5.21 s to 5.24 s while quickstart-worker was drained; 1 s is allowed."
	v.Criteria[1].Result, v.Criteria[1].Estimate = judge.Fail, p(5210.)
	v.Criteria[1].Explain = "The longest outage lasted 5.21 s to 5.24 s, from +04:06.2 on; 1 s is allowed."
	v.Criteria[2].Estimate, v.Criteria[2].Interval, v.Criteria[2].Result = p(0.98723), &[2]float64{0.9863, 0.9881}, judge.Fail
	v.Criteria[2].Explain = "40,279 of 40,800 requests were served, 98.72%; 99.9% is asked for."
	v.Criteria[9].Result, v.Criteria[9].Explain = judge.Fail, "1 of 2 replicas of coredns is ready after the upgrade."
	v.Lanes[1].Failed, v.Lanes[1].Classes = 521, map[string]uint64{"refused": 480, "http-5xx": 41}
	v.Outages = []judge.Outage{{
		Lane: "new", Start: 246_200_000_000, End: 251_410_000_000, LowerNS: 5_210_000_000, UpperNS: 5_240_000_000, Failed: 521, Sent: 521,
		Classes: map[string]uint64{"refused": 480, "http-5xx": 41}, Phase: "upgrade", Nearby: []string{"cordon node/quickstart-worker 1.2 s before", "drain-start node/quickstart-worker 0.2 s before"}, Usable: true,
		Cause: "drain-start of node/quickstart-worker, 0.2 s before: connections were refused, so the process was gone before its endpoint was removed.",
	}}
	o := v.Outages[0]
	v.Ledger.Summary = "521 requests were lost: all explained by an event. 431 requests were slow: 12 explained by an event, 378 unattributed, 41 scattered and unattributed."
	v.Ledger.Lanes[0].Lost, v.Ledger.Lanes[0].Slow, v.Ledger.Lanes[1].Slow = 521, 45, 386
	v.Ledger.Bursts = []judge.Burst{
		{
			Kind: judge.BurstAPI, Lane: "api", Phase: "upgrade", Start: 150 * second, End: 160_750_000_000, LowerNS: 10_750_000_000, UpperNS: 11_250_000_000, Lost: 88, Sent: 88,
			Nodes: []string{"quickstart-control-plane"}, From: "event", Signature: judge.SignatureAPIServer,
			Event: &judge.BlamedEvent{T: 128 * second, Kind: "upgrade-start", Subject: "node/quickstart-control-plane", Node: "quickstart-control-plane"},
			Cause: "upgrade-start node/quickstart-control-plane 22.0 s before: the API server did not answer while the only control plane was upgraded",
			Mend:  "Upgrade three control planes one at a time, each out of its balancer meanwhile: what needs the API then never misses it.", Set: []string{"cluster.controlPlanes (now 1)", "upgrade.controlPlaneInterval (now 15s)"}, Usable: true,
		},
		{
			Kind: judge.BurstOutage, Lane: "new", Phase: "upgrade", Start: o.Start, End: o.End, LowerNS: o.LowerNS, UpperNS: o.UpperNS, Lost: 521, Slow: 12, Sent: 521, WorstMS: 48.7, Classes: o.Classes,
			Pods: []string{"rehearse/canary-245-0"}, Nodes: []string{"quickstart-worker"}, From: "event", Signature: judge.SignatureProcessGone,
			Event: &judge.BlamedEvent{T: 246 * second, Kind: "drain-start", Subject: "node/quickstart-worker", Node: "quickstart-worker"}, Chance: p(0.00995), Cause: o.Cause,
			Usual: "A pod that is gone before its route usually shows for up to 2 s; this lasted at least 5.21 s.",
			Mend:  "Run two replicas or more, with a disruption budget: a single one is away whenever its node is drained.", Set: []string{"canary.replicas (now 1)", "canary.podDisruptionBudget", "Deployment spec.replicas"},
			Nearby: o.Nearby, Usable: true,
		},
		{
			Kind: judge.BurstSlow, Lane: "reused", Phase: "upgrade", Start: 404 * second, End: 407_990_000_000, LowerNS: 2 * second, UpperNS: 4 * second, Slow: 378, Sent: 400, WorstMS: 31, Signature: judge.SignatureSlow,
			Event: &judge.BlamedEvent{T: 388 * second, Kind: "upgrade-start", Subject: "node/quickstart-worker2", Node: "quickstart-worker2"}, Chance: p(0.43), Usable: true,
			Cause: "unattributed: requests were answered, and far later than in the baseline (the closest is upgrade-start node/quickstart-worker2 16.0 s before, which chance would bring about in 43% of cases)",
		},
	}
	return v
}

func inconclusiveVerdict() judge.Verdict {
	v := goVerdict()
	v.Outcome = judge.Inconclusive
	v.Summary = "The load generator stood still for 2.1 s during the upgrade: an outage could hide in it. Nothing else failed."
	for i := 1; i <= 3; i++ {
		v.Criteria[i].Result, v.Criteria[i].Samples.Unusable = judge.Undecided, 300
	}
	v.Criteria[1].Explain = "An unusable stretch of 3 s is longer than the 1 s allowed: an outage could hide in it."
	v.Validity[0].Result, v.Validity[0].Value, v.Validity[0].Explain = judge.Fail, 2104, "p99 of the send lag was 2.1 s in 3 windows; 25 ms is allowed"
	v.Validity[0].Unusable = []judge.Stretch{{Start: 300 * second, End: 303 * second}}
	v.Outages = []judge.Outage{{Lane: "new", Start: 300 * second, End: 302 * second, LowerNS: 2 * second, UpperNS: 2 * second, Failed: 0, Sent: 4, Phase: "upgrade"}}
	v.Ledger.Bursts = []judge.Burst{{
		Kind: judge.BurstOutage, Lane: "new", Phase: "upgrade", Start: 300 * second, End: 302 * second, LowerNS: 2 * second, UpperNS: 2 * second, Sent: 4, Signature: judge.SignatureContention,
		Cause: "contention of the machine: the control lane outside the cluster suffered, or the runner was far behind, at the same time, so no event of the upgrade is blamed",
		Mend:  "Rehearse on a machine with more to spare, or send less.", Set: []string{"load.rate (now 100)"},
	}}
	v.Warnings = []string{"the control lane degraded in the same 3 seconds"}
	return v
}

func abortedRecord() *record.Record {
	r := goRecord()
	r.After = nil
	r.Run.Ended = time.Time{}
	r.Run.Outcome, r.Run.Failure = record.OutcomeFailed, "Step 6 failed: the drain of quickstart-worker did not end within 15m."
	r.Run.Versions.After = ""
	r.Run.Steps = r.Run.Steps[:7]
	r.Run.Steps[5].Outcome = record.OutcomeFailed
	r.Run.Steps[5].Error = "draining quickstart-worker: pod rehearse/canary-1 cannot be evicted:\nCannot evict pod as it would violate the pod's disruption budget."
	r.Run.Steps[5].Log = "logs/FAILED-06-upgrade.log"
	r.Run.Steps[6].Outcome = record.OutcomeSkipped
	r.Damage = []record.Damage{{File: "load/new.frames", Offset: 81920, What: "the last frame is torn"}}
	return r
}

func abortedVerdict() judge.Verdict {
	v := goVerdict()
	v.Outcome = judge.Inconclusive
	v.Summary = "The upgrade did not end: the drain of quickstart-worker did not end within 15m."
	v.Criteria = v.Criteria[:1]
	v.Criteria[0].Result, v.Criteria[0].Explain = judge.Undecided, "No snapshot was taken after the upgrade."
	v.Lanes = nil
	v.Ledger = judge.Ledger{}
	v.Resolution = nil
	v.Validity = nil
	return v
}

// recordedRecord is a recording of an upgrade that something else drove: no
// driver, no versions, no steps, no snapshots.
func recordedRecord() *record.Record {
	r := goRecord()
	r.Run.Name, r.Run.Driver, r.Run.Versions, r.Run.Steps, r.Run.Findings = "during", "", record.Versions{}, nil, nil
	r.Run.Command = "rehearse record --target http://127.0.0.1:30080/ --rate 100 --duration 5m --out during"
	r.Run.Lanes, r.Run.Probes = r.Run.Lanes[:2], nil
	r.Before, r.After, r.Events = nil, nil, nil
	return withLoad(r, 0, 300)
}

func recordedVerdict() judge.Verdict {
	v := goVerdict()
	v.Summary = "Every request on 2 lanes was answered, and latency stayed within its limits."
	v.Criteria, v.Lanes = v.Criteria[1:7], v.Lanes[:4]
	return v
}
