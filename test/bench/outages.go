package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// outages measures target 7.
func outages(ctx context.Context, b *bench) (m measured) {
	for _, kind := range []faulttest.Kind{faulttest.Refuse, faulttest.Hang, faulttest.Unavailable, faulttest.Reset} {
		for _, lane := range []string{"new", "reused"} {
			r, notes, err := b.outagesOf(ctx, kind, lane)
			m.notes = append(m.notes, notes...)
			if err != nil {
				m.err = err
				return m
			}
			m.rows = append(m.rows, r)
		}
	}
	return m
}

func (b *bench) outagesOf(ctx context.Context, kind faulttest.Kind, lane string) (row, []string, error) {
	const (
		rate = 500
		step = float64(time.Second) / rate
		near = 25 // intervals, 50 ms: nearer than that it is this outage, whatever its edges
	)
	name := fmt.Sprintf("%s, lane %s", kind, lane)
	faults := []faulttest.Fault{
		// The shortest that must be seen, with slots on both of its edges.
		{Kind: kind, From: 3 * time.Second, To: 3*time.Second + 55*time.Millisecond},
		{Kind: kind, From: 4 * time.Second, To: 4700 * time.Millisecond},
	}
	var edges, late sample
	found := 0
	notes, reason, err := b.valid(ctx, name+": ", func(round int, last bool) (string, error) {
		p, err := b.plant(ctx, fmt.Sprintf("outage-%s-%s-%d", kind, lane, round), faults, "-rate", strconv.Itoa(rate), "-for", "4500ms", "-kind", lane)
		if err != nil {
			return "", err
		}
		invalid := p.invalid()
		if invalid != "" && !last {
			return invalid, nil
		}
		planted := faults
		if kind == faulttest.Refuse {
			planted = p.gone // its timers may have been late
		}
		if len(planted) != len(faults) {
			return "", fmt.Errorf("%s: the server refused %d times instead of %d", name, len(planted), len(faults))
		}
		spanKind := record.SpanFailed
		if kind == faulttest.Hang {
			spanKind = record.SpanStalled
		}
		spans := p.spans(spanKind)
		for _, f := range planted {
			worst := math.Inf(1)
			for _, s := range spans {
				first, last := p.at(s.First), p.at(s.Last)
				worst = min(worst, max(math.Abs(float64(first-f.From)), math.Abs(float64(last-f.To)))/step)
			}
			if worst < near {
				found++
				edges = append(edges, worst)
			}
			if worst > 2 {
				late = append(late, p.latest(f.From, f.To))
			}
		}
		return invalid, nil
	})
	all := len(faults) * b.rounds
	if len(late) > 0 {
		reason += fmt.Sprintf("; where an edge is off or missing the runner sent up to %s late in those seconds", late.format("%.1f", " ms"))
	}
	return row{
		what: name + ": found of planted; worse edge, in intervals",
		ours: fmt.Sprintf("%d of %d; ", found, all) + edges.format("%.1f", ""), limit: "all; ≤ 2",
		met: found == all && edges.median() <= 2, reason: reason,
	}, notes, err
}

// latest returns by how many milliseconds the latest request was late in the
// seconds of a fault's edges: an edge cannot be nearer than that.
func (p *planted) latest(from, to time.Duration) float64 {
	var worst uint64
	for i := range p.record.Lanes[0].Windows {
		w := &p.record.Lanes[0].Windows[i]
		for _, edge := range []time.Duration{from, to} {
			if at := p.at(w.Second * 1e9); at <= edge && edge < at+time.Second {
				worst = max(worst, w.SendLag.Max())
			}
		}
	}
	return float64(worst) / 1000
}
