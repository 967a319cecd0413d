package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// apiPrefix begins the names of the series that probe the API: "api-new" and
// "api-reused" for its common address, "api-NODE-new" for single servers.
const apiPrefix = "api-"

// downtime is a stretch in which every observation of a probe failed.
type downtime struct {
	start        int64 // first failed observation
	lower, upper int64 // first to last failed, and good to the next answer, ns
	failed       int
}

// availability is what one probe saw during the upgrade.
type availability struct {
	name     string
	samples  int
	ok       int
	downs    []downtime
	span     int64 // ns observed
	low, est float64
	high     float64
}

// observe sums up a probe's observations on a side. Availability is a share
// of time, not of observations: a probe that waits for its timeout observes
// less often while the API is away. Its bounds are those of the downtimes.
func (s *side) observe(name string, samples []record.ProbeSample) availability {
	return s.observeWithin(name, samples, s.start(), s.end())
}

// observeWithin is observe of what began after the side or ended before it, as
// with a node.
func (s *side) observeWithin(name string, samples []record.ProbeSample, from, to int64) availability {
	a := availability{name: name}
	in := samplesIn(samples, from, to)
	a.samples = len(in)
	if len(in) == 0 {
		return a
	}
	a.span = max(1, to-in[0].T)
	var lower, upper, mid float64
	for i := 0; i < len(in); i++ {
		if in[i].OK {
			a.ok++
			continue
		}
		k := i
		for k+1 < len(in) && !in[k+1].OK {
			k++
		}
		d := downtime{start: in[i].T, lower: in[k].T + in[k].Held() - in[i].T, failed: k - i + 1}
		before, after := from, to
		if i > 0 {
			before = in[i-1].T
		}
		if k+1 < len(in) {
			after = min(to, in[k+1].T+in[k+1].D) // it was away until the answer came
		}
		d.upper = after - before
		a.downs = append(a.downs, d)
		var certain int64 // outside seconds in which the runner was overloaded
		for _, p := range s.witnessed(d.start, d.start+d.lower) {
			certain += p.End - p.Start
		}
		lower, upper, mid = lower+float64(certain), upper+float64(d.upper), mid+float64(after-in[i].T)
		i = k
	}
	total := float64(a.span)
	a.low, a.est, a.high = max(0, 1-upper/total), max(0, 1-mid/total), 1-lower/total
	return a
}

// samplesIn returns the samples that began in [from, to): a part of samples,
// unless those are not in order of time. It must not be changed.
func samplesIn(samples []record.ProbeSample, from, to int64) []record.ProbeSample {
	outside := func(x record.ProbeSample) bool { return x.T < from || x.T >= to }
	inside := func(x record.ProbeSample) bool { return !outside(x) }
	first := slices.IndexFunc(samples, inside)
	if first < 0 {
		return nil
	}
	rest := samples[first:]
	end := slices.IndexFunc(rest, outside)
	if end < 0 {
		return rest
	}
	if !slices.ContainsFunc(rest[end:], inside) {
		return rest[:end]
	}
	return slices.DeleteFunc(slices.Clone(rest), outside)
}

// longest returns the longest downtime, by its lower and then its upper bound.
func (a *availability) longest() (d downtime, ok bool) {
	for _, x := range a.downs {
		if !ok || x.lower > d.lower || x.lower == d.lower && x.upper > d.upper {
			d, ok = x, true
		}
	}
	return d, ok
}

func (a *availability) String() string {
	s := fmt.Sprintf("%s answered %s of %s observations and was available %s of the time", a.name, english.Number(uint64(a.ok)), english.Number(uint64(a.samples)), share(a.est))
	if d, ok := a.longest(); ok {
		s += fmt.Sprintf(", away for at most %s in one piece, %s", duration(float64(d.upper)), at(d.start))
	}
	return s
}

// judgeAPI judges the availability of the API at its common address, on new and
// on reused connections, by the worse of the two. Single servers go away while
// they are replaced; they are shown as warnings.
func (j *judgement) judgeAPI(c scenarios.Criterion) Criterion {
	out := Criterion{ID: c.ID, Name: "The API server answered", Unit: "ratio", Threshold: ptr(c.Limit)}
	r := j.up.rec
	var worst *availability
	var all []availability
	for _, p := range r.Run.Probes {
		if !ofServer(p.Name) {
			continue
		}
		a := j.up.observe(p.Name, probeSamples(r, p.Name))
		if a.samples == 0 {
			if common(p.Name) {
				return undecided(out, fmt.Sprintf("Probe %s recorded nothing during the upgrade.", p.Name))
			}
			continue
		}
		all = append(all, a)
	}
	for i := range all {
		a := &all[i]
		if common(a.name) {
			out.Samples.Upgrade += uint64(a.samples)
			if worst == nil || a.est < worst.est {
				worst = a
			}
		} else if len(a.downs) > 0 {
			out.Warnings = append(out.Warnings, a.String()+".")
		}
	}
	if worst == nil {
		if j.compare && !slices.ContainsFunc(r.Run.Probes, func(p record.Probe) bool { return ofServer(p.Name) }) {
			out.Result, out.Explain = Reported, "The API was not probed, so its availability is not judged."
			return out
		}
		return undecided(out, "The record has no probe of the API.")
	}
	for i := range all {
		if a := &all[i]; a != worst && common(a.name) && len(a.downs) > 0 {
			out.Warnings = append(out.Warnings, a.String()+".")
		}
	}
	out.Estimate, out.Interval = ptr(worst.est), bounds(worst.low, worst.high)
	required := share(c.Limit) + " is required"
	switch {
	case worst.high < c.Limit:
		out.Result, out.Explain = Fail, fmt.Sprintf("%s; %s.%s", worst, required, whichServers(worst, all))
	case worst.low < c.Limit:
		undecidedf(&out, "%s, which is between %s and %s: too coarse to tell from the %s required.", worst, share(worst.low), share(worst.high), share(c.Limit))
	default:
		out.Result, out.Explain = Pass, fmt.Sprintf("%s; %s.", worst, required)
	}
	return out
}

// whichServers says, as a sentence, what the single API servers did in the
// longest downtime of their common address, where they were probed.
func whichServers(common *availability, all []availability) string {
	d, ok := common.longest()
	if !ok {
		return ""
	}
	away := map[string]bool{} // by server, over its probes
	for i := range all {
		rest, single := strings.CutPrefix(all[i].name, apiPrefix)
		at := strings.LastIndex(rest, "-")
		if !single || at < 0 {
			continue // "new" and "reused" themselves
		}
		server := rest[:at]
		away[server] = away[server] || slices.ContainsFunc(all[i].downs, func(x downtime) bool {
			return x.start <= d.start+d.lower && x.start+x.upper >= d.start
		})
	}
	n := 0
	for _, gone := range away {
		if gone {
			n++
		}
	}
	switch {
	case len(away) == 0:
		return ""
	case n == 0:
		return " No single API server was away then: what is in front of them was."
	case n == len(away) && n > 1:
		return fmt.Sprintf(" All %d API servers were away together.", n)
	case n == len(away):
		return ""
	}
	return fmt.Sprintf(" %d of %d API servers were away then.", n, len(away))
}

// otherProbes reports what the probes saw that no criterion judges.
func (j *judgement) otherProbes() []Criterion {
	r := j.up.rec
	var out []Criterion
	for _, p := range r.Run.Probes {
		if ofServer(p.Name) || p.Name == writerProbe {
			continue
		}
		if ofDNS(p.Name) {
			if c, ok := j.nodeDNS(p); ok {
				out = append(out, c)
			}
			continue
		}
		a := j.up.observe(p.Name, probeSamples(r, p.Name))
		if a.samples == 0 {
			continue // a validity rule says so
		}
		out = append(out, Criterion{
			ID: "probe/" + p.Name, Name: "Probe " + p.Name + " was answered", Unit: "ratio",
			Estimate: ptr(a.est), Interval: bounds(a.low, a.high), Samples: Samples{Upgrade: uint64(a.samples)},
			Result: Reported, Explain: a.String() + ". Reported, not judged.",
		})
	}
	return out
}

// ofServer reports whether a series asks API servers whether they answer.
func ofServer(name string) bool {
	return strings.HasPrefix(name, apiPrefix) && (strings.HasSuffix(name, "-new") || strings.HasSuffix(name, "-reused"))
}

// common reports whether a series goes to the API's common address.
func common(name string) bool { return name == apiPrefix+"new" || name == apiPrefix+"reused" }
