package judge

import (
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Limits of the validity rules; docs/decisions/0041 says which evidence each of
// them spoils.
const (
	maxSendLagNS = 25e6  // p99 of send lag
	minAchieved  = 0.99  // share of the slots asked for that were sent
	maxUnsent    = 0.001 // share of the slots due that were not sent
	// minUsableLatency is the share of an upgrade's seconds that must be usable
	// before its latency can pass: what was left out may be the slow part.
	minUsableLatency = 0.8
	// minUsableFailures is the same for failures.
	minUsableFailures = 0.99
	// controlSlack is the relative, and controlFloorNS the absolute growth that
	// makes a second of the control lane count as slow, over the slowest that
	// its baseline was.
	controlSlack   = 1.10
	controlFloorNS = 2e6
	// controlShare is how much the control lane must suffer, relative to the
	// lane judged, for its trouble to explain the lane's.
	controlShare = 0.5
)

// markOwn marks the flaws that a lane's own windows show.
func (l *laneSide) markOwn() {
	lateNS := float64(l.lane.TimeoutNS) / 10
	for i := range l.secs {
		s := &l.secs[i]
		if s.win == nil {
			s.flaws |= flawGap
			continue
		}
		due, unsent := s.win.Due(), s.win.Counts[record.Unsent]
		if float64(unsent) > maxUnsent*float64(due) {
			s.flaws |= flawUnsent
		}
		if l.short(due) {
			s.flaws |= flawShort
		}
		if s.sentLater(maxSendLagNS, 0.99) {
			s.flaws |= flawLag
		}
		if l.side.suspect[s.at] && s.win.Failed() > 0 {
			// Where all was served nothing needs to be excused.
			s.flaws |= flawOverload
		}
		timeouts := s.win.Counts[record.TimeoutConnect] + s.win.Counts[record.TimeoutResponse]
		if timeouts > 0 && lateNS > 0 && s.sentLater(lateNS, 0.99) {
			s.flaws |= flawLateTimeout
		}
	}
}

// sentLater reports whether the quantile q of the second's send lag is above ns:
// whether more than 1−q of the requests were sent later than that.
func (s *second) sentLater(ns, q float64) bool {
	above := float64(s.win.SendLag.CountAbove(uint64(ns / 1000)))
	return above > (1-q)*float64(s.win.SendLag.Count())+1e-9
}

// markControl marks the seconds in which the control lane suffered as well.
// Slow holds the seconds in which it was slow.
func (l *laneSide) markControl(control *laneSide, slow map[int64]bool) {
	theirs := control.windows()
	near := map[int64]bool{}
	for i := range l.secs {
		s := &l.secs[i]
		if slow[s.at] {
			s.flaws |= flawControlSlow
		}
		var own, other trial
		for j := max(0, i-1); j <= min(i+1, len(l.secs)-1); j++ {
			n := &l.secs[j]
			if n.at < s.at-1 || n.at > s.at+1 {
				continue
			}
			if n.win != nil {
				own.e, own.n = own.e+float64(n.win.Failed()), own.n+float64(n.win.Sent())
			}
			if w := theirs.at(n.at); w != nil {
				other.e, other.n = other.e+float64(w.Failed()), other.n+float64(w.Sent())
			}
		}
		// A second in which all of the lane's own requests were served proves just
		// that, whatever befell the control lane.
		if s.win == nil || s.win.Failed() == 0 {
			continue
		}
		// One failure each, here and there, is coincidence.
		if other.e > 1 && other.e/max(1, other.n) >= controlShare*own.e/max(1, own.n) {
			s.flaws |= flawControlFailed
		}
		if s.flaws&spoilsFailures == 0 {
			for d := int64(-controlNear); d <= controlNear; d++ {
				near[s.at+d] = true
			}
		}
	}
	for at := range near {
		if w := theirs.at(at); w != nil && control.lane.Rate > 0 {
			l.excused += float64(w.Failed()) * l.lane.Rate / control.lane.Rate
		}
	}
	if l.excused <= 1 { // one failure is coincidence
		l.excused = 0
	}
}

// smoothing is how many seconds of the control lane are looked at together: a
// single one may be slow by chance.
const smoothing = 5

// controlBusy returns, for each second of the control lane on one side, the
// median p90 of the seconds around it, in nanoseconds.
func controlBusy(c *laneSide) []float64 {
	p90 := make([]float64, len(c.secs))
	for i := range c.secs {
		if w := c.secs[i].win; w != nil {
			p90[i] = float64(w.Latency.Quantile(0.9)) * 1000
		}
	}
	out := make([]float64, len(c.secs))
	around := make([]float64, 0, smoothing)
	for i := range out {
		around = append(around[:0], p90[max(0, i-smoothing/2):min(i+smoothing/2+1, len(p90))]...)
		slices.Sort(around)
		out[i] = around[len(around)/2]
	}
	return out
}

// slowSeconds returns the seconds of the upgrade in which the control lane was
// slower than anything its baseline showed.
func slowSeconds(control *laneEvidence) map[int64]bool {
	worst := 0.0
	for _, ns := range controlBusy(control.base) {
		worst = max(worst, ns)
	}
	slow := map[int64]bool{}
	if worst == 0 {
		return slow
	}
	for i, ns := range controlBusy(control.up) {
		if ns > worst*controlSlack+controlFloorNS {
			slow[control.up.secs[i].at] = true
		}
	}
	return slow
}
