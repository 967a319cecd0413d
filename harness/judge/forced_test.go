package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// A GO that needed force says so: production would need it too.
func TestAGoThatNeededForceSaysSo(t *testing.T) {
	o := synth.Options{Seed: 5}
	s := o.Scenario()
	r := synth.Record(o)
	up, _ := r.Phase(timeline.PhaseUpgrade)
	r.Events = append(r.Events, timeline.Event{
		T: up.Start + int64(10*time.Second), Source: timeline.SourceStep, Kind: timeline.KindPodForced, Subject: "pod/shop/web-1",
		Detail: map[string]string{"node": "w", "action": "delete-pod", "what": "deleted past what refused its eviction, with its own grace period", "after": "5m0s", "why": "budget web: 1 of 1 healthy, 1 needed"},
	})
	v := judge.Judge(r, s.Criteria())
	if v.Outcome != judge.Go || !strings.Contains(v.Summary, " The upgrade needed force: 1 pod did not leave by eviction, and production's would not either (shop/web-1).") {
		t.Errorf("%s: %s", v.Outcome, v.Summary)
	}
	var got []string
	for _, w := range v.Warnings {
		if strings.HasPrefix(w, "Pod ") {
			_, w, _ = strings.Cut(w, " (")
			got = append(got, w)
		}
	}
	if diff := cmp.Diff([]string{"onStall: delete-pod): budget web: 1 of 1 healthy, 1 needed."}, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
