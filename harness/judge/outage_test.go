package judge_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// short is a record of little more than a minute, with one lane.
func short(rate float64, faults ...synth.Fault) synth.Options {
	return synth.Options{Seed: 2, Rate: rate, Lanes: []string{"new"}, Baseline: 30 * sec, Upgrade: 60 * sec, Settle: 5 * sec, Faults: faults}
}

func outages(o synth.Options) []judge.Outage {
	s := o.Scenario()
	return judge.Judge(synth.Record(o), s.Criteria()).Outages
}

// TestOutageEdges plants outages from max(50 ms, 10/rate) up and wants each
// found, alone, with its edges right within 2/rate (target 7).
func TestOutageEdges(t *testing.T) {
	begin := 40 * sec // warm-up and baseline
	for _, rate := range []float64{20, 100, 333, 1000} {
		t.Run(fmt.Sprintf("%g", rate), func(t *testing.T) {
			t.Parallel()
			shortest := max(50*time.Millisecond, time.Duration(10*float64(sec)/rate))
			for i, length := range []time.Duration{shortest, 3 * shortest, sec, 5 * sec} {
				for _, kind := range []synth.FaultKind{synth.Fail, synth.Hang} {
					start := 10*sec + time.Duration(i)*137*time.Millisecond
					name := fmt.Sprintf("%g/s %v %d", rate, length, kind)
					got := outages(short(rate, synth.Fault{Kind: kind, Start: start, Length: length, Class: record.HTTP5xx}))
					if len(got) != 1 {
						t.Errorf("%s: found %d outages: %+v", name, len(got), got)
						continue
					}
					o, slack := got[0], 2*float64(sec)/rate
					if d := float64(o.Start) - float64(begin+start); math.Abs(d) > slack {
						t.Errorf("%s: begins %v off", name, time.Duration(d))
					}
					if d := float64(o.End) - float64(begin+start+length); math.Abs(d) > slack {
						t.Errorf("%s: ends %v off", name, time.Duration(d))
					}
					if o.LowerNS > int64(length) || o.UpperNS < int64(length) {
						t.Errorf("%s: bounds %v to %v do not hold it", name, time.Duration(o.LowerNS), time.Duration(o.UpperNS))
					}
					if want := uint64(math.Round(length.Seconds() * rate)); kind == synth.Fail && (o.Failed+1 < want || o.Failed > want+1 || o.Failed != o.Sent) {
						t.Errorf("%s: %d of %d failed, want %d", name, o.Failed, o.Sent, want)
					}
				}
			}
		})
	}
}

func TestOutageWindows(t *testing.T) {
	noisy := synth.DefaultProfile()
	noisy.ErrorRate = 0.001
	many := func(n int, every, length time.Duration) (out []synth.Fault) {
		for i := range n {
			out = append(out, synth.Fault{Start: 10*sec + time.Duration(i)*every, Length: length})
		}
		return out
	}
	for _, x := range []struct {
		name    string
		faults  []synth.Fault
		profile *synth.Profile
		want    string // of each outage: start of the window, its lower bound, how many failed
	}{
		{"nothing", nil, nil, ""},
		{"single failures are none", many(5, 9*sec, 3*time.Millisecond), nil, ""},
		{"two blips are two", many(2, 4*sec, 50*time.Millisecond), nil, "50.00 45ms 10 | 54.00 45ms 10"},
		{"two outages are two", many(2, 20*sec, 3*sec), nil, "50.00 2.995s 600 | 70.00 2.995s 600"},
		{"a short outage in the shadow of a long one", []synth.Fault{{Start: 10 * sec, Length: 10 * sec}, {Start: 25 * sec, Length: 100 * time.Millisecond}}, nil, "50.00 9.995s 2000 | 65.00 95ms 20"},
		{"flapping is one", many(4, 1200*time.Millisecond, 900*time.Millisecond), nil, "50.00 4.495s 720"},
		{"failures before and after do not stretch it", []synth.Fault{{Start: 20 * sec, Length: 500 * time.Millisecond}}, &noisy, "60.00 495ms 100"},
		{"a hang that ends in errors is one", []synth.Fault{{Kind: synth.Hang, Start: 20 * sec, Length: 2 * sec}, {Start: 22 * sec, Length: sec}}, nil, "60.00 2.995s 200"},
	} {
		o := short(200, x.faults...)
		o.Profile = x.profile
		var got []string
		for _, w := range outages(o) {
			got = append(got, fmt.Sprintf("%.2f %v %d", float64(w.Start)/1e9, time.Duration(w.LowerNS), w.Failed))
		}
		if s := strings.Join(got, " | "); s != x.want {
			t.Errorf("%s:\n got %s\nwant %s", x.name, s, x.want)
		}
	}
}

// TestOutageCauseIsNoStranger: CoreDNS moves in the same drain, and nearer to the
// outage than the canary's pod; but its Service is none that a lane meets. The
// pod that answered tells its name and not its namespace.
func TestOutageCauseIsNoStranger(t *testing.T) {
	o := short(200, synth.Fault{Start: 18*sec + 500*time.Millisecond, Length: sec, Class: record.HTTP5xx})
	r := synth.Record(o)
	endpoint := func(at time.Duration, kind, service, pod, address string) {
		r.Events = append(r.Events, timeline.Event{T: int64(at), Source: timeline.SourceKube, Kind: kind, Subject: "endpoint/" + address,
			Detail: map[string]string{"service": service, "pod": pod, "node": "worker-1"}})
	}
	endpoint(41*sec, timeline.KindEndpointAdded, "canary", "rehearse/canary-1", "10.244.1.1:8080")
	endpoint(41*sec, timeline.KindEndpointAdded, "kube-dns", "kube-system/coredns-1", "10.244.1.2:53")
	endpoint(58*sec+490*time.Millisecond, timeline.KindEndpointRemoved, "kube-dns", "kube-system/coredns-1", "10.244.1.2:53")
	slices.SortStableFunc(r.Events, func(a, b timeline.Event) int { return cmp.Compare(a.T, b.T) })
	r.Lanes[0].Requests = append(r.Lanes[0].Requests, record.Request{Due: int64(42 * sec), Pod: "canary-1", Node: "worker-1"})
	slices.SortStableFunc(r.Lanes[0].Requests, func(a, b record.Request) int { return cmp.Compare(a.Due, b.Due) })
	s := o.Scenario()
	got := judge.Judge(r, s.Criteria()).Outages
	const want = "endpoint-removed pod/rehearse/canary-1 as it began: the balancer had no endpoint to send to, or the server was failing"
	if len(got) != 1 || got[0].Cause != want {
		t.Errorf("outages %+v\nwant the cause %q", got, want)
	}
}

// TestOutageCauseIsInWhatFailed: most requests of an outage are answered late in
// the end; those that failed say why.
func TestOutageCauseIsInWhatFailed(t *testing.T) {
	at := 18*sec + 500*time.Millisecond
	got := outages(short(200, synth.Fault{Start: at, Length: 300 * time.Millisecond, Class: record.HTTP5xx},
		synth.Fault{Kind: synth.Hang, Start: at + 300*time.Millisecond, Length: 700 * time.Millisecond}))
	if len(got) != 1 || got[0].Classes["stalled"] <= got[0].Classes["http-5xx"] || !strings.Contains(got[0].Cause, "the balancer had no endpoint") {
		t.Errorf("outages %+v", got)
	}
}

// TestOutagePartial plants stretches in which a share of the requests fails.
func TestOutagePartial(t *testing.T) {
	for _, x := range []struct {
		share  float64
		length time.Duration
	}{{0.5, 3 * sec}, {0.2, 10 * sec}, {0.05, 30 * sec}} {
		got := outages(short(200, synth.Fault{Start: 10 * sec, Length: x.length, Share: x.share}))
		if len(got) != 1 {
			t.Errorf("%g of %v: %d outages", x.share, x.length, len(got))
			continue
		}
		// The first and the last failure of a stretch lie within some mean
		// distances between failures of its edges.
		slack := 5 / (x.share * 200)
		if d := x.length.Seconds() - float64(got[0].LowerNS)/1e9; d < 0 || d > slack {
			t.Errorf("%g of %v: at least %v", x.share, x.length, time.Duration(got[0].LowerNS))
		}
	}
}

func TestOutageCause(t *testing.T) {
	// The first worker's pod is evicted 18.3 s into the upgrade of 60 s.
	got := outages(short(200, synth.Fault{Start: 18*sec + 500*time.Millisecond, Length: sec}))
	if len(got) != 1 {
		t.Fatalf("%d outages", len(got))
	}
	want := "pod-terminating pod/rehearse/canary-1 on worker-1 0.1 s before: the process was gone and its endpoint not yet removed"
	if got[0].Cause != want {
		t.Errorf("cause\n got %q\nwant %q", got[0].Cause, want)
	}
	got = outages(short(200, synth.Fault{Start: 52 * sec, Length: sec, Class: record.TimeoutConnect}))
	if len(got) != 1 {
		t.Fatalf("%d outages", len(got))
	}
	if !strings.HasPrefix(got[0].Cause, "unattributed: nothing answered: a node or its route was gone") {
		t.Errorf("cause %q", got[0].Cause)
	}
}

// TestOutageCauseIsThePodOfTheTarget lets another pod go with the canary's, as
// when a drain evicts both: requests that were cut met no pod that they could
// name.
func TestOutageCauseIsThePodOfTheTarget(t *testing.T) {
	o := short(200, synth.Fault{Start: 18*sec + 500*time.Millisecond, Length: sec, Class: record.Reset})
	r, s := synth.Record(o), o.Scenario()
	i := slices.IndexFunc(r.Events, func(e timeline.Event) bool { return e.Kind == timeline.KindPodTerminating })
	other := r.Events[i]
	other.Subject = "pod/kube-system/coredns-1"
	r.Events = slices.Insert(r.Events, i, other)
	r.Before.Canary = []record.PodState{{Pod: "rehearse/canary-1"}}
	for j := range r.Lanes {
		for k := range r.Lanes[j].Requests {
			r.Lanes[j].Requests[k].Pod, r.Lanes[j].Requests[k].Node = "", ""
		}
	}
	got := judge.Judge(r, s.Criteria()).Outages
	want := "pod-terminating pod/rehearse/canary-1 on worker-1 0.1 s before: connections were cut: the server did not finish what it had"
	if len(got) != 1 || got[0].Cause != want {
		t.Errorf("outages %+v\nwant one with cause %q", got, want)
	}
}
