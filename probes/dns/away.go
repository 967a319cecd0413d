package dns

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Long is how long DNS must have been away from a node in one piece, outside of
// the node's own turn, to be a finding.
const Long = 5 * time.Second

// joining is how long after a node has joined its DNS may come up.
const joining = time.Minute

// stretch is a piece of the run, in ns since its start.
type stretch struct{ from, to int64 }

// away is a stretch in which every observation failed, for certain: from the first
// to what the last one shows.
type away struct {
	stretch
	open bool
	err  string
}

// turns holds for each node when it was taken out of service on purpose: its own
// drain, its own upgrade, its first minute. What begins and does not end lasts.
type turns map[string][]stretch

const forever = 1<<63 - 1

// hear takes one event of the timeline.
func (t turns) hear(e timeline.Event) {
	node, ok := strings.CutPrefix(e.Subject, "node/")
	if !ok {
		return
	}
	switch e.Kind {
	case timeline.KindUpgradeStart, timeline.KindDrainStart, timeline.KindNodeRemoved:
		t[node] = append(t[node], stretch{e.T, forever})
	case timeline.KindUpgradeEnd, timeline.KindDrainEnd:
		for i := len(t[node]) - 1; i >= 0; i-- {
			if t[node][i].to == forever {
				t[node][i].to = e.T
				return
			}
		}
	case timeline.KindNodeAdded:
		for i := range t[node] {
			t[node][i].to = min(t[node][i].to, e.T) // the one that was removed had its name
		}
		t[node] = append(t[node], stretch{e.T, e.T + int64(joining)})
	}
}

// longest returns the longest piece of s that lies outside the node's turns.
func (t turns) longest(node string, s stretch) stretch {
	own := slices.Clone(t[node])
	slices.SortFunc(own, func(a, b stretch) int { return cmp.Compare(a.from, b.from) })
	best, from := stretch{}, s.from
	take := func(to int64) {
		if to-from > best.to-best.from {
			best = stretch{from, to}
		}
	}
	for _, o := range own {
		if o.from >= s.to {
			break
		}
		take(o.from)
		from = max(from, o.to)
		if from >= s.to {
			return best
		}
	}
	take(s.to)
	return best
}

// findings lists the nodes that DNS was away from for long, each with the longest
// piece.
func findings(nodes []string, aways map[string][]away, t turns) []record.Finding {
	var out []record.Finding
	for _, node := range nodes {
		var worst stretch
		var why string
		count := 0
		for _, a := range aways[node] {
			s := t.longest(node, a.stretch)
			if s.to-s.from <= int64(Long) {
				continue
			}
			count++
			if s.to-s.from > worst.to-worst.from {
				worst, why = s, a.err
			}
		}
		if count == 0 {
			continue
		}
		times := ""
		if count > 1 {
			times = fmt.Sprintf(", and %d times for more than %s", count, Long)
		}
		out = append(out, record.Finding{
			ID: "dns-away", Severity: record.SeverityWarn, Object: "node/" + node,
			Cause: fmt.Sprintf("in-cluster DNS did not answer pods on the node for at least %s in one piece, from %s on%s, outside of the node's own turn: %s",
				time.Duration(worst.to-worst.from).Round(100*time.Millisecond), timeline.FormatOffset(time.Duration(worst.from)), times, why),
			Remedy: "run CoreDNS with two replicas or more on different nodes, a budget and a lameduck period longer than kube-proxy needs; where one node alone is concerned, look at its kube-proxy and network plug-in",
		})
	}
	return out
}
