package search

import (
	"fmt"
	"slices"
	"time"
)

// Forecast is how long the roll of production's nodes takes, with bounds.
type Forecast struct {
	Nodes    int           `json:"nodes"`
	Samples  int           `json:"samples"` // nodes that were measured
	Estimate time.Duration `json:"estimateNS"`
	Lower    time.Duration `json:"lowerNS"`
	Upper    time.Duration `json:"upperNS"`
	// Floor is nodes times the interval: no roll is quicker, whatever its nodes need.
	Floor time.Duration `json:"floorNS"`
}

// Production forecasts the roll of nodes, one after another, from how long each
// measured node took without the interval, which is waited after each.
//
// The estimate is N (mean + interval). The bounds are distribution-free: N times
// the shortest, and N times the longest node that was seen, and the interval. By
// the exchangeability of old and new nodes the next node lies between the two
// with probability (n−1)/(n+1) for n measured (Wilks 1941, "Determination of
// sample sizes for setting tolerance limits", Ann. Math. Statist. 12, 91–96), and
// the mean of many nodes more surely than one. No figure is below Floor.
//
// Without samples, or without nodes, it is an error.
func Production(nodes int, took []time.Duration, interval time.Duration) (Forecast, error) {
	if nodes < 1 || len(took) == 0 {
		return Forecast{}, fmt.Errorf("forecast of %d nodes from %d measured: at least one of each is needed", nodes, len(took))
	}
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	n := time.Duration(nodes)
	f := Forecast{Nodes: nodes, Samples: len(took), Floor: n * interval}
	f.Estimate = time.Duration(float64(sum)/float64(len(took))*float64(nodes)) + f.Floor
	f.Lower, f.Upper = n*slices.Min(took)+f.Floor, n*slices.Max(took)+f.Floor
	return f, nil
}

// Coverage is the probability with which the next node takes as long as one of
// those that were measured, or something between them.
func (f Forecast) Coverage() float64 { return float64(f.Samples-1) / float64(f.Samples+1) }

// String writes the forecast in one sentence.
func (f Forecast) String() string {
	return fmt.Sprintf("%d nodes: about %s, between %s and %s (from %d measured; at least %s of it between nodes)",
		f.Nodes, f.Estimate.Round(time.Second), f.Lower.Round(time.Second), f.Upper.Round(time.Second), f.Samples, f.Floor.Round(time.Second))
}
