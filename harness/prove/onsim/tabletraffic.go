package onsim

import (
	"net/http"
	"slices"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/scenarios"
)

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
