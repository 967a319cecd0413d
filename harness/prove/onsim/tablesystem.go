package onsim

import (
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func ofTheWorkload() []fault {
	return []fault{
		{
			Fault: prove.Fault{
				Name: "blocking-budget", What: "a budget that blocks eviction for ever",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"upgrade"}, Names: []string{"budget planted-budget", "pod rehearse/canary-"}},
			},
			scenario: func(s *scenarios.Scenario) {
				s.Canary.PodDisruptionBudget, s.Upgrade.DrainTimeout = nil, scenarios.D(8*time.Second)
			},
			plant: func(*stage) sim.Faults {
				return sim.Faults{Objects: []sim.Object{sim.BlockingBudget("rehearse", "planted-budget", map[string]string{"app.kubernetes.io/name": "canary"})}}
			},
		},
		{
			Fault: prove.Fault{
				Name: "bare-pod", What: "a bare pod on a drained node",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"upgrade"}, Names: []string{"default/planted-bare"}},
			},
			scale: quick,
			plant: func(*stage) sim.Faults {
				return sim.Faults{Objects: []sim.Object{sim.BarePod("default", "planted-bare", "")}}
			},
		},
		{
			Fault: prove.Fault{
				Name: "single-replica", What: "a single replica without a budget",
				Expect: prove.Expect{Outcomes: noGo, Failed: bothOf("outage"), Names: []string{"pod/rehearse/canary-"}},
			},
			scenario: func(s *scenarios.Scenario) {
				s.Canary.Replicas, s.Canary.PodDisruptionBudget = 1, nil
				s.Canary.ShutdownDelay, s.Canary.GracePeriod = scenarios.D(0), scenarios.D(0)
				s.Thresholds.LongestOutage = scenarios.D(50 * time.Millisecond)
			},
		},
	}
}

func ofTheSystem() []fault {
	return []fault{
		{
			Fault: prove.Fault{
				Name: "lingering-pod", What: "a failed pod that lingers in kube-system",
				Expect: prove.Expect{Outcomes: notNoGo, Warned: []string{"lingering-pods"}, Names: []string{"kube-system/planted-failed"}},
			},
			plant: func(*stage) sim.Faults {
				return sim.Faults{Objects: []sim.Object{sim.FailedPod("kube-system", "planted-failed", "")}}
			},
		},
		{
			Fault: prove.Fault{
				Name: "coredns-gone", What: "CoreDNS gone after the upgrade",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"component/coredns", "dns"}, Names: []string{"coredns"}},
			},
			plant: func(s *stage) sim.Faults { return sim.Faults{DNSDown: s.during(settleBegins, 0, 0).on} },
		},
		{
			Fault: prove.Fault{
				Name: "kube-proxy-missing", What: "kube-proxy missing on one node",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"component/kube-proxy"}, Names: []string{"no ready pod on", chosen}},
			},
			plant: func(s *stage) sim.Faults {
				on := s.during(settleBegins, 0, 0).node(chosen)
				return sim.Faults{NoDaemon: func(ds, node string) bool { return ds == "kube-proxy" && on(node) }}
			},
		},
		{
			Fault: prove.Fault{
				Name: "flannel-crash-looping", What: "flannel crash-looping on one node",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"component/kube-flannel"}, Names: []string{chosen, "CrashLoopBackOff"}},
			},
			plant: func(s *stage) sim.Faults { return sim.Faults{OverlayDown: s.during(settleBegins, 0, 0).node(chosen)} },
		},
	}
}

func ofTheNetwork() []fault {
	return []fault{
		{
			Fault: prove.Fault{
				// A run long enough for chance to be told from the drain of its node.
				Name: "stale-endpointslice", What: "the canary's EndpointSlices are no longer kept",
				Expect: prove.Expect{Outcomes: noGo, Failed: bothOf("outage"), Names: []string{"pod/rehearse/canary-"}},
			},
			scenario: func(s *scenarios.Scenario) { s.Load.Settle = scenarios.D(60 * time.Second) },
			plant: func(s *stage) sim.Faults {
				w := s.during(upgradeBegins, 0, 0)
				return sim.Faults{StaleSlices: func(ns, service string) bool { return ns == "rehearse" && service == "canary" && w.on() }}
			},
		},
		{
			Fault: prove.Fault{
				Name: "balancer-keeps-node", What: "a balancer that keeps a node which is being replaced",
				Expect: prove.Expect{
					Outcomes: noGo, Failed: []string{"outage/new"}, Names: []string{"connections stood and were not answered"},
					// What was on its way to the node is lost when the balancer gives up dialing.
					Outage: &prove.Outage{Lanes: []string{scenarios.LaneNew}, Adds: 100 * time.Millisecond, Hides: 100 * time.Millisecond},
				},
			},
			plant: func(s *stage) sim.Faults {
				w := s.during(nodeSwapped, 0, 5*time.Second)
				on := w.node(chosen)
				return sim.Faults{NodeUnreachable: on, BalancerKeeps: func(node string) bool { return strings.HasSuffix(node, chosen) }}
			},
		},
	}
}

func ofTheRunner() []fault {
	return []fault{
		{
			Fault: prove.Fault{
				Name: "probe-dies", What: "a probe of the API that dies",
				Expect: prove.Expect{Outcomes: noAnswer, Rules: []string{"probe-data/api-new"}, Names: []string{"Probe api-new died"}},
			},
			dies: "api",
		},
		{
			Fault: prove.Fault{
				Name: "generator-stopped", What: "the load generator stopped for 2 s (SIGSTOP)",
				Expect: prove.Expect{Outcomes: noAnswer, Rules: []string{"unsent"}},
			},
			own: &ownProcess{stop: 2 * time.Second},
		},
		{
			Fault: prove.Fault{
				Name: "core-burnt", What: "a core burnt on the client during the upgrade", Alone: true,
				Expect: prove.Expect{Outcomes: notNoGo},
			},
			scenario: func(s *scenarios.Scenario) {
				slowed(s)
				s.Load.Baseline, s.Load.Settle = scenarios.D(34*time.Second), scenarios.D(3*time.Second)
			},
			own: &ownProcess{burn: 20 * time.Second},
		},
	}
}
