package judge

import (
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Limits of the validity rules; docs/measurement.md gives the measurements that
// they rest on.
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
		lag := float64(s.win.SendLag.Quantile(0.99)) * 1000
		if lag > maxSendLagNS {
			s.flaws |= flawLag
		}
		timeouts := s.win.Counts[record.TimeoutConnect] + s.win.Counts[record.TimeoutResponse]
		if timeouts > 0 && lateNS > 0 && lag > lateNS {
			s.flaws |= flawLateTimeout
		}
	}
}

// markControl marks the seconds in which the control lane suffered as well.
// Slow holds the seconds in which it was slow.
func (l *laneSide) markControl(control *laneSide, slow map[int64]bool) {
	if control == nil || control.data == nil {
		return
	}
	theirs := make(map[int64]*record.Window, len(control.data.Windows))
	for i := range control.data.Windows {
		w := &control.data.Windows[i]
		theirs[w.Second] = w
	}
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
			if w := theirs[n.at]; w != nil {
				other.e, other.n = other.e+float64(w.Failed()), other.n+float64(w.Sent())
			}
		}
		if other.e > 0 && other.e/max(1, other.n) >= controlShare*own.e/max(1, own.n) {
			s.flaws |= flawControlFailed
		}
	}
}

// smoothing is how many seconds the control lane's latency is looked at
// together: one second alone has too few requests for a quantile.
const smoothing = 5

// controlBusy returns, for each second of the control lane on one side, its p90
// over the seconds around it, in nanoseconds.
func controlBusy(c *laneSide) []float64 {
	out := make([]float64, len(c.secs))
	var d record.Dense
	for i := range c.secs {
		d.Reset()
		for j := max(0, i-smoothing/2); j <= min(i+smoothing/2, len(c.secs)-1); j++ {
			if w := c.secs[j].win; w != nil {
				d.Merge(&w.Latency, 1)
			}
		}
		out[i] = float64(d.Quantile(0.9)) * 1000
	}
	return out
}

// slowSeconds returns the seconds of the upgrade in which the control lane was
// slower than anything its baseline showed.
func slowSeconds(baseline, upgrade *laneSide) map[int64]bool {
	if baseline == nil || upgrade == nil {
		return nil
	}
	worst := 0.0
	for _, ns := range controlBusy(baseline) {
		worst = max(worst, ns)
	}
	if worst == 0 {
		return nil
	}
	slow := map[int64]bool{}
	for i, ns := range controlBusy(upgrade) {
		if ns > worst*controlSlack+controlFloorNS {
			slow[upgrade.secs[i].at] = true
		}
	}
	return slow
}
