package search

import (
	"fmt"
	"slices"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
)

// Forecast is how long the roll of production's nodes takes, with bounds.
type Forecast struct {
	Nodes    int           `json:"nodes"`
	Batch    int           `json:"batch"`   // nodes that roll together
	Samples  int           `json:"samples"` // rounds that were measured: nodes, or batches of them
	Estimate time.Duration `json:"estimateNS"`
	Lower    time.Duration `json:"lowerNS"`
	Upper    time.Duration `json:"upperNS"`
	// Floor is rounds times the interval: no roll is quicker, whatever its nodes need.
	Floor time.Duration `json:"floorNS"`
}

// Production forecasts the roll of nodes, batch after batch, from how long each
// measured round took without the interval, which is waited after each.
//
// With N rounds (nodes, divided by the batch and rounded up) the estimate is N
// (mean + interval). The bounds are distribution-free: N times the shortest, and N
// times the longest round that was seen, and the interval. By the exchangeability
// of old and new rounds the next one lies between the two with probability
// (n−1)/(n+1) for n measured (Wilks 1941, "Determination of sample sizes for
// setting tolerance limits", Ann. Math. Statist. 12, 91–96), and the mean of many
// more surely than one. No figure is below Floor.
//
// Without samples, or without nodes, it is an error.
func Production(nodes int, took []time.Duration, roll Roll) (Forecast, error) {
	if nodes < 1 || len(took) == 0 {
		return Forecast{}, fmt.Errorf("forecast of %d nodes from %d measured: at least one of each is needed", nodes, len(took))
	}
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	n := time.Duration(roll.Rounds(nodes))
	f := Forecast{Nodes: nodes, Batch: max(1, roll.Batch), Samples: len(took), Floor: n * roll.NodeInterval}
	f.Estimate = time.Duration(float64(sum)/float64(len(took))*float64(n)) + f.Floor
	f.Lower, f.Upper = n*slices.Min(took)+f.Floor, n*slices.Max(took)+f.Floor
	return f, nil
}

// Coverage is the probability with which the next round takes as long as one of
// those that were measured, or something between them.
func (f Forecast) Coverage() float64 { return float64(f.Samples-1) / float64(f.Samples+1) }

// Round is what a sentence calls one round.
func (f Forecast) Round() string {
	if f.Batch > 1 {
		return "batch"
	}
	return "node"
}

// String writes the forecast in one sentence.
func (f Forecast) String() string {
	together, between, measured := "", "nodes", ""
	if f.Batch > 1 {
		together, between, measured = fmt.Sprintf(", %d at a time", f.Batch), "batches", " batches"
	}
	return fmt.Sprintf("%d nodes%s: about %s, between %s and %s (from %d%s measured; at least %s of it between %s)",
		f.Nodes, together, english.Roughly(f.Estimate), english.Roughly(f.Lower), english.Roughly(f.Upper), f.Samples, measured, english.Roughly(f.Floor), between)
}
