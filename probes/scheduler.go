package probes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// StallGrace is how long after its timeout a Check may take to return before
// its probe is lost. It is generous because the machine that probes also runs
// the cluster; a probe that heeds its context never comes near it.
const StallGrace = 5 * time.Second

// maxErrorText bounds the error text of one sample, in bytes.
const maxErrorText = 200

// Scheduler runs probes: each at its interval, with a timeout for each
// observation, and never two observations of one probe at once. Every
// observation goes to the sink; a change between fine and not fine also goes to
// the timeline, as probe-down and probe-up. A probe counts as fine before its
// first observation.
//
// A probe is lost when its Check panics, when it does not return within
// StallGrace of its timeout, and when the sink refuses a sample. Its data end
// there, the timeline says probe-lost with the reason, and the other probes go on.
//
// Add and Start are not safe for concurrent use; the other methods are.
type Scheduler struct {
	events  *timeline.Recorder
	sink    Sink
	log     *slog.Logger
	entries []entry

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	lost []string
}

type entry struct {
	probe             Probe
	name              string
	interval, timeout time.Duration
}

// NewScheduler returns a scheduler that writes transitions to events, by whose
// clock it stamps samples too, and samples to sink.
func NewScheduler(events *timeline.Recorder, sink Sink, log *slog.Logger) *Scheduler {
	return &Scheduler{events: events, sink: sink, log: log}
}

var probeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// Add registers a probe, to be called before Start. It fails where the name
// could not be a file's name, is taken, or interval or timeout is not positive.
func (s *Scheduler) Add(p Probe, interval, timeout time.Duration) error {
	name := p.Name()
	if !probeName.MatchString(name) {
		return fmt.Errorf("probe name %q: want lower-case letters, digits, '-' and '.', because it names a file of the record", name)
	}
	if slices.ContainsFunc(s.entries, func(e entry) bool { return e.name == name }) {
		return fmt.Errorf("probe %q is registered twice; give each probe a name of its own", name)
	}
	if interval <= 0 || timeout <= 0 {
		return fmt.Errorf("probe %q: interval %v and timeout %v must both be above zero", name, interval, timeout)
	}
	s.entries = append(s.entries, entry{probe: p, name: name, interval: interval, timeout: timeout})
	return nil
}

// Probes describes the registered probes for run.json, in the order of Add.
func (s *Scheduler) Probes() []record.Probe {
	out := make([]record.Probe, 0, len(s.entries))
	for _, e := range s.entries {
		out = append(out, record.Probe{Name: e.name, IntervalNS: int64(e.interval), TimeoutNS: int64(e.timeout)})
	}
	return out
}

// Start begins to observe and returns at once. Probes of equal interval do not
// start together: they are spread over it, so that they do not disturb each
// other. Observations go on until Stop is called or ctx ends.
func (s *Scheduler) Start(ctx context.Context) {
	ctx, s.cancel = context.WithCancel(ctx)
	begin := time.Now()
	for i, e := range s.entries {
		first := begin.Add(e.interval * time.Duration(i) / time.Duration(len(s.entries)))
		s.wg.Go(func() { s.run(ctx, e, first) })
	}
}

// Stop ends all observations and returns when the running ones have ended, at
// the latest after StallGrace. An observation that Stop cut short is not
// recorded: it says nothing about the cluster. Stop may be called more than
// once, and without Start. Probes that are an io.Closer are closed.
func (s *Scheduler) Stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.wg.Wait()
	for _, e := range s.entries {
		if c, ok := e.probe.(io.Closer); ok {
			if err := c.Close(); err != nil {
				s.log.Warn("probe did not close", "probe", e.name, "error", err)
			}
		}
	}
}

// Lost names the probes that were lost so far, in the order in which they were.
func (s *Scheduler) Lost() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lost)
}

// state is what the scheduler remembers of one probe between observations.
type state struct {
	failed                int   // failed samples of the present stretch; 0 while fine
	firstFailed, lastFail int64 // the T of the first, and until when the last shows it
	lastOK                int64 // T of the last sample that was fine, or of the first of all
	seen                  bool
}

func (s *Scheduler) run(ctx context.Context, e entry, due time.Time) {
	var st state
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		sample, reason := s.observe(ctx, e)
		if reason == "" && ctx.Err() != nil && !sample.OK {
			return
		}
		if reason == "" {
			s.transition(e.name, &st, sample)
			if err := s.sink.ProbeSample(e.name, sample); err != nil {
				reason = fmt.Sprintf("its samples could not be written: %v", err)
			}
		}
		if reason != "" {
			s.lose(e.name, reason)
			return
		}
		due = nextDue(due, e.interval, time.Now())
		timer.Reset(time.Until(due))
	}
}

// nextDue returns the first instant after now on the grid that due and interval
// span. Instants that passed while an observation ran are left out, not made up for.
func nextDue(due time.Time, interval time.Duration, now time.Time) time.Time {
	passed := now.Sub(due)/interval + 1
	return due.Add(interval * max(passed, 1))
}

// observe makes one observation. A reason other than "" says why the probe is lost.
func (s *Scheduler) observe(ctx context.Context, e entry) (record.ProbeSample, string) {
	check, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	type outcome struct {
		from   time.Time
		err    error
		panics string
	}
	done := make(chan outcome, 1)
	clock := s.events.Clock()
	start := clock.Now()
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.panics = fmt.Sprint(p)
				s.log.Error("probe panicked", "probe", e.name, "panic", p, "stack", string(debug.Stack()))
			}
			done <- o
		}()
		if t, ok := e.probe.(Timed); ok {
			o.from, o.err = t.CheckFrom(check)
			return
		}
		o.err = e.probe.Check(check)
	}()

	var o outcome
	select {
	case o = <-done:
	case <-check.Done():
		grace := time.NewTimer(StallGrace)
		defer grace.Stop()
		select {
		case o = <-done:
		case <-grace.C:
			return record.ProbeSample{}, fmt.Sprintf("its check did not return within %v of its timeout of %v", StallGrace, e.timeout)
		}
	}
	if o.panics != "" {
		return record.ProbeSample{}, "its check panicked: " + o.panics
	}
	if !o.from.IsZero() {
		start = clock.At(o.from)
	}
	return sampleOf(start, max(clock.Now(), start), o.err, check.Err()), ""
}

// sampleOf makes the record of one observation. A check that failed after its
// context timed out, and says no class of its own, timed out.
func sampleOf(start, end time.Duration, err, ctxErr error) record.ProbeSample {
	sample := record.ProbeSample{T: int64(start), D: int64(end - start), OK: err == nil}
	if err == nil {
		return sample
	}
	class := Classify(err)
	if class == record.Other && errors.Is(ctxErr, context.DeadlineExceeded) {
		class = record.TimeoutResponse
	}
	sample.Class = class.String()
	sample.Error = truncate(err.Error())
	return sample
}

// truncate cuts text to maxErrorText bytes without splitting a character.
func truncate(text string) string {
	if len(text) <= maxErrorText {
		return text
	}
	cut := 0
	for i := range text {
		if i > maxErrorText-len("…") {
			break
		}
		cut = i
	}
	return text[:cut] + "…"
}

// transition writes an event where the sample changes the probe's state. A
// probe-down carries the offset at which the observation was begun, not that at
// which its timeout ran out; a probe-up that of the answer, which may have been
// long in coming. It says how many samples failed, and the bounds of how long
// that was: from the first failed sample to the last, and from the last that was
// answered to the next answer.
func (s *Scheduler) transition(name string, st *state, sample record.ProbeSample) {
	subject := "probe/" + name
	if !st.seen {
		st.seen, st.lastOK = true, sample.T
	}
	if !sample.OK {
		if st.failed == 0 {
			st.firstFailed = sample.T
			s.events.Add(timeline.Event{T: sample.T, Source: timeline.SourceProbe, Kind: timeline.KindProbeDown, Subject: subject,
				Detail: map[string]string{"class": sample.Class, "error": sample.Error}})
		}
		st.failed++
		st.lastFail = sample.T + sample.Held()
		return
	}
	if st.failed > 0 {
		s.events.Add(timeline.Event{T: sample.T + sample.D, Source: timeline.SourceProbe, Kind: timeline.KindProbeUp, Subject: subject,
			Detail: map[string]string{
				"failed":  strconv.Itoa(st.failed),
				"atLeast": milliseconds(st.lastFail - st.firstFailed),
				"atMost":  milliseconds(sample.T + sample.D - st.lastOK),
			}})
	}
	st.failed, st.lastOK = 0, sample.T
}

func milliseconds(ns int64) string { return time.Duration(ns).Round(time.Millisecond).String() }

func (s *Scheduler) lose(name, reason string) {
	s.mu.Lock()
	s.lost = append(s.lost, name)
	s.mu.Unlock()
	s.log.Error("probe lost", "probe", name, "reason", reason)
	s.events.Record(timeline.SourceProbe, timeline.KindProbeLost, "probe/"+name, map[string]string{"reason": reason})
}
