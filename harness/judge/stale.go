package judge

import (
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// staleEndpoints warns of pods of the canary whose endpoint was still there long
// after they had begun to end: requests went on to them, and a pod that serves for
// a while after SIGTERM may not have served for that long. Whether any was lost by
// it is the criteria's business; why it came about is worth knowing in any case.
func (j *judgement) staleEndpoints() {
	target := j.up.targetNamespace()
	if target == "" {
		return
	}
	ending := map[string]int64{}
	worst, longest, others := "", endpointLag, 0
	for i := range j.up.rec.Events {
		e := &j.up.rec.Events[i]
		pod := podOf(e)
		if e.T < j.up.start() || e.T >= j.up.end() || !strings.HasPrefix(pod, target+"/") {
			continue
		}
		began, known := ending[pod]
		switch {
		case e.Kind == timeline.KindPodTerminating && !known:
			ending[pod] = e.T
		case e.Kind == timeline.KindEndpointRemoved && known:
			lag := e.T - began - int64(e.Gap()) // within a gap it may have gone at once
			if lag <= endpointLag {
				continue
			}
			if worst != "" {
				others++
			}
			if lag > longest {
				worst, longest = fmt.Sprintf("Pod %s, which began to end %s, was still an endpoint of its Service %s later", pod, at(began), duration(float64(lag))), lag
			}
		}
	}
	if worst == "" {
		return
	}
	if others > 0 {
		worst += fmt.Sprintf(" (and %s more than %s)", english.Count(others, "other"), duration(float64(endpointLag)))
	}
	j.warnings = append(j.warnings, worst+": what removes endpoints, the kube-controller-manager, was away or busy, and requests went on to a pod that was ending. Wait until it leads again before the next node is drained.")
}
