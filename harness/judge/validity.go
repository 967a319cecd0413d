package judge

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// judgeValidity applies the rules about the measurement itself. Rules about the
// run as a whole go to j.invalid, those about a lane to its noPass.
func (j *judgement) judgeValidity(criteria []scenarios.Criterion) {
	j.ruleComplete()
	j.ruleDamage()
	j.rulePhases()
	j.ruleInterruptions(criteria)
	j.ruleObserved()
	for _, e := range j.lanes {
		j.ruleLane(e)
	}
	if j.control != nil {
		j.ruleLane(j.control)
	}
	j.ruleControl()
	j.ruleOverload()
	j.ruleAgents()
	j.ruleProbes()
	for _, r := range j.records() {
		if p := r.Run.Host.Pressure; p != nil && *p > 0.25 {
			what := "Tasks of the runner's machine waited for a CPU during %s of the measurement."
			if len(r.Run.Agents) > 0 {
				what = "Tasks of the machine that collects what the load agents tell waited for a CPU during %s of the measurement."
			}
			j.warnings = append(j.warnings, fmt.Sprintf(what, share(*p)))
		}
	}
}

// records returns the record or the two records that are judged.
func (j *judgement) records() []*record.Record {
	if j.base.rec == j.up.rec {
		return []*record.Record{j.up.rec}
	}
	return []*record.Record{j.base.rec, j.up.rec}
}

func (j *judgement) add(v Validity, ok bool) {
	v.Result = Fail
	if ok {
		v.Result = Pass
	}
	v.Value, v.Limit = significant(v.Value), significant(v.Limit)
	j.validity = append(j.validity, v)
}

// global adds a rule whose breach makes the verdict INCONCLUSIVE.
func (j *judgement) global(v Validity, ok bool) {
	j.add(v, ok)
	if !ok {
		j.invalid = append(j.invalid, v.Explain)
	}
}

func (j *judgement) ruleComplete() {
	for _, r := range j.records() {
		v := Validity{Rule: "run-complete", Limit: 1, Explain: "The run came to its end."}
		var ok bool
		switch r.Run.Outcome {
		case record.OutcomePassed:
			v.Value = 1
			if ok = r.Complete; !ok {
				v.Explain = "The record was not sealed: its process was killed, or its files were changed since."
			}
		case record.OutcomeInterrupted:
			// `rehearse record` is stopped by an interrupt in the ordinary way.
			ok = j.compare
			why := r.Run.Failure
			if why == record.OutcomeInterrupted {
				why = "" // by a signal, of which there is no more to say
			}
			v.Explain = "The run was interrupted" + because(why)
		case record.OutcomeFailed:
			ok = false
			v.Explain = "The run could not be carried out" + because(r.Run.Failure)
		default:
			ok = false
			v.Explain = "The run did not come to its end: its process was killed, or it is still running."
		}
		j.global(v, ok)
	}
}

func because(failure string) string {
	if failure == "" {
		return "."
	}
	return ": " + sentence(failure)
}

// sentence ends s with a full stop.
func sentence(s string) string {
	if n := len(s); n > 0 && s[n-1] != '.' {
		return s + "."
	}
	return s
}

func (j *judgement) ruleDamage() {
	v := Validity{Rule: "damage", Explain: "Every part of the record could be read."}
	for _, r := range j.records() {
		for _, d := range r.Damage {
			if v.Value++; v.Value == 1 {
				v.Explain = fmt.Sprintf("%s of the record is damaged at byte %d: %s", d.File, d.Offset, sentence(d.What))
			}
		}
	}
	j.global(v, v.Value == 0)
}

func (j *judgement) rulePhases() {
	v := Validity{Rule: "phases", Limit: 2, Unit: "", Explain: "The record holds a baseline and an upgrade under load."}
	for _, s := range []struct {
		side *side
		what string
	}{{&j.base, "baseline"}, {&j.up, "upgrade"}} {
		if s.side.duration() > 0 {
			v.Value++
			continue
		}
		v.Explain = fmt.Sprintf("The record holds no %s: there is nothing to compare.", s.what)
	}
	j.global(v, v.Value == 2)
}

// ruleObserved holds when the upgrade left a trace where it was measured. A run
// that was green for weeks while it upgraded nothing has happened to others.
func (j *judgement) ruleObserved() {
	v := Validity{Rule: "upgrade-observed", Limit: 1}
	changed, watched := j.up.observed()
	r := j.up.rec
	switch {
	case r.Before == nil && r.After == nil && !watched:
		if j.compare {
			v.Result, v.Explain = Reported, "No cluster was watched: that an upgrade took place is taken on trust."
			j.validity = append(j.validity, v)
			j.warnings = append(j.warnings, v.Explain)
			return
		}
		v.Explain = "Nothing in the record shows that an upgrade took place: neither snapshots nor events of the cluster."
		j.global(v, false)
	case !changed:
		v.Explain = "No upgrade was observed under load: no node and no component changed its version during the upgrade phase."
		j.global(v, false)
	default:
		v.Value, v.Explain = 1, "The timeline shows the upgrade."
		j.global(v, true)
	}
}

// ruleLane applies the rules about one lane's own load.
func (j *judgement) ruleLane(e *laneEvidence) {
	r, name := j.up.rec, e.lane.Name
	total := len(e.up.secs)
	missing := 0
	for i := range e.up.secs {
		if e.up.secs[i].win == nil {
			missing++
		}
	}
	v := Validity{Rule: "lane-data", Lane: name, Value: float64(missing), Limit: 0.01 * float64(total), Unit: "s", Unusable: e.up.stretches(flawGap)}
	lostAt, lost := laneLost(r, name)
	ok := !lost && total > 0 && missing < total && v.Value <= v.Limit
	switch {
	case lost:
		v.Explain = fmt.Sprintf("The generator of lane %s died %s: its data end there.", name, at(lostAt))
	case total == 0 || missing == total:
		v.Explain = fmt.Sprintf("Lane %s recorded nothing during the upgrade.", name)
	case missing > 0:
		v.Explain = fmt.Sprintf("%d of %d seconds of lane %s were not recorded; 1%% is allowed.", missing, total, name)
	default:
		v.Explain = fmt.Sprintf("Every second of lane %s was recorded.", name)
	}
	j.global(v, ok)

	sides := []*laneSide{e.up}
	if e.base.hasWindows() {
		sides = []*laneSide{e.base, e.up}
	}
	achieved, unsent := 1.0, 0.0
	var lag record.Dense
	var short, skipped, late []Stretch
	for _, s := range sides {
		a, u := s.shares()
		achieved, unsent = min(achieved, a), max(unsent, u)
		for i := range s.secs {
			if w := s.secs[i].win; w != nil {
				lag.Merge(&w.SendLag, 1)
			}
		}
		short = append(short, s.stretches(flawShort|flawGap)...)
		skipped = append(skipped, s.stretches(flawUnsent)...)
		late = append(late, s.stretches(flawLag)...)
	}
	v = Validity{Rule: "achieved-rate", Lane: name, Value: achieved, Limit: minAchieved, Unit: "ratio", Unusable: short}
	v.Explain = fmt.Sprintf("%s of the %s requests a second asked for were sent on lane %s; %s are needed.", share(achieved), digits(e.lane.Rate, 6), name, share(minAchieved))
	j.add(v, achieved >= minAchieved)
	v = Validity{Rule: "unsent", Lane: name, Value: unsent, Limit: maxUnsent, Unit: "ratio", Unusable: skipped}
	v.Explain = fmt.Sprintf("%s of the slots of lane %s were not sent; %s is allowed.", share(unsent), name, share(maxUnsent))
	j.add(v, unsent <= maxUnsent)
	// Only what was not sent during the upgrade could have failed or been slow
	// in it.
	switch a, u := e.up.shares(); {
	case a < minAchieved:
		e.noPass = fmt.Sprintf("%s sent only %s of the %s requests a second asked for; %s are needed%s.", e.up.sender(), share(a), digits(e.lane.Rate, 6), share(minAchieved), e.up.whoDidNot())
	case u > maxUnsent:
		e.noPass = fmt.Sprintf("%s of the slots were not sent by %s; %s is allowed%s.", share(u), e.up.sender(), share(maxUnsent), e.up.whoDidNot())
	}
	p99 := float64(lag.Quantile(0.99)) * 1000
	v = Validity{Rule: "send-lag", Lane: name, Value: p99 / 1e6, Limit: maxSendLagNS / 1e6, Unit: "ms", Unusable: late}
	v.Explain = fmt.Sprintf("p99 of the send lag of lane %s was %s; %s is allowed.", name, duration(p99), duration(maxSendLagNS))
	if n := seconds(late); n > 0 {
		v.Explain = fmt.Sprintf("p99 of the send lag of lane %s was %s, and in %d s above the %s allowed: their latencies are not used.", name, duration(p99), n, duration(maxSendLagNS))
	}
	j.add(v, p99 <= maxSendLagNS)
}

// shares returns which share of the slots that the rate asks for was sent on a
// side, and which share of those that fell due was not.
func (l *laneSide) shares() (achieved, unsent float64) {
	var due, sent uint64
	for i := range l.secs {
		if w := l.secs[i].win; w != nil {
			due, sent = due+w.Due(), sent+w.Sent()
		}
	}
	achieved = 1
	if n := len(l.secs); n > 0 && l.lane.Rate > 0 {
		achieved = min(1, float64(sent)/(l.lane.Rate*float64(n)))
	}
	if due > 0 {
		unsent = 1 - float64(sent)/float64(due)
	}
	return achieved, unsent
}

func seconds(list []Stretch) (n int64) {
	for _, s := range list {
		n += (s.End - s.Start) / secondNS
	}
	return n
}

// ruleControl says in how much of the upgrade the control lane suffered too.
func (j *judgement) ruleControl() {
	v := Validity{Rule: "control-lane", Unit: "s"}
	if j.control == nil {
		v.Result = Reported
		v.Explain = "There is no control lane: trouble of the runner's own machine cannot be told from the upgrade's."
		j.validity = append(j.validity, v)
		j.warnings = append(j.warnings, v.Explain)
		return
	}
	v.Lane = j.control.lane.Name
	failing := 0
	for i := range j.control.up.secs {
		s := &j.control.up.secs[i]
		bad := j.slow[s.at]
		if s.win != nil && s.win.Failed() > 0 {
			bad = true
			failing++
		}
		if bad {
			v.Unusable = appendStretch(v.Unusable, Stretch{s.at * secondNS, (s.at + 1) * secondNS}, 0)
		}
	}
	v.Value, v.Limit = float64(seconds(v.Unusable)), (1-minUsableLatency)*float64(len(j.control.up.secs))
	v.Explain = "The control lane was served during the upgrade as in the baseline."
	if v.Value > 0 {
		v.Explain = fmt.Sprintf("The control lane outside the cluster was slow in %d s and failed in %d s of the upgrade: what was slow or failed on other lanes then is not held against the upgrade.", len(j.slow), failing)
	}
	j.add(v, v.Value <= v.Limit)
}

// ruleProbes holds when each probe observed until the upgrade's end. Those of one
// node's DNS come and go with their nodes, and nothing is judged by them: what they
// miss is told with what they saw.
func (j *judgement) ruleProbes() {
	r := j.up.rec
	for _, p := range r.Run.Probes {
		if ofDNS(p.Name) {
			continue
		}
		v := Validity{Rule: "probe-data/" + p.Name, Unit: "s"}
		v.Limit = float64(max(10*p.IntervalNS, 3*p.TimeoutNS, 10e9)) / 1e9
		var last, gap, from int64
		end := j.up.end()
		last = j.up.start()
		count := 0
		for _, s := range probeSamples(r, p.Name) {
			if s.T < j.up.start() || s.T >= end {
				continue
			}
			count++
			if s.T-last > gap {
				gap, from = s.T-last, last
			}
			last = s.T
		}
		if end-last > gap {
			gap, from = end-last, last
		}
		v.Value = float64(gap) / 1e9
		ok := v.Value <= v.Limit
		v.Explain = fmt.Sprintf("Probe %s observed throughout.", p.Name)
		if !ok {
			v.Explain = fmt.Sprintf("Probe %s observed nothing for %s, from %s on; at most %s is expected.", p.Name, duration(float64(gap)), offset(from), duration(v.Limit*1e9))
			v.Unusable = []Stretch{{from, from + gap}}
		}
		for _, e := range r.Events {
			if e.Kind == timeline.KindProbeLost && (e.Subject == p.Name || e.Subject == "probe/"+p.Name) {
				ok = false
				v.Explain = fmt.Sprintf("Probe %s died %s: its data end there.", p.Name, at(e.T))
			}
		}
		if end == 0 {
			continue // no upgrade phase, which another rule says
		}
		if count == 0 {
			v.Explain = fmt.Sprintf("Probe %s recorded nothing during the upgrade.", p.Name)
		}
		j.global(v, ok && count > 0)
	}
}

func probeSamples(r *record.Record, name string) []record.ProbeSample {
	for i := range r.Probes {
		if r.Probes[i].Probe.Name == name {
			return r.Probes[i].Samples
		}
	}
	return nil
}
