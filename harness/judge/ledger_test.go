package judge_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/golden"
)

// replayed is a record made for one signature: faults 155 s into a run, when
// nothing of the synthetic upgrade is near, and the events that such a fault leaves.
type replayed struct {
	name   string
	want   judge.Signature
	kind   string // of the burst; outage where empty
	lane   string // reused where empty
	faults []synth.Fault
	events []happened
	// change is done to the record at last.
	change func(r *record.Record, at int64)
	// replicas of the canary, 3 where 0; planes of the cluster, 1 where 0.
	replicas, planes int
}

const faultAt = 85 * sec // of the upgrade

func replays() []replayed {
	on := func(node string) map[string]string { return map[string]string{"node": node} }
	endpointOf := func(pod string) map[string]string {
		return map[string]string{"node": "worker-2", "pod": pod, "service": "canary"}
	}
	fault := func(class record.Class, length time.Duration, share float64) []synth.Fault {
		return []synth.Fault{{Start: faultAt, Length: length, Class: class, Share: share}}
	}
	const pod, address = "pod/rehearse/canary-7d4-b", "endpoint/10.244.1.7:8080"
	ended := happened{-120e6, timeline.KindPodTerminating, pod, on("worker-2")}
	removed := func(after time.Duration) happened {
		return happened{after, timeline.KindEndpointRemoved, address, endpointOf("rehearse/canary-7d4-b")}
	}
	slowFor := func(length time.Duration, factor float64) []synth.Fault {
		return []synth.Fault{{Kind: synth.SlowBody, Start: faultAt, Length: length, Factor: factor}}
	}
	// answered adds slow requests to the record, one every 100 ms.
	answered := func(lane string, n int, q record.Request) func(*record.Record, int64) {
		return func(r *record.Record, at int64) {
			d := lanes(r, lane)
			for i := range int64(n) {
				q.Due, q.Class = at+i*100e6, record.OK.String()
				d.Requests = append(d.Requests, q)
			}
			slices.SortStableFunc(d.Requests, func(a, b record.Request) int { return cmp.Compare(a.Due, b.Due) })
		}
	}
	away := func(length int64) func(*record.Record, int64) {
		return func(r *record.Record, at int64) {
			for i := range r.Probes {
				for k := range r.Probes[i].Samples {
					if x := &r.Probes[i].Samples[k]; x.T >= at && x.T < at+length {
						x.OK, x.Class = false, record.Refused.String()
					}
				}
			}
		}
	}
	return []replayed{
		{name: "a process that ends before its endpoint is removed at all", want: judge.SignatureProcessGone, faults: fault(record.Refused, 2*sec, 0), events: []happened{ended}},
		{name: "an endpoint that is removed too late", want: judge.SignatureEndpointLag, faults: fault(record.Refused, 1500*time.Millisecond, 0), events: []happened{ended, removed(1200 * time.Millisecond)}},
		{name: "rules that still lead to a pod that is gone", want: judge.SignatureRouteLag, faults: fault(record.Refused, 2600*time.Millisecond, 0.5), events: []happened{ended, removed(-50 * time.Millisecond)}},
		{name: "a node that is gone", want: judge.SignatureNodeGone, faults: fault(record.TimeoutConnect, 5*sec, 0.5), events: []happened{{-200e6, timeline.KindNodeNotReady, "node/worker-2", nil}}},
		{name: "a server that ends without closing kept connections", want: judge.SignatureUngraceful, faults: []synth.Fault{{Start: faultAt, Length: 2 * sec, Lane: "reused", Class: record.Reset, Share: 0.5}}, events: []happened{ended}},
		{name: "a server that does not finish", want: judge.SignatureCut, faults: fault(record.Reset, sec, 0), events: []happened{{-200e6, timeline.KindRestart, pod, on("worker-2")}}},
		{name: "a balancer without endpoints", want: judge.SignatureNoEndpoint, faults: fault(record.HTTP5xx, 2*sec, 0), events: []happened{removed(-100 * time.Millisecond)}},
		{name: "the same with a single replica", want: judge.SignatureNoEndpoint, faults: fault(record.HTTP5xx, 2*sec, 0), events: []happened{removed(-100 * time.Millisecond)}, replicas: 1},
		{
			name: "a server that answers with errors of its own", want: judge.SignatureServerError, faults: fault(record.HTTP5xx, 2*sec, 0), events: []happened{{-200e6, timeline.KindPodNotReady, pod, on("worker-2")}},
			change: func(r *record.Record, _ int64) {
				for i := range r.Lanes {
					for k := range r.Lanes[i].Requests {
						q := &r.Lanes[i].Requests[k]
						q.Status, q.Pod, q.Node = 500, "canary-7d4-b", "worker-2"
					}
				}
			},
		},
		{name: "a node that answers no more", want: judge.SignatureNotAnswered, faults: fault(record.TimeoutResponse, 5*sec, 0.5), events: []happened{{-300e6, timeline.KindNodeRemoved, "node/worker-2", nil}}},
		{name: "DNS that is gone", want: judge.SignatureDNS, faults: fault(record.DNS, 3*sec, 0), events: []happened{{-200e6, timeline.KindPodDeleted, "pod/kube-system/coredns-5f-x", on("cp-1")}}},
		{name: "a hang", want: judge.SignatureHang, faults: []synth.Fault{{Kind: synth.Hang, Start: faultAt, Length: sec}}, events: []happened{{-50e6, timeline.KindUpgradeStart, "node/worker-2", nil}}},
		{name: "a hang that nothing explains", want: judge.SignatureHang, faults: []synth.Fault{{Kind: synth.Hang, Start: faultAt, Length: sec}}},
		{name: "kube-proxy that restarts", want: judge.SignatureKubeProxy, faults: fault(record.TimeoutConnect, 2500*time.Millisecond, 0.3), events: []happened{{-250e6, timeline.KindPodDeleted, "pod/kube-system/kube-proxy-x", on("worker-2")}}},
		{name: "kube-proxy that takes longer than usual", want: judge.SignatureKubeProxy, faults: fault(record.TimeoutConnect, 6*sec, 0.5), events: []happened{{-250e6, timeline.KindPodDeleted, "pod/kube-system/kube-proxy-x", on("worker-2")}}},
		{name: "a balancer that is gone", want: judge.SignatureBalancerGone, faults: fault(record.Refused, 2*sec, 0)},
		{name: "an API server alone, of one control plane", want: judge.SignatureAPIServer, kind: judge.BurstAPI, lane: "api", events: []happened{{-20e9, timeline.KindUpgradeStart, "node/cp-1", nil}}, change: away(12e9)},
		{name: "an API server alone, of three control planes", want: judge.SignatureAPIServer, kind: judge.BurstAPI, lane: "api", planes: 3, events: []happened{{-150e6, timeline.KindPodDeleted, "pod/kube-system/kube-apiserver-cp-2", on("cp-2")}}, change: away(4e9)},
		{name: "an API server and lanes", want: judge.SignatureAPIAndLanes, kind: judge.BurstAPI, lane: "api", planes: 3, faults: fault(record.TimeoutConnect, 4*sec, 0), events: []happened{{-150e6, timeline.KindNodeNotReady, "node/cp-2", nil}}, change: away(4e9)},
		{name: "slow after an eviction", want: judge.SignatureSlow, kind: judge.BurstSlow, faults: slowFor(4*sec, 8), events: []happened{{-300e6, timeline.KindEvict, pod, on("worker-2")}}, change: answered("reused", 30, record.Request{Latency: 200e6, Pod: "canary-7d4-a", Node: "worker-1"})},
		{name: "slow by windows alone", want: judge.SignatureSlow, kind: judge.BurstSlow, faults: slowFor(4*sec, 8), events: []happened{{300e6, timeline.KindEvict, pod, on("worker-2")}}},
		{name: "slow, and nothing explains it", want: judge.SignatureSlow, kind: judge.BurstSlow, faults: slowFor(4*sec, 8)},
		{name: "slow to connect", want: judge.SignatureSlowConnect, kind: judge.BurstSlow, lane: "new", faults: slowFor(3*sec, 8), events: []happened{{-200e6, timeline.KindNodeNotReady, "node/worker-2", nil}}, change: answered("new", 20, record.Request{Latency: 1010e6, ConnectNS: 1001e6})},
		{name: "a machine that is busy", want: judge.SignatureContention, kind: judge.BurstSlow, faults: []synth.Fault{{Kind: synth.Busy, Start: faultAt, Length: 8 * sec, Factor: 15}}, events: []happened{ended}},
		{name: "a machine that loses requests of the control lane, too", want: judge.SignatureContention, faults: []synth.Fault{{Start: faultAt, Length: 2 * sec, Class: record.Reset}, {Start: faultAt, Length: 2 * sec, Class: record.Reset, Lane: "control"}}, events: []happened{ended}},
		{name: "a few lost requests outside any outage", want: judge.SignatureCut, kind: judge.BurstLost, faults: []synth.Fault{{Start: faultAt, Length: 20 * time.Millisecond, Class: record.Reset}}, events: []happened{ended}},
		{
			name: "requests that go to an endpoint itself", want: judge.SignatureProcessGone, lane: "new", faults: fault(record.Refused, 2*sec, 0.5),
			events: []happened{{-130e9, timeline.KindEndpointAdded, address, endpointOf("rehearse/canary-7d4-b")}, {-200e6, timeline.KindRestart, pod, on("worker-2")}},
			change: func(r *record.Record, _ int64) {
				for i := range lanes(r, "new").Requests {
					lanes(r, "new").Requests[i].Remote = "10.244.1.7:8080"
				}
			},
		},
		{name: "a wrong certificate", want: judge.SignatureOther, faults: fault(record.TLS, sec, 0)},
	}
}

func (x replayed) record(t *testing.T) (*record.Record, synth.Options) {
	t.Helper()
	o := synth.Options{Seed: 11, Faults: x.faults, ControlPlanes: x.planes}
	r, s := synth.Record(o), o.Scenario()
	r.Before.Canary = []record.PodState{{Pod: "rehearse/canary-7d4-a"}, {Pod: "rehearse/canary-7d4-b"}}
	if x.replicas > 0 {
		s.Canary.Replicas = x.replicas
		doc, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(doc)
		r.Run.Scenario, r.Run.ScenarioSHA256 = doc, hex.EncodeToString(sum[:])
	}
	at := int64(70*sec + faultAt)
	for _, e := range x.events {
		r.Events = append(r.Events, timeline.Event{T: at + int64(e.after), Source: timeline.SourceKube, Kind: e.kind, Subject: e.subject, Detail: e.detail})
	}
	slices.SortStableFunc(r.Events, func(a, b timeline.Event) int { return cmp.Compare(a.T, b.T) })
	if x.change != nil {
		x.change(r, at)
	}
	return r, o
}

func lanes(r *record.Record, name string) *record.LaneData {
	for i := range r.Lanes {
		if r.Lanes[i].Lane.Name == name {
			return &r.Lanes[i]
		}
	}
	return nil
}

// entryText writes everything that a burst says.
func entryText(x *judge.Burst) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s in the %s at %.3f s for %v to %v: %d lost, %d slow of %d", x.Kind, x.Lane, x.Phase, float64(x.Start)/1e9, time.Duration(x.LowerNS), time.Duration(x.UpperNS), x.Lost, x.Slow, x.Sent)
	line := func(name, what string) {
		if what != "" {
			fmt.Fprintf(&b, "\n    %s: %s", name, what)
		}
	}
	line("signature", string(x.Signature))
	line("cause", x.Cause)
	if x.Event != nil {
		line("event", strings.TrimSpace(fmt.Sprintf("%s %s %s %s", x.Event.Kind, x.Event.Subject, x.Event.Pod, x.Event.Node)))
	}
	if x.Chance != nil {
		line("chance", fmt.Sprint(*x.Chance))
	}
	if x.From != "" {
		line("who, from the "+x.From, strings.TrimSpace(strings.Join(x.Pods, " ")+" "+strings.Join(x.Nodes, " ")))
	}
	line("usual", x.Usual)
	line("mend", x.Mend)
	line("set", strings.Join(x.Set, "; "))
	return b.String()
}

// TestLedgerOfEachSignature replays one record for each signature, from disk, and
// holds every word of its entry to a file.
func TestLedgerOfEachSignature(t *testing.T) {
	texts := make([]string, len(replays()))
	seen := map[judge.Signature]bool{}
	for i, x := range replays() {
		seen[x.want] = true
		t.Run(x.name, func(t *testing.T) {
			r, o := x.record(t)
			dir := filepath.Join(t.TempDir(), "run")
			if err := synth.Write(dir, r); err != nil {
				t.Fatal(err)
			}
			loaded, err := record.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			s := o.Scenario()
			v := judge.Judge(loaded, s.Criteria())
			kind, lane := cmp.Or(x.kind, judge.BurstOutage), cmp.Or(x.lane, "reused")
			k := slices.IndexFunc(v.Ledger.Bursts, func(b judge.Burst) bool { return b.Kind == kind && b.Lane == lane && b.Signature == x.want })
			if k < 0 {
				t.Fatalf("no entry of kind %s, lane %s and signature %s in %+v", kind, lane, x.want, v.Ledger.Bursts)
			}
			texts[i] = fmt.Sprintf("== %s\n  %s\n  %s\n", x.name, v.Ledger.Summary, entryText(&v.Ledger.Bursts[k]))
			balanced(t, loaded, &v)
			if i%4 == 0 { // what a run judges and what a gate judges again are the same bytes
				ran, _ := json.Marshal(judge.Judge(r, s.Criteria()))
				again, _ := json.Marshal(v)
				if d := gocmp.Diff(string(ran), string(again)); d != "" {
					t.Errorf("judged from memory and from disk (-memory +disk):\n%s", d)
				}
			}
		})
	}
	for _, s := range []judge.Signature{
		judge.SignatureProcessGone, judge.SignatureEndpointLag, judge.SignatureRouteLag, judge.SignatureNodeGone, judge.SignatureUngraceful, judge.SignatureCut,
		judge.SignatureNoEndpoint, judge.SignatureServerError, judge.SignatureNotAnswered, judge.SignatureDNS, judge.SignatureHang, judge.SignatureSlow, judge.SignatureSlowConnect,
		judge.SignatureKubeProxy, judge.SignatureBalancerGone, judge.SignatureAPIServer, judge.SignatureAPIAndLanes, judge.SignatureContention, judge.SignatureOther,
	} {
		if !seen[s] {
			t.Errorf("no record shows signature %s", s)
		}
	}
	if t.Failed() {
		return
	}
	golden.Equal(t, "ledger.txt", strings.Join(texts, "\n"))
}

// balanced holds the ledger to the windows: every lost and every slow request of
// a lane is in exactly one entry.
func balanced(t *testing.T, r *record.Record, v *judge.Verdict) {
	t.Helper()
	for _, l := range v.Ledger.Lanes {
		var lost, slow, failed, above uint64
		for i := range v.Ledger.Bursts {
			if b := &v.Ledger.Bursts[i]; b.Lane == l.Lane {
				lost, slow = lost+b.Lost, slow+b.Slow
			}
		}
		for _, x := range v.Ledger.Rest {
			if x.Lane == l.Lane {
				lost, slow = lost+x.Lost, slow+x.Slow
			}
		}
		for _, s := range v.Lanes {
			if s.Lane == l.Lane {
				failed += s.Failed
			}
		}
		for _, w := range lanes(r, l.Lane).Windows {
			for _, p := range r.Phases() {
				if mid := w.Second*1e9 + 5e8; l.SlowMS > 0 && mid >= p.Start && mid < p.End {
					above += w.Latency.CountAbove(uint64(l.SlowMS*1000 + 0.5))
				}
			}
		}
		if lost != failed || l.Lost != failed {
			t.Errorf("lane %s lost %d requests; the ledger says %d, and its entries add up to %d", l.Lane, failed, l.Lost, lost)
		}
		if slow != above || l.Slow != above {
			t.Errorf("lane %s had %d slow requests; the ledger says %d, and its entries add up to %d", l.Lane, above, l.Slow, slow)
		}
	}
	for i := range v.Ledger.Bursts {
		b := &v.Ledger.Bursts[i]
		if b.Cause == "" || b.LowerNS > b.UpperNS || b.End < b.Start || b.Signature == "" {
			t.Errorf("an entry without a cause, or with bounds the wrong way round: %s", entryText(b))
		}
	}
}

// TestLedgerAddsUp judges records with every kind of trouble at once.
func TestLedgerAddsUp(t *testing.T) {
	noisy := synth.DefaultProfile()
	noisy.ErrorRate, noisy.Bursts, noisy.BurstFactor = 0.004, 2, 3
	for seed, faults := range [][]synth.Fault{
		nil,
		{{Start: 20 * sec, Length: 3 * sec}, {Start: 69*sec + 990*time.Millisecond, Length: 20 * time.Millisecond}, {Kind: synth.Hang, Start: 100 * sec, Length: 2 * sec}},
		{{Kind: synth.Overload, Start: 20 * sec, Length: 60 * sec, Share: 0.5}, {Start: -30 * sec, Length: 2 * sec, Share: 0.5, Class: record.Reset}},
		{{Kind: synth.Pause, Start: 40 * sec, Length: 2 * sec}, {Start: 42 * sec, Length: 90 * sec, Share: 0.5, Class: record.HTTP5xx}, {Kind: synth.SlowTail, Start: 60 * sec, Length: 60 * sec, Factor: 6}},
		{{Start: -3 * sec, Length: 6 * sec}, {Kind: synth.SlowBody, Start: 30 * sec, Length: 5 * sec, Factor: 9, Lane: "new"}, {Start: -68 * sec, Length: sec, Share: 0.3}},
	} {
		o := synth.Options{Seed: uint64(seed), Profile: &noisy, Faults: faults}
		r, s := synth.Record(o), o.Scenario()
		v := judge.Judge(r, s.Criteria())
		balanced(t, r, &v)
		for i := range v.Outages {
			out := &v.Outages[i]
			k := slices.IndexFunc(v.Ledger.Bursts, func(b judge.Burst) bool {
				return b.Kind == judge.BurstOutage && b.Lane == out.Lane && b.Start == out.Start
			})
			if k < 0 {
				t.Errorf("%d: an outage at %d of lane %s is not in the ledger", seed, out.Start, out.Lane)
			}
		}
	}
}

// TestLedgerIsBounded: two hours in which a request is lost every few seconds.
func TestLedgerIsBounded(t *testing.T) {
	p := synth.DefaultProfile()
	p.ErrorRate = 0.01
	o := synth.Options{Seed: 5, Rate: 20, Upgrade: 2 * time.Hour, Profile: &p, Lanes: []string{"new"}, Faults: []synth.Fault{{Start: 30 * time.Minute, Length: 4 * sec}}}
	r, s := synth.Record(o), o.Scenario()
	v := judge.Judge(r, s.Criteria())
	balanced(t, r, &v)
	if n := len(v.Ledger.Bursts); n != 100 {
		t.Errorf("%d entries, want 100", n)
	}
	if !slices.ContainsFunc(v.Ledger.Bursts, func(b judge.Burst) bool { return b.Kind == judge.BurstOutage && b.Lost >= 78 }) {
		t.Error("the outage gave way to single lost requests")
	}
	k := slices.IndexFunc(v.Ledger.Rest, func(r judge.Rest) bool { return r.Kind == judge.BurstLost })
	if k < 0 || v.Ledger.Rest[k].Bursts < 200 || v.Ledger.Rest[k].Cause != "unattributed: smaller than those that are listed, and not looked at one by one" {
		t.Errorf("the rest is %+v", v.Ledger.Rest)
	}
	doc, err := json.Marshal(v.Ledger)
	if err != nil || len(doc) > 300_000 {
		t.Errorf("the ledger takes %d bytes (%v), want at most 300,000", len(doc), err)
	}
}

// TestLedgerOfCompare is about the upgrade's record, by the slowness of the
// baseline's.
func TestLedgerOfCompare(t *testing.T) {
	base := synth.Options{Seed: 1}
	up := synth.Options{Seed: 2, Faults: []synth.Fault{{Start: 70 * sec, Length: 3 * sec}, {Kind: synth.SlowBody, Start: 100 * sec, Length: 4 * sec, Factor: 8}}}
	r, s := synth.Record(up), up.Scenario()
	v, err := judge.Compare(synth.Record(base), r, s.Criteria())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range v.Ledger.Bursts {
		got = append(got, b.Kind+" "+b.Lane)
	}
	if want := "outage new, outage reused, slow new, slow reused"; strings.Join(got, ", ") != want {
		t.Errorf("entries %q, want %q", got, want)
	}
	for _, l := range v.Ledger.Lanes {
		failed := uint64(0)
		for _, x := range v.Lanes { // the baseline lost nothing
			if x.Lane == l.Lane {
				failed += x.Failed
			}
		}
		if l.Lost != failed || l.Lost != 300 {
			t.Errorf("lane %s: the ledger has %d lost, the lanes %d, want 300", l.Lane, l.Lost, failed)
		}
	}
}

// TestLedgerOfUnchangedUpgrades: where nothing happened nothing is listed.
func TestLedgerOfUnchangedUpgrades(t *testing.T) {
	bursty := synth.DefaultProfile()
	bursty.Bursts, bursty.BurstFactor = 2, 2
	for name, p := range map[string]*synth.Profile{"8 ms service": nil, "service with a slow spell every half minute": &bursty} {
		n, listed := pairs(t, 10), 0
		for seed := range n {
			o := synth.Options{Seed: uint64(seed)*7919 + 11, Rate: 200, Profile: p}
			s := o.Scenario()
			l := judge.Judge(synth.Record(o), s.Criteria()).Ledger
			listed += len(l.Bursts)
			for i := range l.Bursts {
				t.Logf("%s, %d: %s", name, seed, entryText(&l.Bursts[i]))
			}
		}
		if p == nil && listed > 0 || listed > n {
			t.Errorf("%s: %d bursts in %d unchanged upgrades", name, listed, n)
		}
	}
}
