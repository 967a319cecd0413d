package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
)

// Ledger gives every lost and every slow request a cause, or says that it has
// none; judge.Ledger says how.
type Ledger struct {
	Summary string
	Lanes   []LaneLedger
	Bursts  []Burst // in order of time
	Rest    []LedgerRest
}

// LaneLedger says from which latency on, in milliseconds, a lane's answers are slow.
type LaneLedger struct {
	Lane, Explain string
	Lost, Slow    uint64
	SlowMS        float64
}

// Burst is one entry of the ledger, numbered from 1: requests that were lost, or
// slow, together.
type Burst struct {
	Number           int
	Kind             string // one of judge's
	Lane, Phase      string
	Span             Span
	AtLeast, AtMost  time.Duration
	Lost, Slow, Sent uint64
	Worst            float64 // the longest latency in milliseconds; 0 where it is not told
	Classes          []Count
	Pods, Nodes      []string
	From             string // requests or event: who names the pods and nodes
	Signature        string
	Event            string   // that explains it, or is the closest; empty where there is none
	Chance           *float64 // that events at other times would do as well
	Cause, Usual     string
	Mend             string
	Set, Nearby      []string
	Usable           bool
}

// LedgerRest sums up what is in no listed burst.
type LedgerRest struct {
	Lane, Kind, Phase string
	Bursts            int
	Lost, Slow        uint64
	Span              Span
	Cause             string
}

func newLedger(l judge.Ledger) Ledger {
	out := Ledger{Summary: clean(l.Summary)}
	for _, x := range l.Lanes {
		out.Lanes = append(out.Lanes, LaneLedger{Lane: clean(x.Lane), Explain: clean(x.Explain), Lost: x.Lost, Slow: x.Slow, SlowMS: x.SlowMS})
	}
	for i, x := range l.Bursts {
		b := Burst{
			Number: i + 1, Kind: clean(x.Kind), Lane: clean(x.Lane), Phase: clean(x.Phase), Span: Span{time.Duration(x.Start), time.Duration(max(x.Start, x.End))},
			AtLeast: time.Duration(x.LowerNS), AtMost: time.Duration(x.UpperNS), Lost: x.Lost, Slow: x.Slow, Sent: x.Sent, Worst: x.WorstMS,
			Classes: counts(x.Classes), Pods: cleanAll(x.Pods), Nodes: cleanAll(x.Nodes), From: clean(x.From), Signature: clean(string(x.Signature)),
			Chance: x.Chance, Cause: clean(x.Cause), Usual: clean(x.Usual), Mend: clean(x.Mend), Set: cleanAll(x.Set), Nearby: cleanAll(x.Nearby), Usable: x.Usable,
		}
		if e := x.Event; e != nil {
			b.Event = clean(fmt.Sprintf("%s %s at %s", e.Kind, e.Subject, offset(time.Duration(e.T))))
		}
		out.Bursts = append(out.Bursts, b)
	}
	for _, x := range l.Rest {
		out.Rest = append(out.Rest, LedgerRest{
			Lane: clean(x.Lane), Kind: clean(x.Kind), Phase: clean(x.Phase), Bursts: x.Bursts, Lost: x.Lost, Slow: x.Slow,
			Span: Span{time.Duration(x.Start), time.Duration(x.End)}, Cause: clean(x.Cause),
		})
	}
	return out
}

// Unattributed reports whether nothing explains the burst.
func (b Burst) Unattributed() bool { return strings.HasPrefix(b.Cause, "unattributed") }

// Machine reports whether the burst is put down to the machine.
func (b Burst) Machine() bool { return b.Signature == string(judge.SignatureContention) }

// Tone is how the page marks the burst: lost, slow, or machine.
func (b Burst) Tone() string {
	switch {
	case b.Machine() || !b.Usable:
		return "machine"
	case b.Kind == judge.BurstSlow || b.Kind == judge.BurstAPI:
		return "slow"
	}
	return "lost"
}

// where writes what the burst is about.
func (b Burst) where() string {
	if b.Kind == judge.BurstAPI {
		return "API server"
	}
	return b.Lane
}

// requests writes what became of its requests.
func (b Burst) requests() string {
	noun := "request"
	if b.Kind == judge.BurstAPI {
		noun = "observation"
	}
	if b.Kind == judge.BurstSlow {
		s := fmt.Sprintf("%s of %s slow", english.Number(b.Slow), english.Count(b.Sent, noun))
		if b.Worst > 0 {
			s += ", the longest took " + millis(b.Worst)
		}
		return s
	}
	s := fmt.Sprintf("%s of %s lost", english.Number(b.Lost), english.Count(b.Sent, noun))
	for i, c := range b.Classes {
		sep := ", "
		if i == 0 {
			sep = " ("
		}
		s += sep + english.Number(c.Count) + " " + c.Name
	}
	if len(b.Classes) > 0 {
		s += ")"
	}
	if b.Slow > 0 {
		s += fmt.Sprintf(", %s slow around it", english.Number(b.Slow))
	}
	return s
}

// statement writes the burst in one line.
func (b Burst) statement() string {
	s := fmt.Sprintf("%s at %s, in the %s: %s, %s", b.where(), offset(b.Span.Start), b.Phase, bounds(b.AtLeast, b.AtMost), b.requests())
	if !b.Usable {
		s += "; not judged, the measurement was not valid here"
	}
	return s
}

// who writes whom it concerns, or nothing.
func (b Burst) who() string {
	var parts []string
	if len(b.Pods) > 0 {
		parts = append(parts, "pod "+strings.Join(b.Pods, ", "))
	}
	if len(b.Nodes) > 0 {
		parts = append(parts, "node "+strings.Join(b.Nodes, ", "))
	}
	if len(parts) == 0 {
		return ""
	}
	from := "as the event says"
	if b.From == "requests" {
		from = "as its requests met them"
	}
	return strings.Join(parts, " on ") + ", " + from
}

// coincidence writes how likely the cause is one, or nothing: where it is
// unattributed, the cause itself says so.
func (b Burst) coincidence() string {
	if b.Chance == nil || b.Unattributed() || b.Machine() {
		return ""
	}
	return fmt.Sprintf("in %s of cases events at other times would explain it as well", percent(*b.Chance))
}

// remedy writes what usually mends it, with the fields to set.
func (b Burst) remedy() string {
	if len(b.Set) == 0 {
		return b.Mend
	}
	return b.Mend + " Set " + strings.Join(b.Set, "; ") + "."
}

// String writes what is in no listed burst: "new, in the upgrade: 6 slow;
// unattributed: scattered, ...".
func (r LedgerRest) String() string {
	var parts []string
	if r.Lost > 0 {
		parts = append(parts, english.Number(r.Lost)+" lost")
	}
	if r.Slow > 0 {
		parts = append(parts, english.Number(r.Slow)+" slow")
	}
	s := r.Lane
	switch {
	case r.Bursts > 0:
		s += fmt.Sprintf(", %s more", english.Count(uint64(r.Bursts), "burst"))
	case r.Phase != "":
		s += ", in the " + r.Phase
	}
	return fmt.Sprintf("%s: %s; %s", s, strings.Join(parts, ", "), r.Cause)
}

// rank puts what is judged before what is not: outages of a second or more, then
// other requests that were lost, then what was late and what the API's probes saw.
func (b Burst) rank() int {
	switch {
	case !b.Usable:
		return 3
	case b.Kind == judge.BurstOutage && b.AtLeast >= time.Second:
		return 0
	case b.Kind != judge.BurstAPI && b.Lost > 0:
		return 1
	}
	return 2
}

// weight is how many requests suffered, a lost one as much as ten slow ones.
func (b Burst) weight() uint64 {
	if b.Kind == judge.BurstAPI {
		return b.Lost // observations
	}
	late := b.Slow
	for _, c := range b.Classes {
		if c.Name == "stalled" {
			late = max(late, c.Count)
		}
	}
	return 10*b.Lost + late
}

// worst returns the n bursts that matter most, by rank and weight, with the events
// closest to each, and the others. A busy machine has a stall of 60 ms every few
// seconds, and the report must not be about those. Where there are no more than n,
// they keep their order.
func (l Ledger) worst(n, events int) (worst, others []Burst) {
	worst = slices.Clone(l.Bursts)
	if len(worst) > n {
		slices.SortStableFunc(worst, func(a, b Burst) int {
			return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(b.weight(), a.weight()), cmp.Compare(b.AtMost, a.AtMost))
		})
		worst, others = worst[:n:n], worst[n:]
		slices.SortStableFunc(others, func(a, b Burst) int { return cmp.Compare(a.Number, b.Number) })
	}
	for i := range worst {
		worst[i].Nearby = worst[i].Nearby[:min(events, len(worst[i].Nearby))]
	}
	return worst, others
}

// pageLedger is what the page shows of the ledger: a card for each of the bursts
// that matter most, a table of the others, and the rest.
type pageLedger struct{ Worst, Others []Burst }

func ledgerOfPage(v View) pageLedger {
	worst, others := v.Ledger.worst(8, 6)
	return pageLedger{worst, others}
}
