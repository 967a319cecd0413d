package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

const (
	// writerProbe creates, reads back and deletes an object each second.
	writerProbe = "api-writer"
	// lostWrite begins the error of an observation that missed what was confirmed.
	lostWrite = "lost write: "
)

// judgeWriter judges the writes, where the record has any: one that was confirmed
// and lost fails whatever the thresholds, and otherwise the API's availability is
// asked of them as well. A write a second is coarse: what lies between the bounds
// is shown and not judged, for the API's own criterion is four times as fine.
func (j *judgement) judgeWriter(criteria []scenarios.Criterion) (Criterion, bool) {
	r := j.up.rec
	if !slices.ContainsFunc(r.Run.Probes, func(p record.Probe) bool { return p.Name == writerProbe }) {
		return Criterion{}, false
	}
	out := Criterion{ID: writerProbe, Name: "What was written is there", Unit: "ratio"}
	samples := probeSamples(r, writerProbe)
	a := j.up.observe(writerProbe, samples)
	if a.samples == 0 {
		return undecided(out, fmt.Sprintf("Probe %s recorded nothing during the upgrade.", writerProbe)), true
	}
	out.Estimate, out.Interval, out.Samples.Upgrade = ptr(a.est), bounds(a.low, a.high), uint64(a.samples)
	for i := range samples {
		if s := &samples[i]; strings.HasPrefix(s.Error, lostWrite) && s.T >= j.up.start() && s.T < j.up.end() {
			out.Result = Fail
			out.Explain = fmt.Sprintf("A write that the API had confirmed was lost, %s: %s", at(s.T), sentence(strings.TrimPrefix(s.Error, lostWrite)))
			return out, true
		}
	}
	limit := -1.0
	for _, c := range criteria {
		if c.Kind == scenarios.KindAPIAvailability && c.Required {
			limit = c.Limit
		}
	}
	if limit >= 0 {
		out.Threshold = ptr(limit)
	}
	switch {
	case limit < 0:
		out.Result, out.Explain = Reported, fmt.Sprintf("%s, and no write was lost. Reported, not judged.", &a)
	case a.high < limit:
		out.Result, out.Explain = Fail, fmt.Sprintf("%s; %s is required.", &a, share(limit))
	case a.low < limit:
		out.Result, out.Explain = Reported, fmt.Sprintf("%s, and no write was lost. A write a second is too coarse to tell that from the %s required.", &a, share(limit))
	default:
		out.Result, out.Explain = Pass, fmt.Sprintf("%s, and no write was lost; %s is required.", &a, share(limit))
	}
	return out, true
}
