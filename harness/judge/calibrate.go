package judge

import (
	"fmt"
	"math"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Calibration says what a runner can honestly measure, learnt from a record of
// load under which nothing happened.
type Calibration struct {
	Format   int         `json:"format"`             // FormatVersion
	Lanes    []LaneNoise `json:"lanes"`              // in the order of the run's lanes, control too
	Warnings []string    `json:"warnings,omitempty"` // damage of the record
}

// LaneNoise is what one lane supports when its baseline and its upgrade each
// last half as long as the record.
type LaneNoise struct {
	Lane string `json:"lane"`
	// SideSeconds is the number of usable seconds a side that the rest holds for.
	SideSeconds int `json:"sideSeconds"`
	// P50Increase and P99Increase are the smallest relative growths that may be
	// set as limits: nothing having happened, the verdict would neither fail nor
	// stay open. 1 is +100%.
	P50Increase float64 `json:"p50Increase"`
	P99Increase float64 `json:"p99Increase"`
	// ErrorIncrease is the smallest margin, as a share of requests: 0.001 is 0.1
	// points.
	ErrorIncrease float64 `json:"errorIncrease"`
	// OutageMS is the shortest outage that is sure to be seen, or the longest
	// stretch in which one could have hidden.
	OutageMS float64 `json:"outageMS"`
	// SendLagMS is the p99 of how late requests were sent; above 25 ms the
	// runner is too slow for its rate.
	SendLagMS float64 `json:"sendLagMS"`
	// Explain says all of it in a sentence or two.
	Explain string `json:"explain"`
}

const (
	// rotations is how many ways a record is cut into a baseline and an upgrade.
	rotations = 20
	// headroom is added to what one record shows: the next one will be a little
	// different. TestCalibrationHolds measures that it suffices.
	headroom = 1.5
	// minCalibration is the number of usable seconds that two sides need.
	minCalibration = 2 * minBlocks
)

// Calibrate cuts each lane of an unchanged service's record in two halves, in
// twenty ways, compares the halves as Judge compares baseline and upgrade, and
// returns limits with half as much again as would have let 95% of the
// comparisons pass and none fail: growths by the bootstrap of blocks (Künsch 1989;
// Politis and Romano 1994), the error margin by Newcombe's method 10 (1998), the
// outage by the run of failures. It returns an error where the record has no lane
// or a lane has fewer than 60 usable seconds.
func Calibrate(r *record.Record) (Calibration, error) {
	c := Calibration{Format: FormatVersion}
	whole := side{rec: r, phases: allButWarmup(r, timeline.PhaseBaseline)}
	if len(r.Run.Lanes) == 0 {
		return c, fmt.Errorf("calibrate: the record has no lane: record at least the control lane")
	}
	for _, d := range r.Damage {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s of the record is damaged at byte %d: %s", d.File, d.Offset, sentence(d.What)))
	}
	for _, lane := range r.Run.Lanes {
		l := newLaneSide(&whole, lane)
		l.markOwn()
		n, err := l.noise(r)
		if err != nil {
			return c, fmt.Errorf("calibrate: %w", err)
		}
		c.Lanes = append(c.Lanes, n)
	}
	return c, nil
}

func (l *laneSide) noise(r *record.Record) (LaneNoise, error) {
	windows := l.usable(spoilsLatency)
	n := LaneNoise{Lane: l.lane.Name, SideSeconds: len(windows) / 2}
	if len(windows) < minCalibration {
		because := ""
		if w := l.why(spoilsLatency); w != "" {
			because = " (unusable: " + w + ")"
		}
		return n, fmt.Errorf("lane %s has %d usable seconds%s: at least %d are needed; record for longer, or at a lower rate", l.lane.Name, len(windows), because, minCalibration)
	}
	half := len(windows) / 2
	size := blockSeconds(half, half)
	var growths [2][2][]float64 // quantile, lower and upper
	for i := range rotations {
		cut := i * len(windows) / rotations
		rotated := append(slices.Clone(windows[cut:]), windows[:cut]...)
		base, up := pair{lane: newBlocks(rotated[:half], size)}, pair{lane: newBlocks(rotated[half:2*half], size)}
		for q, quantile := range [2]float64{0.5, 0.99} {
			x := compareQuantile(base, up, quantile, 0, newRand(r.Run.ID, l.lane.Name, fmt.Sprint(i, quantile)))
			growths[q][0], growths[q][1] = append(growths[q][0], x.lower), append(growths[q][1], x.upper)
		}
	}
	limit := func(g [2][]float64) float64 {
		slices.Sort(g[1])
		needed := headroom * max(slices.Max(g[0]), g[1][int(math.Ceil(0.95*rotations))-1])
		return significant(math.Ceil(max(0.01, needed)*100-1e-9) / 100)
	}
	n.P50Increase, n.P99Increase = limit(growths[0]), limit(growths[1])

	t, _ := l.failures()
	phi := l.phi()
	_, upper := newcombe(t.e/2/phi, t.n/2/phi, t.e/2/phi, t.n/2/phi, z95)
	n.ErrorIncrease = significant(math.Ceil(upper*1e5-1e-9) / 1e5)

	d := newDetector(l, l.lane, half, t.n/2)
	blind := longestBlind(l.blindStretches(nil, 0))
	n.OutageMS = significant(max(d.resolution(), float64(blind.End-blind.Start)) / 1e6)
	var lag record.Dense
	for i := range l.secs {
		if w := l.secs[i].win; w != nil {
			lag.Merge(&w.SendLag, 1)
		}
	}
	n.SendLagMS = significant(float64(lag.Quantile(0.99)) / 1000)
	n.Explain = fmt.Sprintf("With %d s a side at %s requests a second, lane %s supports limits down to %s at p50, %s at p99 and %s points of errors, and shows outages of %s or more.",
		half, digits(l.lane.Rate, 6), l.lane.Name, growth(n.P50Increase), growth(n.P99Increase), digits(n.ErrorIncrease*100, 3), duration(n.OutageMS*1e6))
	if n.SendLagMS*1e6 > maxSendLagNS {
		n.Explain += fmt.Sprintf(" Requests are sent too late (p99 %s): lower the rate or use a larger machine.", duration(n.SendLagMS*1e6))
	}
	return n, nil
}
