package judge

import (
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// stale is a pod of the canary whose endpoint was still there long after it had
// begun to end: requests went on to it, and a pod that serves for a while after
// SIGTERM may not have served for that long.
type stale struct {
	pod            string // NAMESPACE/NAME
	began, removed int64
	lag            int64 // from one to the other, without what a watch was away
}

func (x *stale) String() string {
	return fmt.Sprintf("pod %s, which began to end %s, was still an endpoint of its Service", x.pod, at(x.began))
}

// staleEndpoints returns those of the side, in order of their removal.
func (s *side) staleEndpoints() []stale {
	target := s.targetNamespace()
	if target == "" || len(s.phases) == 0 {
		return nil
	}
	ending := map[string]int64{}
	var out []stale
	for i := range s.rec.Events {
		e := &s.rec.Events[i]
		pod := podOf(e)
		if e.T < s.start() || e.T >= s.end() || !strings.HasPrefix(pod, target+"/") {
			continue
		}
		began, known := ending[pod]
		switch {
		case e.Kind == timeline.KindPodTerminating && !known:
			ending[pod] = e.T
		case e.Kind == timeline.KindEndpointRemoved && known:
			// Within a gap of the watch it may have gone at once.
			if lag := e.T - began - int64(e.Gap()); lag > endpointLag {
				out = append(out, stale{pod, began, e.T, lag})
			}
		}
	}
	return out
}

// warnOfStaleEndpoints tells of the one that stayed longest. Whether requests were
// lost by it is the criteria's business; that it came about is worth knowing in any
// case.
func (j *judgement) warnOfStaleEndpoints() {
	all := j.up.staleEndpoints()
	if len(all) == 0 {
		return
	}
	worst := &all[0]
	for i := range all {
		if all[i].lag > worst.lag {
			worst = &all[i]
		}
	}
	others := ""
	if n := len(all) - 1; n > 0 {
		others = fmt.Sprintf(" (and %s more than %s)", english.Count(n, "other"), duration(float64(endpointLag)))
	}
	j.warnings = append(j.warnings, fmt.Sprintf("%s %s later%s: what removes endpoints, the kube-controller-manager, was away or busy, and requests went on to a pod that was ending. Wait until it leads again before the next node is drained.",
		english.Capital(worst.String()), duration(float64(worst.lag)), others))
}

// meanwhile says, as the rest of a sentence about an outage that no event explains,
// that an endpoint was stale then: a state lasts, and no moment of it lies close.
func (s *scene) meanwhile(o *Outage) string {
	switch o.mostly() {
	case apiAway, record.DNS.String():
		return ""
	}
	for i := range s.stale {
		if x := &s.stale[i]; o.Start <= x.removed+podBeforeRoute && o.End >= x.began {
			return "; meanwhile " + x.String()
		}
	}
	return ""
}
