package judge

import (
	"github.com/kube-rehearse/rehearse/harness/order"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// orderingNames says for people what the rules about the order are.
var orderingNames = map[order.Rule]string{
	order.Restarts:    "Each component was replaced once",
	order.APIServers:  "Never all API servers away at once",
	order.Kubelets:    "No kubelet ahead of its API server",
	order.PlanesFirst: "Control planes before workers",
	order.Balancer:    "The canary's balancer never empty",
	order.Quorum:      "etcd kept its quorum",
}

// canaryService is the name of the canary's Service.
const canaryService = "canary"

// judgeOrdering judges the order in which the upgrade happened, with the monitor
// that watched it live. What cannot be seen is not passed; what a record lacks
// altogether, as one made beside another's upgrade, is not observed.
func (j *judgement) judgeOrdering() []Criterion {
	r := j.up.rec
	if r.Before == nil || !j.kubeWatched() {
		return []Criterion{{
			ID: "ordering", Name: "The order of the upgrade", Result: Reported,
			Explain: "Not observed: the record holds no snapshot of the cluster from before the upgrade, or no watch of it.",
		}}
	}
	m := order.New(r.Before, order.Options{Probes: probeNames(r), Service: canaryService})
	end := j.up.end()
	for i := range r.Events {
		if e := &r.Events[i]; e.T >= r.Before.T && e.T <= end {
			m.Event(e)
		}
	}
	m.End(end)
	results := m.Results(r.Run.Outcome == record.OutcomePassed)
	out := make([]Criterion, 0, len(results))
	for i := range results {
		out = append(out, j.ordering(&results[i]))
	}
	return out
}

func (j *judgement) ordering(x *order.Result) Criterion {
	c := Criterion{ID: "ordering/" + string(x.Rule), Name: orderingNames[x.Rule], Explain: x.Explain}
	c.Samples.Upgrade = uint64(x.Samples)
	switch x.Outcome {
	case order.Held:
		c.Result = Pass
	case order.Violated:
		c.Result = Fail
		if !j.anyBelieved(x) {
			c.Result = Undecided
			c.Explain += " The runner was overloaded then, and shares its machine with the cluster: that is not held against the upgrade."
		}
	case order.Unknown:
		c.Result = Undecided
	default:
		c.Result = Reported
	}
	return c
}

// anyBelieved reports whether a violation counts: what takes time, and so may be
// the doing of a machine without any left, only outside of such seconds.
func (j *judgement) anyBelieved(x *order.Result) bool {
	if x.Rule == order.Kubelets || x.Rule == order.PlanesFirst {
		return true
	}
	for _, v := range x.Violations {
		if len(j.up.witnessed(v.From, v.To)) > 0 {
			return true
		}
	}
	return false
}

// kubeWatched reports whether the timeline tells of the cluster during the upgrade.
func (j *judgement) kubeWatched() bool {
	_, watched := j.up.observed()
	return watched
}

func probeNames(r *record.Record) []string {
	var out []string
	for _, p := range r.Run.Probes {
		out = append(out, p.Name)
	}
	return out
}
