package judge_test

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// happened is an event so long after the outage of a case began.
type happened struct {
	after         time.Duration
	kind, subject string
	detail        map[string]string
}

// TestAttribution plants an outage 155 s into a run, at a time when nothing of
// the synthetic upgrade is near, and the events that a fault of that kind leaves.
func TestAttribution(t *testing.T) {
	const at = 85 * sec // of the upgrade
	on := func(node string) map[string]string { return map[string]string{"node": node} }
	endpointOf := func(pod string) map[string]string {
		return map[string]string{"node": "worker-1", "pod": pod, "service": "any"}
	}
	both := func(class record.Class, length time.Duration) []synth.Fault {
		return []synth.Fault{{Start: at, Length: length, Class: class}}
	}
	for _, x := range []struct {
		name     string
		faults   []synth.Fault
		events   []happened
		replicas int
		node     string // that the failed requests met
		want     string // of lane reused, or its beginning
	}{
		{
			name: "a balancer that is gone", faults: both(record.Refused, 2*sec),
			want: "unattributed: nothing listened: every lane but control was refused, as when the balancer in front of the cluster is gone",
		},
		{
			name: "a process that is gone, seen by one lane", faults: []synth.Fault{{Start: at, Length: 2 * sec, Lane: "reused"}},
			want: "unattributed: the process was gone and its endpoint not yet removed",
		},
		{
			name: "a balancer without endpoints", faults: both(record.HTTP5xx, 2*sec), replicas: 1,
			events: []happened{{-100e6, timeline.KindEndpointRemoved, "endpoint/10.244.1.7:8080", endpointOf("rehearse/canary-7d4-b")}},
			want:   "endpoint-removed endpoint/10.244.1.7:8080 of pod/rehearse/canary-7d4-b on worker-1 0.1 s before: the balancer had no endpoint to send to, or the server was failing; it was the only replica, so no other endpoint was ready",
		},
		{
			name: "resets on kept connections alone", faults: []synth.Fault{{Start: at, Length: 2 * sec, Lane: "reused", Class: record.Reset, Share: 0.5}},
			want: "unattributed: connections were cut, and only those that are kept: a server ended without closing them first (ungraceful termination)",
		},
		{
			name: "resets on every lane", faults: []synth.Fault{{Start: at, Length: 2 * sec, Class: record.Reset}},
			events: []happened{{-200e6, timeline.KindRestart, "pod/rehearse/canary-7d4-b", on("worker-2")}},
			want:   "restart pod/rehearse/canary-7d4-b on worker-2 0.2 s before: connections were cut: the server did not finish what it had",
		},
		{
			name: "truncated bodies", faults: []synth.Fault{{Start: at, Length: 3 * sec, Class: record.Truncated, Share: 0.5}},
			want: "unattributed: answers were cut: the server did not finish what it had",
		},
		{
			name: "a single replica that was evicted", faults: both(record.Reset, sec), replicas: 1,
			events: []happened{
				{-90e6, timeline.KindPodTerminating, "pod/kube-system/coredns-5f-x", on("worker-2")},
				{-120e6, timeline.KindPodTerminating, "pod/rehearse/canary-7d4-b", on("worker-2")},
			},
			want: "pod-terminating pod/rehearse/canary-7d4-b on worker-2 0.1 s before: connections were cut: the server did not finish what it had; it was the only replica, so no other endpoint was ready",
		},
		{
			name: "an endpoint that was kept", faults: both(record.Refused, 6*sec),
			events: []happened{
				{-120e6, timeline.KindPodTerminating, "pod/rehearse/canary-7d4-b", on("worker-2")},
				{-100e6, timeline.KindEndpointRemoved, "endpoint/10.244.1.7:53", endpointOf("kube-system/coredns-5f-x")},
			},
			want: "pod-terminating pod/rehearse/canary-7d4-b on worker-2 0.1 s before: the process was gone and its endpoint not yet removed; its endpoint was not removed: the EndpointSlice was stale",
		},
		{
			name: "a balancer that kept a node which was removed", faults: []synth.Fault{{Start: at, Length: 5 * sec, Class: record.TimeoutResponse, Share: 0.5}},
			events: []happened{{-300e6, timeline.KindNodeRemoved, "node/worker-2", nil}},
			want:   "node-removed node/worker-2 0.3 s before: connections stood and were not answered",
		},
		{
			name: "the drain of a worker that is replaced", faults: both(record.Reset, sec), replicas: 1,
			events: []happened{
				{-9e9, timeline.KindUpgradeStart, "node/old-1", map[string]string{"strategy": "replace"}},
				{-120e6, timeline.KindPodTerminating, "pod/rehearse/canary-7d4-b", on("old-1")},
				{8e9, timeline.KindUpgradeEnd, "node/old-1", map[string]string{"strategy": "replace", "new": "new-1"}},
			},
			want: "pod-terminating pod/rehearse/canary-7d4-b on old-1 0.1 s before: connections were cut: the server did not finish what it had; it was the only replica, so no other endpoint was ready; node/old-1 was drained to be removed (replace)",
		},
		{
			name: "connections by way of extra capacity that was removed", faults: []synth.Fault{{Start: at, Length: 2 * sec, Class: record.Reset, Share: 0.5}},
			events: []happened{
				{-9e9, timeline.KindUpgradeStart, "node/extra", map[string]string{"strategy": "extra-capacity"}},
				{-100e6, timeline.KindNodeRemoved, "node/extra", nil},
			},
			want: "node-removed node/extra 0.1 s before: connections were cut: the server did not finish what it had; node/extra was drained to be removed, as extra capacity no longer needed",
		},
		{
			name: "a balancer that sends to a worker which has just joined", faults: []synth.Fault{{Start: at, Length: 5 * sec, Class: record.TimeoutConnect, Share: 0.5}},
			events: []happened{{-200e6, timeline.KindNodeAdded, "node/new-1", nil}},
			want:   "node-added node/new-1 0.2 s before: nothing answered: a node or its route was gone",
		},
		{
			name: "DNS that is gone", faults: both(record.DNS, 3*sec),
			events: []happened{
				{-200e6, timeline.KindPodDeleted, "pod/kube-system/coredns-5f-x", on("cp-1")},
				{-100e6, timeline.KindPodDeleted, "pod/kube-system/kube-proxy-x", on("worker-2")},
			},
			want: "pod-deleted pod/kube-system/coredns-5f-x on cp-1 0.2 s before: the name did not resolve",
		},
		{
			name: "a node's network that crashes, by the node that the requests met", faults: []synth.Fault{{Start: at, Length: 5 * sec, Class: record.TimeoutConnect, Share: 0.5}}, node: "worker-2",
			events: []happened{
				{-50e6, timeline.KindRestart, "pod/kube-flannel/kube-flannel-ds-a", on("worker-1")},
				{-250e6, timeline.KindRestart, "pod/kube-flannel/kube-flannel-ds-b", on("worker-2")},
			},
			want: "restart pod/kube-flannel/kube-flannel-ds-b on worker-2 0.2 s before: nothing answered: a node or its route was gone",
		},
		{
			name: "a node's network that crashes and crashes, as another node turns not-ready", faults: []synth.Fault{{Start: at, Length: 5 * sec, Class: record.TimeoutConnect, Share: 0.5}},
			events: []happened{
				{-200e6, timeline.KindNodeNotReady, "node/worker-1", nil},
				{140e6, timeline.KindRestart, "pod/kube-flannel/kube-flannel-ds-b", on("worker-2")},
				{1140e6, timeline.KindRestart, "pod/kube-flannel/kube-flannel-ds-b", on("worker-2")},
			},
			want: "restart pod/kube-flannel/kube-flannel-ds-b on worker-2 0.1 s after it began: nothing answered: a node or its route was gone",
		},
		{
			name: "a node's network without its proxy", faults: both(record.TimeoutConnect, 3*sec),
			events: []happened{{-250e6, timeline.KindPodDeleted, "pod/kube-system/kube-proxy-x", on("worker-2")}},
			want:   "pod-deleted pod/kube-system/kube-proxy-x on worker-2 0.2 s before: nothing answered: a node or its route was gone",
		},
		{
			name: "pods that serve nobody here", faults: both(record.Reset, sec),
			events: []happened{
				{-100e6, timeline.KindPodTerminating, "pod/kube-system/coredns-5f-x", on("worker-2")},
				{-50e6, timeline.KindPodTerminating, "pod/shop/web-1", on("worker-2")},
			},
			want: "unattributed: connections were cut: the server did not finish what it had",
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			o := synth.Options{Seed: 11, Faults: x.faults}
			r, s := synth.Record(o), o.Scenario()
			r.Before.Canary = []record.PodState{{Pod: "rehearse/canary-7d4-a"}, {Pod: "rehearse/canary-7d4-b"}}
			if x.replicas > 0 {
				s.Canary.Replicas = x.replicas
				doc, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				r.Run.Scenario = doc
			}
			for _, e := range x.events {
				r.Events = append(r.Events, timeline.Event{T: int64(70*sec + at + e.after), Source: timeline.SourceKube, Kind: e.kind, Subject: e.subject, Detail: e.detail})
			}
			slices.SortStableFunc(r.Events, func(a, b timeline.Event) int { return cmp.Compare(a.T, b.T) })
			for i := range r.Lanes {
				for k := range r.Lanes[i].Requests {
					r.Lanes[i].Requests[k].Node = x.node
				}
			}
			v := judge.Judge(r, s.Criteria())
			i := slices.IndexFunc(v.Outages, func(o judge.Outage) bool { return o.Lane == "reused" })
			if i < 0 || len(v.Outages) > 2 {
				t.Fatalf("outages %+v", v.Outages)
			}
			got := v.Outages[i].Cause
			if before, _, found := strings.Cut(got, " (the closest is "); found && strings.HasPrefix(x.want, "unattributed") {
				got = before
			}
			if got != x.want {
				t.Errorf("cause\n got %q\nwant %q", got, x.want)
			}
		})
	}
}
