package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
)

// closedLoop repeats `ab -n REQUESTS -c CONCURRENCY -l` on each lane, one after
// the other, and prints one JSON document: figures to lay beside those that a
// team measured that way before. It makes no record, and nothing is judged by it.
func (f *recordFlags) closedLoop(ctx context.Context, out io.Writer) error {
	if f.target == "" || f.concurrency < 1 {
		return usage(fmt.Errorf("--requests needs --target and a positive --concurrency"))
	}
	type laneResult struct {
		Lane string `json:"lane"`
		*load.Closed
		PerSecond float64            `json:"requestsPerSecond"`
		LatencyMS map[string]float64 `json:"latencyMS"`
	}
	var results []laneResult
	for _, l := range f.laneList() {
		if l.Control {
			continue
		}
		if err := load.Probe(ctx, l); err != nil {
			return failed(err)
		}
		c, err := load.RunClosed(ctx, l, f.requests, f.concurrency)
		if err != nil {
			return failed(err)
		}
		r := laneResult{Lane: l.Name, Closed: c, PerSecond: c.Rate(), LatencyMS: map[string]float64{"mean": c.Latency.Mean() / 1000}}
		for name, q := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1} {
			r.LatencyMS[name] = float64(c.Latency.Quantile(q)) / float64(time.Millisecond/time.Microsecond)
		}
		results = append(results, r)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(results)
}
