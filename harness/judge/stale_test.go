package judge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestEndpointsThatStayAreWarnedOf removes endpoints late, as where a node is
// drained while no controller manager leads.
func TestEndpointsThatStayAreWarnedOf(t *testing.T) {
	const wait = ": what removes endpoints, the kube-controller-manager, was away or busy, and requests went on to a pod that was ending. Wait until it leads again before the next node is drained."
	for name, x := range map[string]struct {
		change func(*record.Record)
		want   []string
	}{
		"at once":       {func(*record.Record) {}, nil},
		"within 3 s":    {late(2 * time.Second), nil},
		"late":          {late(17 * time.Second), []string{"Pod rehearse/canary-1, which began to end at +02:04.4, was still an endpoint of its Service 17.1 s later" + wait}},
		"two of them":   {late(4*time.Second, 17*time.Second), []string{"Pod rehearse/canary-2, which began to end at +02:40.4, was still an endpoint of its Service 17.1 s later (and 1 other more than 3 s)" + wait}},
		"seen too late": {func(r *record.Record) { late(17 * time.Second)(r); blind(r, "16s") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := synth.Options{Seed: 5}
			s := o.Scenario()
			r := synth.Record(o)
			r.Before.Canary = []record.PodState{{Pod: "rehearse/canary-0"}}
			x.change(r)
			var got []string
			for _, w := range judge.Judge(r, s.Criteria()).Warnings {
				if strings.Contains(w, "endpoint") {
					got = append(got, w)
				}
			}
			if diff := cmp.Diff(x.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// late delays the removal of endpoints: of the first, the second and so on.
func late(lags ...time.Duration) func(*record.Record) {
	return func(r *record.Record) {
		n := 0
		for i := range r.Events {
			if e := &r.Events[i]; e.Kind == timeline.KindEndpointRemoved && n < len(lags) {
				e.T += int64(lags[n])
				n++
			}
		}
		slices.SortStableFunc(r.Events, func(a, b timeline.Event) int { return int(a.T - b.T) })
	}
}

// TestLossesBesideAStaleEndpointSayIt loses requests while an endpoint was stale, no
// event close by, and then long after it.
func TestLossesBesideAStaleEndpointSayIt(t *testing.T) {
	const meanwhile = "; meanwhile pod rehearse/canary-1, which began to end at +02:04.4, was still an endpoint of its Service"
	for start, want := range map[time.Duration]bool{65 * sec: true, 80 * sec: false} {
		o := synth.Options{Seed: 5, Faults: []synth.Fault{{Lane: "new", Start: start, Length: 40 * time.Millisecond, Class: record.HTTP5xx}}}
		s := o.Scenario()
		r := synth.Record(o)
		r.Before.Canary = []record.PodState{{Pod: "rehearse/canary-0"}}
		late(17 * time.Second)(r) // of canary-1, the first
		found := false
		for _, b := range judge.Judge(r, s.Criteria()).Ledger.Bursts {
			if b.Lost > 0 {
				found = true
				if strings.HasSuffix(b.Cause, meanwhile) != want || !strings.HasPrefix(b.Cause, "unattributed") {
					t.Errorf("lost at %s: %s", start, b.Cause)
				}
			}
		}
		if !found {
			t.Errorf("nothing was lost at %s", start)
		}
	}
}

// blind has the watch learn of endpoints after a gap.
func blind(r *record.Record, gap string) {
	for i := range r.Events {
		if e := &r.Events[i]; e.Kind == timeline.KindEndpointRemoved {
			e.Detail = map[string]string{"gap": gap}
		}
	}
}
