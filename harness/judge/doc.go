// Package judge turns a record into a verdict. It is pure: no files, no
// clocks, no cluster, no randomness that is not seeded by the record, so that
// the same record always gives the same verdict, byte for byte.
//
// # What is judged
//
// An upgrade is held against a baseline of the same load: the phase baseline
// against the phases upgrade and settle of one record ([Judge]), or one record
// against another ([Compare]). Each criterion passes, fails or stays
// inconclusive by itself:
//
//   - the longest outage window of a lane, found by two CUSUMs (Page 1954, with
//     the increments and the threshold of Wald 1947) and a run of failures, with
//     a lower and an upper bound;
//   - the share of requests served, by the score bounds of Wilson (1927);
//   - the increase of the error rate, by method 10 of Newcombe (1998), counts
//     divided by the baseline's overdispersion (McCullagh and Nelder 1989);
//   - the growth of a latency quantile, by a bootstrap of blocks of seconds
//     (Künsch 1989; Politis and Romano 1994);
//   - the versions that the nodes run, the system components, and the
//     availability of the API.
//
// The statistical criteria are corrected for their number by the procedure of
// Holm (1979): the chance that any of them fails without cause is 5% at most, and measured
// to be far less (docs/benchmarks.md).
//
// # What is believed
//
// The measurement is judged first. Seconds in which the runner was late, slots
// were not sent, or the control lane outside the cluster suffered as well are
// not used for what they spoil, and what fails while the runner is overloaded is
// not used at all. A criterion fails only on usable evidence; any
// failed criterion makes the verdict NO-GO; otherwise too little evidence makes
// it INCONCLUSIVE; otherwise it is GO. docs/decisions/0041 has the table.
//
// # Files
//
// judge.go holds the order of things and the precedence. evidence.go, flaws.go
// and validity.go say what is known and what of it counts; outage.go finds
// outages and outages.go describes them; overload.go says when the runner itself
// was overloaded; attribution.go and scene.go say what explains an outage
// (docs/decisions/0043); lanecriteria.go, latency.go,
// versions.go, components.go, api.go and upgrade.go each judge one kind of
// criterion; stats.go and bootstrap.go hold the formulas, with their sources.
package judge
