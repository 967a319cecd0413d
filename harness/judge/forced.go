package judge

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// forced returns the pods that had to be helped off their nodes, in the order in
// which they were, with a warning for each time.
func (j *judgement) forced() (pods, warnings []string) {
	seen := map[string]bool{}
	for i := range j.up.rec.Events {
		e := &j.up.rec.Events[i]
		if e.Kind != timeline.KindPodForced {
			continue
		}
		pod := podOf(e)
		if !seen[pod] {
			seen[pod] = true
			pods = append(pods, pod)
		}
		warnings = append(warnings, fmt.Sprintf("Pod %s was %s %s (onStall: %s): %s", pod, e.Detail["what"], at(e.T), e.Detail["action"], sentence(e.Detail["why"])))
	}
	return pods, warnings
}

// byForce says what an upgrade that passed took, beside evictions.
func (j *judgement) byForce() string {
	pods, _ := j.forced()
	if len(pods) == 0 {
		return ""
	}
	return fmt.Sprintf(" The upgrade needed force: %s did not leave by eviction, and production's would not either (%s).", english.Count(len(pods), "pod"), enumerate(pods))
}
