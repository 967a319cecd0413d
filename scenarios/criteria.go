package scenarios

// CriterionKind says what a criterion looks at.
type CriterionKind string

// Kinds of criteria.
const (
	KindSuccessRate     CriterionKind = "success-rate"   // least share served over the upgrade
	KindErrorIncrease   CriterionKind = "error-increase" // against the baseline
	KindOutage          CriterionKind = "outage"         // longest outage window
	KindReconnects      CriterionKind = "reconnects"     // of a stream, outside planned drains
	KindLatency         CriterionKind = "latency"        // quantile against the baseline
	KindComponents      CriterionKind = "component"      // system component healthy after
	KindVersions        CriterionKind = "versions"       // the upgrade landed on every node
	KindAPIAvailability CriterionKind = "api"            // API probes answered
)

// Criterion is one thing to judge, with its limit; package judge says how, with
// the formulas' sources. A record's scenario gives
// the list; thresholds given anew give another.
type Criterion struct {
	ID       string // as verdict.json spells it: "outage/new", "p99/reused", "component/coredns"
	Kind     CriterionKind
	Lane     string  // for criteria of a lane
	Quantile float64 // for latency: 0.5 or 0.99
	// Limit is a share of one for rates, a relative growth for latency, and
	// nanoseconds for outages, a number for reconnects. A negative limit stands
	// for "off".
	Limit float64
	// Floor is the absolute growth of latency, in nanoseconds, below which
	// growth is never a failure.
	Floor float64
	// Component is the name of the system component.
	Component string
	// Required criteria decide the verdict: they fail it, or make it INCONCLUSIVE
	// when they lack evidence. The others are measured and reported.
	Required bool
}

// Criteria returns what the scenario wants judged, in a fixed order: versions,
// then each lane's outage, success rate, error increase and latencies (of a stream
// outage and reconnects), then the API, then each system component.
func (s *Scenario) Criteria() []Criterion {
	out := []Criterion{{ID: "versions", Kind: KindVersions, Required: true}}
	out = append(out, s.Thresholds.LaneCriteria(s.Load.Lanes)...)
	out = append(out, Criterion{ID: "api", Kind: KindAPIAvailability, Limit: s.Thresholds.APIAvailability.limit(), Required: !s.Thresholds.APIAvailability.Off})
	for _, c := range s.Checks.SystemComponents {
		out = append(out, Criterion{ID: "component/" + c, Kind: KindComponents, Component: c, Required: true})
	}
	return out
}

// LaneCriteria returns what is judged of each of the lanes: outage, success
// rate, error increase and latencies. Of LaneStream it is outage and reconnects:
// each planned drain rightly ends its answer and costs it a line, and how long a
// line is waited for says nothing of the service.
func (t *Thresholds) LaneCriteria(lanes []string) []Criterion {
	var out []Criterion
	for _, lane := range lanes {
		if lane == LaneStream {
			out = append(out,
				Criterion{ID: "outage/" + lane, Kind: KindOutage, Lane: lane, Limit: float64(t.LongestOutage.Duration), Required: true},
				Criterion{ID: "reconnects/" + lane, Kind: KindReconnects, Lane: lane, Limit: 0, Required: true},
			)
			continue
		}
		out = append(out,
			Criterion{ID: "outage/" + lane, Kind: KindOutage, Lane: lane, Limit: float64(t.LongestOutage.Duration), Required: true},
			Criterion{ID: "success/" + lane, Kind: KindSuccessRate, Lane: lane, Limit: t.SuccessRate.limit(), Required: !t.SuccessRate.Off},
			Criterion{ID: "errors/" + lane, Kind: KindErrorIncrease, Lane: lane, Limit: t.ErrorIncrease.limit(), Required: !t.ErrorIncrease.Off},
			Criterion{ID: "p50/" + lane, Kind: KindLatency, Lane: lane, Quantile: 0.5, Limit: t.P50Increase.limit(), Floor: float64(t.LatencyFloor.Duration), Required: !t.P50Increase.Off},
			Criterion{ID: "p99/" + lane, Kind: KindLatency, Lane: lane, Quantile: 0.99, Limit: t.P99Increase.limit(), Floor: float64(t.LatencyFloor.Duration), Required: !t.P99Increase.Off},
		)
	}
	return out
}

// limit is the share as a criterion's limit: negative where it is off.
func (p Percent) limit() float64 {
	if p.Off {
		return -1
	}
	return p.Ratio
}
