package reports

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// TestDNSOfManyNodes: those that failed have a series each, the others one.
func TestDNSOfManyNodes(t *testing.T) {
	series := func(nodes int, failing ...int) []chartProbe {
		probes := []record.ProbeData{{Probe: record.Probe{Name: "api-new"}}}
		for i := range nodes {
			p := record.ProbeData{Probe: record.Probe{Name: fmt.Sprintf("dns-%d", i)}}
			for s := range int64(20) {
				p.Samples = append(p.Samples, record.ProbeSample{T: s * second, OK: true})
			}
			for k, node := range failing {
				for s := range k + 1 {
					if node == i {
						p.Samples[s].OK = false
					}
				}
			}
			probes = append(probes, p)
		}
		return newChartProbes(grid{Width: 1, N: 20}, probes)
	}
	var many []int
	for i := range 20 {
		many = append(many, i)
	}
	for _, x := range []struct {
		nodes   int
		failing []int
		want    string
	}{
		{12, nil, "api-new dns-0 dns-1 dns-2 dns-3 dns-4 dns-5 dns-6 dns-7 dns-8 dns-9 dns-10 dns-11"},
		{13, nil, "api-new dns-13 nodes together"},
		{300, []int{7, 250}, "api-new dns-250 dns-7 dns-298 nodes together"},
		{20, many, "api-new dns-19 dns-18 dns-17 dns-16 dns-15 dns-14 dns-13 dns-12 dns-11 dns-10 dns-9 dns-9 nodes together"},
	} {
		var names []string
		made, failed := 0.0, 0.0
		for _, c := range series(x.nodes, x.failing...) {
			names = append(names, c.Name)
			for i := range c.Made {
				if c.Made[i] > 0 {
					made += c.Made[i]
					failed += c.Failed[i]
				}
			}
		}
		if got := strings.Join(names, " "); got != x.want {
			t.Errorf("%d nodes, %d failing:\n got %s\nwant %s", x.nodes, len(x.failing), got, x.want)
		}
		if want := float64(len(x.failing) * (len(x.failing) + 1) / 2); made != float64(20*x.nodes) || failed != want {
			t.Errorf("%d nodes: %g observed and %g failed, want %d and %g", x.nodes, made, failed, 20*x.nodes, want)
		}
	}
}
