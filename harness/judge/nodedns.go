package judge

import (
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// dnsPrefix begins the name of the series of one node's DNS.
const dnsPrefix = "dns-"

func ofDNS(name string) bool { return strings.HasPrefix(name, dnsPrefix) }

// nodeDNS reports how DNS answered pods on one node, from when somebody watched it
// there to when nobody did any more; false where nobody did during the upgrade.
func (j *judgement) nodeDNS(p record.Probe) (Criterion, bool) {
	from, to := j.up.start(), j.up.end()
	var in []record.ProbeSample
	for _, s := range probeSamples(j.up.rec, p.Name) {
		if s.T >= from && s.T < to {
			in = append(in, s)
		}
	}
	if len(in) == 0 {
		return Criterion{}, false
	}
	limit := max(10*p.IntervalNS, 3*p.TimeoutNS)
	last := in[len(in)-1]
	ended := to-last.T > limit
	if ended {
		to = last.T + last.D + 1
	}
	a := j.up.observeWithin(p.Name, in, in[0].T, to)
	out := Criterion{
		ID: "probe/" + p.Name, Name: "DNS answered pods on " + strings.TrimPrefix(p.Name, dnsPrefix), Unit: "ratio",
		Estimate: ptr(a.est), Interval: bounds(a.low, a.high), Samples: Samples{Upgrade: uint64(a.samples)},
		Result: Reported, Explain: a.String() + ". Reported, not judged.",
	}
	for i := 1; i < len(in); i++ {
		if gap := in[i].T - in[i-1].T - in[i-1].D; gap > limit {
			out.Warnings = append(out.Warnings, fmt.Sprintf("%s was not watched for %s, from %s on.", p.Name, duration(float64(gap)), offset(in[i-1].T+in[i-1].D)))
		}
	}
	if ended && !j.removed(strings.TrimPrefix(p.Name, dnsPrefix)) {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%s was not watched from %s on, although its node stayed.", p.Name, offset(to)))
	}
	return out, true
}

// removed reports whether a node left the cluster and did not come back.
func (j *judgement) removed(node string) bool {
	gone := false
	for i := range j.up.rec.Events {
		if e := &j.up.rec.Events[i]; e.Subject == "node/"+node {
			switch e.Kind {
			case timeline.KindNodeRemoved:
				gone = true
			case timeline.KindNodeAdded:
				gone = false
			}
		}
	}
	return gone
}
