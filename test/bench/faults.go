package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// planted is one run of a contestant against a server with planted faults.
type planted struct {
	sent
	process process
	log     []faulttest.Arrival
	zero    time.Time
	gone    []faulttest.Fault // when it really refused
	record  *record.Record    // of rehearse
}

// invalid says why the runner was not able to measure, by the rules that make a
// verdict INCONCLUSIVE; it is empty where it was.
func (p *planted) invalid() string {
	var lag record.Dense
	var unsent, due uint64
	for i := range p.record.Lanes[0].Windows {
		w := &p.record.Lanes[0].Windows[i]
		lag.Merge(&w.SendLag, 1)
		unsent += w.Counts[record.Unsent]
		due += w.Due()
	}
	if q := lag.Quantile(0.99); q > 25_000 {
		return fmt.Sprintf("send-lag p99 of %d ms", q/1000)
	}
	if float64(unsent) > 0.001*float64(due) {
		return fmt.Sprintf("%d of %d requests unsent", unsent, due)
	}
	return ""
}

// valid measures b.rounds rounds; those that were not valid are measured again,
// at most b.rounds in all. It returns sentences about them for the table, and the
// reason of whatever is missed.
func (b *bench) valid(ctx context.Context, what string, measure func(round int, last bool) (invalid string, err error)) (notes []string, reason string, err error) {
	repeats, counted := 0, 0
	for round := 0; round < b.rounds; {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		b.say("  %sround %d of %d", what, round+1, b.rounds)
		invalid, err := measure(round+repeats, repeats >= b.rounds)
		if err != nil {
			return nil, "", err
		}
		switch {
		case invalid != "" && repeats < b.rounds:
			b.say("    not valid, repeated: %s", invalid)
			repeats++
			continue
		case invalid != "":
			counted++
		}
		round++
	}
	reason = "all rounds were valid"
	if repeats > 0 {
		note := fmt.Sprintf("%s%d rounds were repeated, because the machine kept the runner from sending in time.", what, repeats)
		if counted > 0 {
			note += fmt.Sprintf(" %d more count although it did.", counted)
			reason = fmt.Sprintf("the machine kept the runner from sending in time in %d of %d rounds; see the load averages", counted, b.rounds)
		}
		notes = append(notes, note)
	}
	return notes, reason, nil
}

// plant runs a contestant against planted faults, which count from the moment
// the server is armed, just before the contestant starts.
func (b *bench) plant(ctx context.Context, name string, faults []faulttest.Fault, args ...string) (p planted, err error) {
	s, err := b.startServer(ctx, faults)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if p.zero, err = s.armed(); err != nil {
		return p, err
	}
	args = append([]string{"role-send", "-target", s.url}, args...)
	dir := ""
	if name != "" {
		dir = filepath.Join(b.dir, name)
		args = append(args, "-engine", "rehearse", "-record", dir)
	}
	if p.process, err = runProcess(ctx, nil, b.self, args...); err != nil {
		return p, err
	}
	if err := json.Unmarshal(p.process.out, &p.sent); err != nil {
		return p, err
	}
	if err := s.ask("log", &p.log); err != nil {
		return p, err
	}
	if err := s.ask("refused", &p.gone); err != nil {
		return p, err
	}
	if dir != "" {
		p.record, err = record.Load(dir)
	}
	return p, err
}

// at returns when an offset of the record was, counted from the server's zero.
func (p *planted) at(offset int64) time.Duration {
	return p.record.Run.Started.Add(time.Duration(offset)).Sub(p.zero)
}

// spans returns the spans of a kind, joined over windows.
func (p *planted) spans(kind record.SpanKind) []record.Span {
	var out []record.Span
	lane := p.record.Lanes[0]
	step := int64(1e9/lane.Lane.Rate) + 1
	for _, w := range lane.Windows {
		for _, s := range w.Spans {
			if s.Kind != kind {
				continue
			}
			if n := len(out); n > 0 && s.First-out[n-1].Last <= step {
				out[n-1].Last, out[n-1].Count = s.Last, out[n-1].Count+s.Count
				continue
			}
			out = append(out, s)
		}
	}
	return out
}

// latency returns the corrected latencies of the whole run.
func (p *planted) latency() *record.Dense {
	var d record.Dense
	for i := range p.record.Lanes[0].Windows {
		d.Merge(&p.record.Lanes[0].Windows[i].Latency, 1)
	}
	return &d
}

// hang measures target 2.
func hang(ctx context.Context, b *bench) measured {
	const rate = 500
	length, total := 5*time.Second, 15*time.Second
	if b.quick {
		length, total = 2*time.Second, 7*time.Second
	}
	fault := faulttest.Fault{Kind: faulttest.Hang, From: 4 * time.Second, To: 4*time.Second + length}
	common := []string{"-rate", strconv.Itoa(rate), "-for", total.String(), "-timeout", (length + 2*time.Second).String()}
	var burst, theirBurst, p99, theirP99, counted, theirCounted sample
	notes, reason, err := b.valid(ctx, "", func(round int, last bool) (string, error) {
		ours, err := b.plant(ctx, fmt.Sprintf("hang-%d", round), []faulttest.Fault{fault}, common...)
		if err != nil {
			return "", err
		}
		invalid := ours.invalid()
		if invalid != "" && !last {
			return invalid, nil
		}
		theirs, err := b.plant(ctx, "", []faulttest.Fault{fault}, append(common, "-engine", "vegeta", "-max-workers", "50")...)
		if err != nil {
			return "", err
		}
		burst = append(burst, faulttest.MostInASecond(ours.log)/rate)
		theirBurst = append(theirBurst, faulttest.MostInASecond(theirs.log)/rate)
		truth, affected := ours.truth(fault, rate)
		p99 = append(p99, 100*math.Abs(float64(ours.latency().Quantile(0.99))/truth-1))
		theirP99 = append(theirP99, 100*(theirs.P99*1000/truth-1))
		var stalled uint64
		for _, s := range ours.spans(record.SpanStalled) {
			stalled += s.Count
		}
		counted = append(counted, 100*float64(stalled)/affected)
		theirCounted = append(theirCounted, 100*float64(theirs.Slow)/affected)
		return invalid, nil
	})
	if err != nil {
		return measured{err: err}
	}
	return measured{notes: notes, rows: []row{
		{what: "most requests in a second, over the rate", ours: burst.format("%.2f", ""), reference: "vegeta, 50 workers: " + theirBurst.format("%.2f", ""),
			limit: "≤ 1.20", met: burst.median() <= 1.2, reason: reason},
		{what: "p99, off the truth", ours: p99.format("%.1f", "%"), reference: "vegeta " + theirP99.format("%.1f", "%"),
			limit: "≤ 5%", met: p99.median() <= 5, reason: reason},
		{what: "requests held up that were counted as such", ours: counted.format("%.1f", "%"), reference: "vegeta " + theirCounted.format("%.1f", "%"),
			limit: "99% to 101%", met: math.Abs(counted.median()-100) <= 1, reason: reason},
	}}
}

func absolute(s sample) sample {
	out := slices.Clone(s)
	for i := range out {
		out[i] = math.Abs(out[i])
	}
	return out
}

// truth returns the exact p99 in microseconds of the slots of a run in which
// those due within a hang wait for its end and the others for nothing, and how
// many those were.
func (p *planted) truth(f faulttest.Fault, rate float64) (p99, affected float64) {
	windows := p.record.Lanes[0].Windows
	first := p.at(windows[0].Second * 1e9)
	var waits []float64
	for i := range int(p.Requests) {
		due := first + time.Duration(float64(i)*1e9/rate)
		if due >= f.From && due < f.To {
			waits = append(waits, float64((f.To - due).Microseconds()))
		} else {
			waits = append(waits, 0)
		}
	}
	slices.Sort(waits)
	for _, w := range waits {
		if w > 0 {
			affected++
		}
	}
	return waits[int(math.Ceil(0.99*float64(len(waits))))-1], affected
}

// blackHole measures target 3.
func blackHole(ctx context.Context, b *bench) measured {
	const (
		rate    = 1000
		timeout = 5 * time.Second
		// The engine's own bound: what rate, timeout and catching up allow.
		bound = 5626
	)
	total := 25 * time.Second
	if b.quick {
		total = 10 * time.Second
	}
	fault := faulttest.Fault{Kind: faulttest.BlackHole, From: 3 * time.Second, To: time.Hour}
	var goroutines, rss, over, missing sample
	notes, reason, err := b.valid(ctx, "", func(round int, last bool) (string, error) {
		p, err := b.plant(ctx, fmt.Sprintf("hole-%d", round), []faulttest.Fault{fault}, "-rate", strconv.Itoa(rate), "-for", total.String(), "-timeout", timeout.String(), "-kind", "new")
		if err != nil {
			return "", err
		}
		invalid := p.invalid()
		if invalid != "" && !last {
			return invalid, nil
		}
		goroutines = append(goroutines, float64(p.Goroutines))
		rss = append(rss, float64(p.process.rss)/(1<<20))
		worst := int64(p.latency().Quantile(1)) * 1000
		for _, r := range p.record.Lanes[0].Requests {
			worst = max(worst, r.Latency)
		}
		over = append(over, float64(worst-int64(timeout))/1e6)
		var due uint64
		for i := range p.record.Lanes[0].Windows {
			due += p.record.Lanes[0].Windows[i].Due()
		}
		missing = append(missing, float64(int64(p.Requests)-int64(due)))
		return invalid, nil
	})
	if err != nil {
		return measured{err: err}
	}
	// Once: it is a minute of 50,000 goroutines.
	theirs, err := b.plant(ctx, "", []faulttest.Fault{fault}, "-engine", "vegeta", "-rate", strconv.Itoa(rate), "-for", total.String(), "-timeout", "30s", "-kind", "new")
	if err != nil {
		return measured{err: err}
	}
	// These are bounds: the worst of the rounds has to keep them.
	return measured{notes: append(notes, "The worst of the rounds decides here, not the median."), rows: []row{
		{what: "goroutines at most", ours: goroutines.format("%.0f", ""), reference: fmt.Sprintf("vegeta at its default timeout of 30 s, %s of it: %d", total, theirs.Goroutines),
			limit: fmt.Sprintf("≤ %d", 3*bound), met: slices.Max(goroutines) <= 3*bound, reason: reason},
		{what: "RSS at most", ours: rss.format("%.0f", " MB"), reference: fmt.Sprintf("vegeta: %d MB", theirs.process.rss>>20), limit: "≤ 250 MB", met: slices.Max(rss) <= 250, reason: reason},
		{what: "greatest latency beyond the timeout", ours: over.format("%.0f", " ms"), reference: fmt.Sprintf("vegeta: %.0f ms", theirs.Max-30_000), limit: "≤ 250 ms", met: slices.Max(over) <= 250,
			reason: reason},
		{what: "slots not accounted for", ours: missing.format("%.0f", ""), limit: "0", met: slices.Max(absolute(missing)) == 0, reason: reason},
	}}
}
