package onsim

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// quick is the scale of rehearsals in which nothing depends on time.
const quick = 30

// chosen is the end of the name of the worker that faults of one node befall.
const chosen = "-worker2"

var (
	goOnly   = []judge.Outcome{judge.Go}
	noGo     = []judge.Outcome{judge.NoGo}
	notNoGo  = []judge.Outcome{judge.Go, judge.Inconclusive}
	noAnswer = []judge.Outcome{judge.Inconclusive}
)

// both are the lanes that every rehearsal here has.
var both = []string{scenarios.LaneNew, scenarios.LaneReused}

// bothOf names a criterion of both lanes.
func bothOf(kind string) []string { return []string{kind + "/" + both[0], kind + "/" + both[1]} }

// table is every fault, in the order in which it is shown.
func table() []fault {
	return slices.Concat(clean(), ofTheUpgrade(), ofTheWait(), ofTheAPI(), ofTheTraffic(), ofTheWorkload(), ofTheSystem(), ofTheNetwork(), ofTheRunner())
}

func clean() []fault {
	return []fault{
		{Fault: prove.Fault{Name: "clean", What: "nothing: a clean upgrade", Clean: true, Expect: prove.Expect{Outcomes: goOnly}}},
		{
			Fault:    prove.Fault{Name: "clean-ha", What: "nothing: a clean upgrade of three control planes", Clean: true, Expect: prove.Expect{Outcomes: goOnly}},
			scenario: highlyAvailable,
		},
	}
}

// highlyAvailable has three control planes. The simulation is ten times as fast
// as a real cluster and the probe's interval is not, so that each observation
// weighs ten times as much, and the limit must be as much wider.
func highlyAvailable(s *scenarios.Scenario) {
	s.Cluster.ControlPlanes = 3
	s.Thresholds.APIAvailability = scenarios.Percent{Ratio: 0.975}
}

func ofTheUpgrade() []fault {
	return []fault{
		{
			Fault: prove.Fault{
				Name: "nothing-changes", What: "an upgrade that reports success and changes nothing",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"upgrade"}, Names: []string{"its kubelet reports v1.34.4"}},
			},
			scenario: func(s *scenarios.Scenario) { s.Upgrade.ControlPlaneTimeout = scenarios.D(20 * time.Second) },
			scale:    quick,
			plant:    func(*stage) sim.Faults { return sim.Faults{UpgradeChangesNothing: true} },
		},
		{
			Fault: prove.Fault{
				Name: "node-left-old", What: "a node that falls back to the old version",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"versions"}, Names: []string{"kubelet v1.34.4 still runs on", chosen}},
			},
			plant: func(s *stage) sim.Faults { return sim.Faults{FallBack: s.during(settleBegins, 0, 0).node(chosen)} },
		},
		{
			Fault: prove.Fault{
				Name: "kubelet-newer", What: "a kubelet newer than its API server",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"upgrade", "ordering/kubelets"}, Names: []string{"its kubelet reports v1.99.0", chosen}},
			},
			plant: func(s *stage) sim.Faults {
				w := s.during(nodeSwapped, 0, 0)
				return sim.Faults{KubeletVersion: func(node string, to cluster.Version) cluster.Version {
					if w.node(chosen)(node) {
						return "v1.99.0"
					}
					return to
				}}
			},
		},
		{
			Fault: prove.Fault{
				Name: "kubelet-stopped", What: "a kubelet that stops after the upgrade",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"versions"}, Names: []string{"not Ready:", chosen}},
			},
			scenario: func(s *scenarios.Scenario) { s.Load.Settle = scenarios.D(8 * time.Second) },
			plant: func(s *stage) sim.Faults {
				return sim.Faults{KubeletStopped: s.during(settleBegins, 0, 0).node(chosen)}
			},
		},
	}
}

// ofTheWait are faults for which the upgrade waits, and must not wait for ever.
func ofTheWait() []fault {
	return []fault{
		{
			Fault: prove.Fault{
				Name: "node-stays-away", What: "a node whose kubelet does not come back",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"upgrade"}, Names: []string{chosen + " is not Ready at v1.35.4 after 20s", "look at its kubelet's log"}},
			},
			scenario: func(s *scenarios.Scenario) { s.Upgrade.NodeTimeout = scenarios.D(20 * time.Second) },
			plant: func(s *stage) sim.Faults {
				return sim.Faults{KubeletStopped: s.during(nodeSwapped, 0, 0).node(chosen)}
			},
		},
		{
			Fault: prove.Fault{
				Name: "add-on-never-ready", What: "an add-on that does not become ready again",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"upgrade"}, Names: []string{"the cluster was not healthy for", "kube-system/coredns"}},
			},
			scenario: func(s *scenarios.Scenario) { s.Upgrade.ValidationTimeout = scenarios.D(15 * time.Second) },
			plant:    func(s *stage) sim.Faults { return sim.Faults{DNSDown: s.during(upgradeBegins, 0, 0).on} },
		},
	}
}

func ofTheAPI() []fault {
	return []fault{
		{
			Fault: prove.Fault{
				Name: "planes-together", What: "control planes upgraded all at once instead of one at a time",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"api", "ordering/restarts"}, Names: []string{"All 3 API servers were away together"}},
			},
			// The default limit. A rolling upgrade loses nearly as much of the API's
			// time, in short pieces, as this one in a single one: see decision 0082.
			scenario: func(s *scenarios.Scenario) {
				highlyAvailable(s)
				s.Thresholds.APIAvailability = scenarios.Pct(scenarios.DefaultAPIAvailability)
			},
			plant: func(*stage) sim.Faults { return sim.Faults{PlanesTogether: true} },
		},
		{
			Fault: prove.Fault{
				Name: "api-servers-unready", What: "all API servers unready together for 3 s",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"api", "ordering/api-servers"}, Names: []string{"All 3 API servers were away together"}, Probe: &prove.Probe{Names: []string{"api-new", "api-reused"}, Adds: 2 * time.Second}},
			},
			scenario: highlyAvailable,
			plant: func(s *stage) sim.Faults {
				w := s.during(upgradeBegins, time.Second, 3*time.Second)
				return sim.Faults{APIDown: func(string) bool { return w.on() }}
			},
		},
	}
}

// unexplained is what an outage of the balancer itself must be called: no event
// in the cluster explains it.
const unexplained = "unattributed"

func blackout(name, length string, d time.Duration, change func(*scenarios.Scenario)) fault {
	return fault{
		Fault: prove.Fault{
			Name: name, What: "a blackout of " + length + " at the balancer",
			Expect: prove.Expect{
				Outcomes: noGo, Failed: bothOf("outage"), Names: []string{unexplained, "the balancer in front of the cluster is gone"},
				// Its port is bound again within 2 ms of the fault's end.
				Outage: &prove.Outage{Lanes: both, Adds: 10 * time.Millisecond},
			},
		},
		scenario: func(s *scenarios.Scenario) {
			s.Load.Settle = scenarios.D(d + 4*time.Second)
			if change != nil {
				change(s)
			}
		},
		plant: func(s *stage) sim.Faults {
			return sim.Faults{BalancerDown: s.during(settleBegins, 2*time.Second, d).on}
		},
	}
}

// response is a fault of single answers.
func response(w *window, which func(sim.Request) bool, e sim.Effect) func(sim.Request) sim.Effect {
	return func(r sim.Request) sim.Effect {
		if w.on() && which(r) {
			return e
		}
		return sim.Effect{}
	}
}

func oneIn(share float64) func(sim.Request) bool {
	return func(r sim.Request) bool { return r.Chance < share }
}

// slowed is the scenario of the latency faults: the canary takes 100 ms, beside
// which the delays of a busy machine are small, and each side has more than the
// 30 s that a comparison needs.
func slowed(s *scenarios.Scenario) {
	s.Canary.Latency = scenarios.D(100 * time.Millisecond)
	s.Load.Baseline, s.Load.Settle = scenarios.D(44*time.Second), scenarios.D(14*time.Second)
	s.Thresholds.P50Increase, s.Thresholds.P99Increase = scenarios.Pct(10), scenarios.Pct(25)
}

func ofTheTraffic() []fault {
	return []fault{
		blackout("blackout-50ms", "50 ms", 50*time.Millisecond, func(s *scenarios.Scenario) {
			s.Load.Rate, s.Thresholds.LongestOutage = 200, scenarios.D(20*time.Millisecond)
		}),
		blackout("blackout-300ms", "300 ms", 300*time.Millisecond, func(s *scenarios.Scenario) {
			s.Load.Rate, s.Thresholds.LongestOutage = 100, scenarios.D(100*time.Millisecond)
		}),
		blackout("blackout-1s", "1 s", time.Second, nil),
		blackout("blackout-5s", "5 s", 5*time.Second, nil),
		{
			Fault: prove.Fault{
				Name: "errors-5-percent", What: "503 for 5% of the requests, for 30 s",
				Expect: prove.Expect{
					Outcomes: noGo, Failed: slices.Concat(bothOf("success"), bothOf("errors"), bothOf("outage")),
					Names: []string{"the balancer had no endpoint to send to, or the server was failing"},
					// At 5% of 100 a second, a whole second are spared in one of 170.
					Outage: &prove.Outage{Lanes: both, Hides: 1500 * time.Millisecond},
				},
			},
			scenario: func(s *scenarios.Scenario) { s.Load.Rate, s.Load.Settle = 100, scenarios.D(5*time.Second) },
			plant: func(s *stage) sim.Faults {
				return sim.Faults{Response: response(s.during(upgradeBegins, 2*time.Second, 30*time.Second), oneIn(0.05), sim.Effect{Status: http.StatusServiceUnavailable})}
			},
		},
		{
			Fault: prove.Fault{
				Name: "resets-on-reused", What: "resets on reused connections alone, for 3 s",
				Expect: prove.Expect{
					Outcomes: noGo, Failed: []string{"outage/reused", "success/reused"}, Spared: []string{"*/new"},
					Names:  []string{unexplained, "connections were cut, and only those that are kept"},
					Outage: &prove.Outage{Lanes: []string{scenarios.LaneReused}, Hides: 100 * time.Millisecond},
				},
			},
			scenario: func(s *scenarios.Scenario) { s.Load.Settle = scenarios.D(6 * time.Second) },
			plant: func(s *stage) sim.Faults {
				return sim.Faults{Response: response(s.during(settleBegins, 2*time.Second, 3*time.Second), func(r sim.Request) bool { return r.Reused }, sim.Effect{Reset: true})}
			},
		},
		{
			Fault: prove.Fault{
				Name: "truncated-bodies", What: "half of the answers truncated, for 3 s",
				Expect: prove.Expect{
					Outcomes: noGo, Failed: slices.Concat(bothOf("outage"), bothOf("success")), Names: []string{unexplained, "answers were cut"},
					Outage: &prove.Outage{Lanes: both, Hides: 200 * time.Millisecond},
				},
			},
			scenario: func(s *scenarios.Scenario) { s.Load.Settle = scenarios.D(6 * time.Second) },
			plant: func(s *stage) sim.Faults {
				return sim.Faults{Response: response(s.during(settleBegins, 2*time.Second, 3*time.Second), oneIn(0.5), sim.Effect{Truncate: true})}
			},
		},
		{
			Fault: prove.Fault{
				Name: "slower-by-quarter", What: "every answer 25% slower (p50 +25%)",
				Expect: prove.Expect{Outcomes: noGo, Failed: bothOf("p50"), Names: []string{"p50 went from"}, Growth: &prove.Growth{Truth: 0.25, Within: 0.08}},
			},
			scenario: func(s *scenarios.Scenario) { slowed(s); s.Thresholds.P99Increase = scenarios.Percent{Off: true} },
			plant: func(s *stage) sim.Faults {
				return sim.Faults{Response: response(s.during(upgradeBegins, 0, 0), oneIn(1), sim.Effect{Delay: 25 * time.Millisecond})}
			},
		},
		{
			Fault: prove.Fault{
				Name: "longer-tail", What: "one answer in twenty half as slow again (p99 × 1.5)",
				Expect: prove.Expect{
					Outcomes: noGo, Failed: bothOf("p99"), Spared: bothOf("p50"), Names: []string{"p99 went from"},
					Growth: &prove.Growth{Truth: 0.5, Within: 0.2},
				},
			},
			scenario: slowed,
			plant: func(s *stage) sim.Faults {
				return sim.Faults{Response: response(s.during(upgradeBegins, 0, 0), oneIn(0.05), sim.Effect{Delay: 75 * time.Millisecond})}
			},
		},
	}
}

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
