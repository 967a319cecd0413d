package judge

// Outcome is the verdict's word.
type Outcome string

// The three verdicts.
const (
	Go           Outcome = "GO"
	NoGo         Outcome = "NO-GO"
	Inconclusive Outcome = "INCONCLUSIVE"
)

// Result is the outcome of one criterion.
type Result string

// Results of criteria and of validity rules.
const (
	Pass      Result = "pass"
	Fail      Result = "fail"
	Undecided Result = "inconclusive" // not enough usable evidence
	Reported  Result = "reported"     // measured and shown, not judged
)

// Verdict is verdict.json: every part of it can be recomputed from the record.
type Verdict struct {
	Format  int     `json:"format"` // FormatVersion
	Outcome Outcome `json:"outcome"`
	// Summary says in one or two sentences why.
	Summary string `json:"summary"`
	// Simulated is true where the embedded cluster was rehearsed, or a record was
	// made up for a test.
	Simulated bool        `json:"simulated"`
	Criteria  []Criterion `json:"criteria"` // in the order of the scenario's, the judge's own beside them
	Validity  []Validity  `json:"validity"`
	// Outages of the baseline and the upgrade by lane, then in order of Start. A
	// stall shorter than the resolution after the runner's own lag is judged and
	// not listed.
	Outages    []Outage     `json:"outages"`
	Resolution []Resolution `json:"resolution"` // one a lane, without control
	Lanes      []LaneSum    `json:"lanes"`
	// Ledger gives every lost and every slow request a cause, or says that it has
	// none.
	Ledger   Ledger   `json:"ledger"`
	Warnings []string `json:"warnings,omitempty"`
}

// Criterion is one thing judged. What its numbers are depends on the ID:
//
//	outage/LANE       ms         the longest outage: no sample, so Interval is what was certainly and what was possibly away
//	success/LANE      ratio      requests served, with Wilson's bounds (1927); PValue by the score test
//	errors/LANE       ratio      increase of the error rate, with Newcombe's bounds (1998, method 10); PValue where the lower one is the limit
//	pNN/LANE          ratio      growth of a quantile, with bounds of a bootstrap of 2,000 draws of blocks (Künsch 1989; Politis and Romano 1994)
//	api, probe/NAME   ratio      share of the time that a probe was answered, with bounds as for outages
//
//	reconnects/LANE   a count    answers of a stream that ended outside planned drains
//
// The others have no numbers. Holm's procedure (1979) decides, at 5% together,
// which of the criteria with a PValue may fail.
type Criterion struct {
	// ID as the scenario's criteria spell it: "outage/new", "p99/reused",
	// "component/coredns", ... The judge adds "upgrade", "apiservices", "dns",
	// "lingering-pods", "ordering/RULE" (or "ordering") and "probe/NAME" where the record has what they look at.
	ID   string `json:"id"`
	Name string `json:"name"`           // for people
	Lane string `json:"lane,omitempty"` // empty where it is about no lane
	// Unit of Estimate, Interval and Threshold: "ratio" (1 is 100%), "ms", or ""
	// where there is no number.
	Unit string `json:"unit,omitempty"`
	// Threshold is the limit, nil where it is off; Estimate what was found, nil
	// where there was too little to say.
	Threshold *float64 `json:"threshold,omitempty"`
	Estimate  *float64 `json:"estimate,omitempty"`
	// Interval holds the one-sided 95% bounds, lower and upper; for outages and
	// for availability, which are no samples, what was certainly and what was
	// possibly away.
	Interval *[2]float64 `json:"interval,omitempty"`
	// PValue is that of "the limit is kept", before Holm's correction; nil where
	// the criterion is no statistical test.
	PValue  *float64 `json:"pValue,omitempty"`
	Samples Samples  `json:"samples"`
	Result  Result   `json:"result"`
	// Explain says in one sentence what was found, with the numbers.
	Explain  string   `json:"explain"`
	Warnings []string `json:"warnings,omitempty"`
}

// Samples counts the evidence that a criterion rests on: requests, observations
// or, for the cluster's criteria, pods, nodes and steps.
type Samples struct {
	Baseline uint64 `json:"baseline"`
	Upgrade  uint64 `json:"upgrade"`
	// Unusable counts samples left out because a validity rule failed there.
	Unusable uint64 `json:"unusable,omitempty"`
}

// Validity is one rule about the measurement itself.
type Validity struct {
	// Rule is one of run-complete, damage, phases, interruptions (where there was
	// any), upgrade-observed, lane-data,
	// achieved-rate, unsent, send-lag, control-lane, overload (where there was
	// any) and probe-data/NAME.
	Rule string `json:"rule"`
	Lane string `json:"lane,omitempty"`
	// Value and Limit are in Unit: "ms", "s", "ratio", or "" for a count.
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Unit  string  `json:"unit"`
	// Result is pass, fail, or reported where the rule cannot be applied.
	Result Result `json:"result"`
	// Unusable are the stretches in which the rule failed, ns from the run's start.
	Unusable []Stretch `json:"unusable,omitempty"`
	Explain  string    `json:"explain"`
}

// Stretch is a half-open interval of the run in nanoseconds from its start.
type Stretch struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Outage is a stretch in which a lane could not be served: a burst of failures
// that a CUSUM (Page 1954) or a run of failures raises an alarm for, or a stall.
type Outage struct {
	Lane string `json:"lane"`
	// Start and End are the due times of the first and the last request that was
	// not served, ns from the run's start.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// LowerNS is End - Start, less the runner's own send lag in a stall; UpperNS
	// is next good send minus previous good send; both in nanoseconds.
	LowerNS int64 `json:"lowerNS"`
	UpperNS int64 `json:"upperNS"`
	// Failed of the Sent requests due in it failed; where it is a stall, none.
	Failed uint64 `json:"failed"`
	Sent   uint64 `json:"sent"`
	// Classes counts the requests by what became of them; "stalled" are those
	// that were answered, but only after a stretch in which nothing was.
	Classes map[string]uint64 `json:"classes"`
	// Phase in which it began, and the events of the timeline close to it, at most
	// six, those first that explain it best.
	Phase  string   `json:"phase"`
	Nearby []string `json:"nearby,omitempty"`
	// Cause names the event that explains the outage and what its failures mean,
	// or begins with "unattributed".
	Cause string `json:"cause,omitempty"`
	// Open is true where the lane was still not served when the load ended: then
	// there is no upper bound.
	Open bool `json:"open,omitempty"`
	// Usable is false where the outage is no evidence against the target: the
	// control lane suffered as well, or the runner was far behind or overloaded.
	Usable bool `json:"usable"`

	// minor is a stall so short, less the runner's own lag, that it is judged
	// and not listed.
	minor bool
	// sureNS is what of LowerNS rests on usable evidence.
	sureNS int64
	// overload is true where none of it is: the runner was overloaded.
	overload bool
	// blame is what explains it, nil where it was not asked.
	blame *blame
	// grainNS is by how much Start may be too early: a second, where only a window
	// tells it.
	grainNS int64
}

// Resolution says what the measurement of one lane could have seen.
type Resolution struct {
	Lane string `json:"lane"`
	// OutageMS: an outage of this many milliseconds or more would have been seen.
	// It is as long as the run of failures that raises an alarm, at least 50 ms, or
	// the longest stretch without evidence.
	OutageMS float64 `json:"outageMS"`
	// ErrorRate is the 95% upper bound of the error rate over the upgrade, as a
	// share of requests: Wilson's (1927), or ln(20)/n where none of n failed, the
	// rule of three (Hanley and Lippman-Hand 1983).
	ErrorRate float64 `json:"errorRate"`
	Explain   string  `json:"explain"`
}

// LaneSum sums a lane up for the reports: one entry a lane and phase, over every
// second of it, usable or not. Due counts the slots of the phase; Sent of them were
// sent and Unsent not, and Failed of those sent failed. Latencies, in milliseconds,
// are those of answered requests, counted from when they were due, by nearest rank
// and within 0.1%.
type LaneSum struct {
	Lane   string  `json:"lane"`
	Phase  string  `json:"phase"`
	Due    uint64  `json:"due"`
	Sent   uint64  `json:"sent"`
	Failed uint64  `json:"failed"`
	Unsent uint64  `json:"unsent"`
	P50MS  float64 `json:"p50MS"`
	P90MS  float64 `json:"p90MS"`
	P99MS  float64 `json:"p99MS"`
	P999MS float64 `json:"p999MS"`
	MaxMS  float64 `json:"maxMS"`
	// Classes counts the failed requests by class; absent when none failed.
	Classes map[string]uint64 `json:"classes,omitempty"`
}
