package reports

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// worstOutages returns the n outages that matter most, judged before unjudged
// and long before short, with the events closest to each, and what the others
// come to: a busy machine has a stall of 60 ms every few seconds, and the report
// must not be about those. Where there are no more than n, they keep their order.
func (v View) worstOutages(n, events int) (worst []Outage, rest foldedOutages) {
	worst = slices.Clone(v.Outages)
	if len(worst) > n {
		slices.SortStableFunc(worst, func(a, b Outage) int {
			if a.Usable != b.Usable {
				return map[bool]int{true: -1, false: 1}[a.Usable]
			}
			return cmp.Compare(b.AtMost, a.AtMost)
		})
		for _, o := range worst[n:] {
			rest.add(o)
		}
		worst = worst[:n]
	}
	for i := range worst {
		worst[i].Nearby = worst[i].Nearby[:min(events, len(worst[i].Nearby))]
	}
	return worst, rest
}

// foldedOutages is what the outages come to that are not told one by one.
type foldedOutages struct {
	Count, NotJudged int
	Longest, Total   time.Duration // at most
	Failed           uint64
}

func (f *foldedOutages) add(o Outage) {
	f.Count++
	f.Longest, f.Total = max(f.Longest, o.AtMost), f.Total+o.AtMost
	f.Failed += o.Failed
	if !o.Usable {
		f.NotJudged++
	}
}

// String writes them in one line: "and 12 more of at most 65 ms each, 702 ms
// together, in which no request was lost (9 not judged); all are in verdict.json".
func (f foldedOutages) String() string {
	lost := "no request was lost"
	if f.Failed == 1 {
		lost = "1 request was lost"
	} else if f.Failed > 1 {
		lost = count(f.Failed) + " requests were lost"
	}
	judged := ""
	if f.NotJudged > 0 {
		judged = fmt.Sprintf(" (%s not judged)", count(uint64(f.NotJudged)))
	}
	if f.Count == 1 {
		return fmt.Sprintf("and 1 more of at most %s, in which %s%s; all are in verdict.json", span(f.Longest), lost, judged)
	}
	return fmt.Sprintf("and %s more of at most %s each, %s together, in which %s%s; all are in verdict.json", count(uint64(f.Count)), span(f.Longest), span(f.Total), lost, judged)
}

// pageOutages is what the page shows of the outages: a card for each of the
// worst, and one for the others.
type pageOutages struct {
	Worst []Outage
	Rest  foldedOutages
}

func outagesOfPage(v View) pageOutages {
	worst, rest := v.worstOutages(8, 6)
	return pageOutages{worst, rest}
}
