package watch

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// repeatedOver is how often a warning may be repeated before it is a finding;
// OpenShift's origin calls what is repeated more often pathological.
const repeatedOver = 20

// repetition is one warning about one object, over all Events that tell of it.
type repetition struct {
	object, reason, source string
	message                string // the last
	count                  int32
}

// repeated returns the warnings that occurred more than repeatedOver times since
// the watch began, most first. What every upgrade repeats is left out: a pod is
// told to stop and says that it is not ready, for as long as it takes to drain
// its connections, and so does a static pod of a control plane that is replaced.
func (d *eventDiffer) repeated(ended func(object string) bool) []repetition {
	at := map[string]int{}
	var all []repetition
	for _, uid := range d.order {
		e := d.latest[uid]
		n := eventCount(e) - d.before[uid]
		c := kubeEvent(e)
		if n <= 0 || usual(e, c.subject, ended) {
			continue
		}
		r := repetition{object: c.subject, reason: e.Reason, source: c.detail["component"]}
		key := r.object + " " + r.reason + " " + r.source
		i, ok := at[key]
		if !ok {
			i = len(all)
			at[key] = i
			all = append(all, r)
		}
		all[i].count += n
		all[i].message = strings.TrimSpace(e.Message)
	}
	all = slices.DeleteFunc(all, func(r repetition) bool { return r.count <= repeatedOver })
	slices.SortStableFunc(all, func(a, b repetition) int { return int(b.count - a.count) })
	return all
}

// usual reports whether an upgrade repeats that warning rightly.
func usual(e *corev1.Event, object string, ended func(string) bool) bool {
	if e.Reason != "Unhealthy" || !strings.HasPrefix(e.Message, "Readiness probe") && !strings.HasPrefix(e.Message, "Startup probe") {
		return false
	}
	if ended(object) {
		return true
	}
	name, ok := strings.CutPrefix(object, "pod/kube-system/")
	return ok && slices.ContainsFunc([]string{"etcd-", "kube-apiserver-", "kube-controller-manager-", "kube-scheduler-"},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// Repeated returns a finding for each warning that was repeated too often while
// the watch ran. It is to be called after Stop.
func (w *Watcher) Repeated() []record.Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []record.Finding
	for _, r := range w.warns.repeated(func(object string) bool { return w.ended[object] }) {
		source := r.source
		if source == "" {
			source = "a component that does not say its name"
		}
		out = append(out, record.Finding{
			ID: "event-repeated", Severity: record.SeverityWarn, Object: r.object,
			Cause:  fmt.Sprintf("%s told %d times of %s: %s", source, r.count, r.reason, r.message),
			Remedy: "What is repeated that often does not pass by itself: read the message, and the log of " + source + ".",
		})
	}
	return out
}

// note remembers which pods were told to stop.
func (w *Watcher) note(changes []change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range changes {
		if c.kind == timeline.KindPodTerminating || c.kind == timeline.KindPodDeleted {
			w.ended[c.subject] = true
		}
	}
}
