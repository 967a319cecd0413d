package watch

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// eventDiffer lists Events of type Warning. Kubernetes counts an event that is
// repeated up in one object: it is listed when it first occurs, each time its
// count has doubled since, and at the end with its last count.
type eventDiffer struct {
	listed map[types.UID]int32 // the count that was listed last
	before map[types.UID]int32 // the count from before the watch
	latest map[types.UID]*corev1.Event
	order  []types.UID
}

func newEventDiffer() *eventDiffer {
	return &eventDiffer{listed: map[types.UID]int32{}, before: map[types.UID]int32{}, latest: map[types.UID]*corev1.Event{}}
}

// learn takes an Event from before the watch: only what is counted on top of it
// is news.
func (d *eventDiffer) learn(e *corev1.Event) {
	d.note(e)
	d.listed[e.UID], d.before[e.UID] = eventCount(e), eventCount(e)
}

func (d *eventDiffer) note(e *corev1.Event) {
	if _, known := d.latest[e.UID]; !known {
		d.order = append(d.order, e.UID)
	}
	d.latest[e.UID] = e
}

func (d *eventDiffer) changes(batch []pair[corev1.Event]) []change {
	var out []change
	for _, p := range batch {
		// An Event that is gone has expired: nothing happened.
		if p.after == nil || p.after.Type != corev1.EventTypeWarning {
			continue
		}
		d.note(p.after)
		if count := eventCount(p.after); count >= 2*d.listed[p.after.UID] && count > d.listed[p.after.UID] {
			d.listed[p.after.UID] = count
			out = append(out, kubeEvent(p.after))
		}
	}
	return out
}

// rest lists the events whose count has grown since they were listed last.
func (d *eventDiffer) rest() []change {
	var out []change
	for _, uid := range d.order {
		if e := d.latest[uid]; eventCount(e) > d.listed[uid] {
			d.listed[uid] = eventCount(e)
			out = append(out, kubeEvent(e))
		}
	}
	return out
}

// eventCount returns how often the event occurred, in either of the two forms
// in which that is told.
func eventCount(e *corev1.Event) int32 {
	count := max(e.Count, 1)
	if e.Series != nil {
		count = max(count, e.Series.Count)
	}
	return count
}

func kubeEvent(e *corev1.Event) change {
	subject := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Namespace != "" && e.InvolvedObject.Kind != "Node" {
		subject += "/" + e.InvolvedObject.Namespace
	}
	subject += "/" + e.InvolvedObject.Name
	reporter := e.Source.Component
	if reporter == "" {
		reporter = e.ReportingController
	}
	last := ""
	if t := eventLast(e); !t.IsZero() {
		last = t.UTC().Format(time.RFC3339)
	}
	return change{timeline.KindKubeEvent, subject, detail(
		"reason", e.Reason, "message", strings.TrimSpace(e.Message), "count", itoa(eventCount(e)),
		"component", reporter, "host", e.Source.Host, "last", last)}
}

func eventLast(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil && !e.Series.LastObservedTime.IsZero():
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}
