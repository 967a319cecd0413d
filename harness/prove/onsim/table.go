package onsim

import (
	"slices"
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
