package output

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func one(kind, subject string, detail map[string]string) []timeline.Event {
	return []timeline.Event{{Kind: kind, Subject: subject, Detail: detail}}
}

// header keeps the names of the table's columns.
func (t *Tracker) header(cells []string) { t.columns = cells }

func (t *Tracker) passed([]string) []timeline.Event {
	return one(timeline.KindValidation, "cluster", map[string]string{"passed": "true", "again": "true"})
}

// validated ends the work on every instance that was terminated: its successor
// has joined and the cluster is healthy.
func (t *Tracker) validated([]string) []timeline.Event {
	events := one(timeline.KindValidation, "cluster", map[string]string{"passed": "true"})
	rest := t.work[:0]
	for _, i := range t.work {
		if !i.ended {
			rest = append(rest, i)
			continue
		}
		events = append(events, timeline.Event{Kind: timeline.KindUpgradeEnd, Subject: i.subject(), Detail: i.detail()})
	}
	t.work = rest
	return events
}

func (t *Tracker) unvalidated(m []string) []timeline.Event {
	return one(timeline.KindValidation, "cluster", map[string]string{"passed": "unknown", "reason": m[1]})
}

func (t *Tracker) blocked(m []string) []timeline.Event {
	return one(timeline.KindValidation, "cluster", map[string]string{"passed": "false", "blockedBy": m[1]})
}

func (t *Tracker) taint(m []string) []timeline.Event {
	if t.tainted == nil {
		t.tainted = map[string]int{}
	}
	if _, again := t.tainted[m[2]]; !again {
		t.order = append(t.order, m[2])
	}
	t.tainted[m[2]], t.group = number(m[1]), m[2]
	return one(timeline.KindTaint, "group/"+m[2], map[string]string{"nodes": m[1]})
}

func (t *Tracker) detach(m []string) []timeline.Event {
	t.group = groupName(m[3])
	i := t.of(m[1], m[2])
	i.detached, i.group = true, t.group
	return one(timeline.KindDetach, i.subject(), i.detail())
}

func (t *Tracker) detachFailed(m []string) []timeline.Event {
	i := t.of(m[1], "")
	i.detached = false
	return one(timeline.KindDetach, i.subject(), i.detail("error", m[2]))
}

func wait(after string) func(*Tracker, []string) []timeline.Event {
	return func(_ *Tracker, m []string) []timeline.Event {
		return one(timeline.KindWait, "driver/kops", map[string]string{"for": m[1], "after": after})
	}
}

// drain begins with the cordon: the drain library does both.
func (t *Tracker) drain(m []string) []timeline.Event {
	i := t.of("", m[1])
	if i.id == "" && strings.HasPrefix(m[1], "i-") {
		i.id = m[1]
	}
	i.cordoned, i.draining = true, true
	return []timeline.Event{
		{Kind: timeline.KindUpgradeStart, Subject: i.subject(), Detail: i.detail()},
		{Kind: timeline.KindCordon, Subject: i.subject(), Detail: i.detail()},
		{Kind: timeline.KindDrainStart, Subject: i.subject(), Detail: i.detail()},
	}
}

func (t *Tracker) draining() *instance { return t.sole(func(i *instance) bool { return i.draining }) }

func (t *Tracker) refused(m []string) []timeline.Event {
	detail := map[string]string{"reason": m[3]}
	if i := t.draining(); i != nil {
		detail["node"] = i.node
	}
	return one(timeline.KindEvictRefused, "pod/"+m[2]+"/"+m[1], detail)
}

// drained is told without a name. Where several nodes are drained at once, the
// end of each is told when its instance is stopped instead.
func (t *Tracker) drained(m []string) []timeline.Event {
	events := one(timeline.KindWait, "driver/kops", map[string]string{"for": m[1], "after": "draining"})
	if i := t.draining(); i != nil {
		events = append(i.endDrain(""), events...)
	}
	return events
}

func (t *Tracker) drainIgnored(m []string) []timeline.Event {
	return t.of("", m[1]).endDrain(m[2])
}

func (i *instance) endDrain(err string) []timeline.Event {
	if !i.draining {
		return nil
	}
	i.draining = false
	return one(timeline.KindDrainEnd, i.subject(), i.detail("error", err))
}

func deregister(state string) func(*Tracker, []string) []timeline.Event {
	return func(t *Tracker, m []string) []timeline.Event {
		detail := map[string]string{"targetGroup": targetGroup(m[1]), "state": state}
		if i := t.draining(); i != nil {
			return one(timeline.KindDeregister, i.subject(), detail)
		}
		return one(timeline.KindDeregister, "target-group/"+targetGroup(m[1]), detail)
	}
}

// targetGroup takes the name out of an ARN, whose last two parts are the name
// and an id; other texts are left alone.
func targetGroup(arn string) string {
	if p := strings.Split(arn, "/"); len(p) == 3 && strings.HasPrefix(arn, "arn:") {
		return p[1]
	}
	return arn
}

func (t *Tracker) stop(m []string) []timeline.Event {
	t.group = groupName(m[3])
	i := t.of(m[1], m[2])
	i.group, i.stopping = t.group, true
	events := i.endDrain("")
	return append(events, timeline.Event{Kind: timeline.KindTerminate, Subject: i.subject(), Detail: i.detail()})
}

func (t *Tracker) stopFailed(m []string) []timeline.Event {
	i := t.of(m[1], m[2])
	i.stopping = false
	return one(timeline.KindTerminate, i.subject(), i.detail("error", m[3]))
}

// stopped comes after each instance that was stopped, without its name: those of
// one group are stopped side by side, and are alike.
func (t *Tracker) stopped(m []string) []timeline.Event {
	for _, i := range t.work {
		if !i.stopping {
			continue
		}
		i.stopping, i.ended = false, true
		if t.tainted[i.group] > 0 {
			t.tainted[i.group]--
		}
		break
	}
	return one(timeline.KindWait, "driver/kops", map[string]string{"for": m[1], "after": "terminating an instance"})
}

// giveUp ends the work on the instances of a group, or on all where the group
// is empty: after a failure kops does not go on with them. Of an instance that an
// earlier roll has detached and tainted the group is never told, but the error
// names it.
func (t *Tracker) giveUp(group, err string) []timeline.Event {
	var events []timeline.Event
	for _, i := range t.work {
		named := strings.Contains(err, strconv.Quote(i.node))
		if i.ended || i.givenUp || !i.cordoned || group != "" && i.group != group && !named {
			continue
		}
		if named && group != "" {
			i.group = group
		}
		i.givenUp = true
		events = append(events, i.endDrain(err)...)
		events = append(events, timeline.Event{Kind: timeline.KindUpgradeEnd, Subject: i.subject(), Detail: i.detail("error", err)})
	}
	return events
}

func (t *Tracker) groupFailed(m []string) []timeline.Event {
	events := t.giveUp(m[1], m[2])
	t.group = ""
	t.note(m[2])
	return append(events, timeline.Event{Kind: timeline.KindRollEnd, Subject: "group/" + m[1], Detail: map[string]string{"error": m[2]}})
}

// failed tells of an error once: kops prints the same when it happens and at its
// end.
func (t *Tracker) failed(m []string) []timeline.Event { return t.failure(m[1]) }
func (t *Tracker) whole(m []string) []timeline.Event  { return t.failure(m[0]) }

// final is the last line of a run that failed.
func (t *Tracker) final(m []string) []timeline.Event {
	return append(t.giveUp("", m[1]), t.failure(m[1])...)
}

func (t *Tracker) failure(text string) []timeline.Event {
	if !t.note(text) {
		return nil
	}
	return one(timeline.KindFailure, "driver/kops", map[string]string{"error": text})
}

// note keeps an error and tells whether it is new.
func (t *Tracker) note(text string) bool {
	if slices.Contains(t.failures, text) {
		return false
	}
	t.failures = append(t.failures, text)
	return true
}

func (t *Tracker) done(m []string) []timeline.Event {
	t.completed = true
	return one(timeline.KindRollEnd, "cluster", map[string]string{"groups": strconv.Itoa(len(strings.Fields(m[1])))})
}
