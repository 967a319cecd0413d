package reports

import (
	"cmp"
	"slices"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Loss is a group of lost requests that the record holds singly and that look
// the same: one lane, one outcome, one answering pod.
type Loss struct {
	Lane, Class string
	Status      int // of the HTTP answer, 0 where there was none
	Pod, Node   string
	Count       uint64
	First, Last time.Duration // due times
	Example     string        // what the client said to the first of them
}

// maxLosses bounds the groups that are shown.
const maxLosses = 30

// newLosses groups the lost requests of r, the most frequent first. It also
// returns how many more were lost than the record holds singly or than there is
// room for; slow requests that were answered are not among them.
func newLosses(r *record.Record) (losses []Loss, more uint64) {
	type key struct {
		lane, class, pod, node string
		status                 int
	}
	at := map[key]int{}
	for _, l := range r.Lanes {
		var lost, held uint64
		for i := range l.Windows {
			lost += l.Windows[i].Failed()
		}
		for _, q := range l.Requests {
			class, known := record.ParseClass(q.Class)
			if known && !class.Failed() {
				continue
			}
			held++
			k := key{l.Lane.Name, q.Class, q.Pod, q.Node, q.Status}
			i, ok := at[k]
			if !ok {
				i = len(losses)
				at[k] = i
				losses = append(losses, Loss{
					Lane: clean(l.Lane.Name), Class: clean(q.Class), Status: q.Status, Pod: clean(q.Pod), Node: clean(q.Node),
					First: time.Duration(q.Due), Example: clean(q.Error),
				})
			}
			losses[i].Count++
			losses[i].First = min(losses[i].First, time.Duration(q.Due))
			losses[i].Last = max(losses[i].Last, time.Duration(q.Due))
		}
		if lost > held {
			more += lost - held
		}
	}
	slices.SortStableFunc(losses, func(a, b Loss) int { return cmp.Compare(b.Count, a.Count) })
	for len(losses) > maxLosses {
		more += losses[len(losses)-1].Count
		losses = losses[:len(losses)-1]
	}
	return losses, more
}
