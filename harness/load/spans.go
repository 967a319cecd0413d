package load

import (
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// spansOf returns the spans of w, at most record.MaxSpans: where there are more,
// the first, the last, and the longest of the others.
func spansOf(w *openWindow, sched schedule) []record.Span {
	var spans []record.Span
	const none = record.SpanKind(255)
	prev := none
	for i := range w.slots {
		kind := none
		if w.slots[i].absent {
			continue // its neighbours follow each other
		}
		switch s := &w.slots[i]; {
		case s.class == record.Unsent:
			kind = record.SpanUnsent
		case s.class.Failed():
			kind = record.SpanFailed
		case s.stalled:
			kind = record.SpanStalled
		}
		if kind != none {
			due := sched.due(w.first + int64(i))
			if kind != prev {
				spans = append(spans, record.Span{Kind: kind, First: due})
			}
			last := &spans[len(spans)-1]
			last.Last = due
			last.Count++
		}
		prev = kind
	}
	if len(spans) <= record.MaxSpans {
		return spans
	}
	middle := spans[1 : len(spans)-1]
	longest := slices.Clone(middle)
	slices.SortStableFunc(longest, func(a, b record.Span) int { return int((b.Last - b.First) - (a.Last - a.First)) })
	longest = longest[:record.MaxSpans-2]
	slices.SortFunc(longest, func(a, b record.Span) int { return int(a.First - b.First) })
	out := append([]record.Span{spans[0]}, longest...)
	return append(out, spans[len(spans)-1])
}

// stalls finds hangs: stretches in which nothing at all was answered although
// slots were due. It is fed with the time of every answer.
type stalls struct {
	least   int64 // shortest stretch that counts, ns
	typical int64 // median latency of the last window without a stall, ns
	last    int64 // the latest answer
	any     bool
	gaps    []gap // in order
}

// gap is a stretch without an answer, from one answer to the next.
type gap struct {
	from, to int64
	typical  int64 // latency before it
}

// newStalls returns a detector that sees hangs of max(50 ms, 10/rate) or more:
// the resolution at which ten slots in a row went unanswered.
func newStalls(rate float64) stalls {
	return stalls{least: max(50e6, int64(10e9/rate))}
}

// slow returns the latency from which a request is recorded singly.
func (s *stalls) slow() int64 { return max(s.least, 8*s.typical) }

// answered notes an answer at t. Answers come in almost in order of t: workers
// report on their own.
func (s *stalls) answered(t int64) {
	if !s.any {
		s.any, s.last = true, t
		return
	}
	if t >= s.last {
		if t-s.last >= s.least {
			s.gaps = append(s.gaps, gap{from: s.last, to: t, typical: s.typical})
		}
		s.last = t
		return
	}
	// A late report within what looked like silence cuts it in two.
	for i := len(s.gaps) - 1; i >= 0 && s.gaps[i].to > t; i-- {
		g := s.gaps[i]
		if g.from >= t {
			continue
		}
		var parts []gap
		for _, p := range []gap{{g.from, t, g.typical}, {t, g.to, g.typical}} {
			if p.to-p.from >= s.least {
				parts = append(parts, p)
			}
		}
		s.gaps = slices.Replace(s.gaps, i, i+1, parts...)
		return
	}
}

// mark marks the slots of w that were held up by a gap. Answers come a typical
// latency after their request, so the hang proper began that long before the
// last answer and ended that long before the first: slots due in between, sent
// in time and answered after it, were held up.
func (s *stalls) mark(w *openWindow, sched schedule) {
	for _, g := range s.gaps {
		for i := range w.slots {
			slot := &w.slots[i]
			if slot.class != record.OK {
				continue
			}
			due := sched.due(w.first + int64(i))
			sent, done := due+int64(slot.lag)*1000, due+int64(slot.latency)*1000
			// Latencies are kept in whole microseconds, rounded down.
			if due > g.from-g.typical && sent < g.to-g.typical && done+1000 >= g.to && int64(slot.lag)*1000 < s.least/2 {
				slot.stalled = true
			}
		}
	}
}

// forget drops gaps that ended before second: every slot due in them was
// answered after them, so their windows are written once that second is.
func (s *stalls) forget(second int64) {
	n := 0
	for n < len(s.gaps) && s.gaps[n].to <= second*1e9 {
		n++
	}
	if n > 0 {
		s.gaps = append(s.gaps[:0], s.gaps[n:]...)
	}
}
