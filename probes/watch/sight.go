package watch

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const (
	// answerLimit is how long a list or the opening of a watch may go unanswered
	// before its feed counts as blind.
	answerLimit = 2 * time.Second
	// catchUp is how long after a gap events may still be those of the gap,
	// which the API server sends when the watch is opened again.
	catchUp = time.Second
)

// sight knows which feeds see the cluster. The timeline gets one watch-blind
// when the first feed loses sight and one watch-seeing when the last is back:
// mostly all of them fall and rise with one connection.
type sight struct {
	events *timeline.Recorder
	ready  chan struct{} // closed when every feed's watch was open once

	mu    sync.Mutex
	feeds map[string]*feedSight
	gap   []string // feeds that were blind at some time of the present gap
	since time.Duration
}

type feedSight struct {
	calling   bool
	called    time.Duration // when the call under way began
	blind     bool
	from      time.Duration // when the last gap began
	until     time.Duration // when it ended
	hadGap    bool
	everOpen  bool // its watch was open once, so its first list was taken in
	lastError string
}

func newSight(events *timeline.Recorder) *sight {
	return &sight{events: events, ready: make(chan struct{}), feeds: map[string]*feedSight{}}
}

func (s *sight) add(feed string) { s.feeds[feed] = &feedSight{} }

func (s *sight) now() time.Duration { return s.events.Clock().Now() }

// begin notes that a feed asks the API server for something.
func (s *sight) begin(feed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feeds[feed]
	f.calling, f.called = true, s.now()
}

// failed notes that what was asked was not answered, or not with success.
func (s *sight) failed(feed string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feeds[feed]
	// Without method and address: which of a dozen feeds was the first to ask is
	// chance.
	if cause := (*url.Error)(nil); errors.As(err, &cause) {
		err = cause.Err
	}
	f.calling, f.lastError = false, err.Error()
	s.lose(feed, f, err.Error())
}

// listed notes that a list was answered; the feed sees again only when its
// watch is open.
func (s *sight) listed(feed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds[feed].calling = false
}

// opened notes that a feed's watch is open.
func (s *sight) opened(feed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feeds[feed]
	f.calling = false
	if !f.everOpen {
		f.everOpen = true
		if len(s.unopened()) == 0 {
			close(s.ready)
		}
	}
	if !f.blind {
		return
	}
	f.blind, f.hadGap, f.until = false, true, s.now()
	if s.anyBlind() {
		return
	}
	slices.Sort(s.gap)
	s.events.Record(timeline.SourceKube, timeline.KindWatchSeeing, "watch/kube", detail(
		"blind", (s.now()-s.since).Round(time.Millisecond).String(), "feeds", strings.Join(s.gap, ", ")))
	s.gap = nil
}

// check finds calls that go unanswered.
func (s *sight) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.feeds)) {
		if f := s.feeds[name]; f.calling && s.now()-f.called > answerLimit {
			s.lose(name, f, "no answer within "+answerLimit.String())
		}
	}
}

// lose marks a feed blind from the beginning of its call on. Before its first
// watch was open it has not lost anything: see Watcher.Synced.
func (s *sight) lose(name string, f *feedSight, why string) {
	if f.blind || !f.everOpen {
		return
	}
	first := !s.anyBlind()
	f.blind, f.from = true, f.called
	s.gap = append(s.gap, name)
	if first {
		s.since = f.from
		s.events.Add(timeline.Event{T: int64(f.from), Source: timeline.SourceKube, Kind: timeline.KindWatchBlind, Subject: "watch/kube",
			Detail: detail("error", why)})
	}
}

// unopened names the feeds whose watch was never open, each with the last error.
func (s *sight) unopened() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.feeds)) {
		if f := s.feeds[name]; !f.everOpen {
			why := f.lastError
			if why == "" {
				why = "no answer"
			}
			out = append(out, name+": "+why)
		}
	}
	return out
}

func (s *sight) anyBlind() bool {
	for _, f := range s.feeds {
		if f.blind {
			return true
		}
	}
	return false
}

// blind reports whether the feed is blind.
func (s *sight) blind(feed string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feeds[feed].blind
}

// gapBefore returns the length of the stretch in which something may have
// happened that the feed learns of now, or 0 where it happened now.
func (s *sight) gapBefore(feed string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feeds[feed]
	switch {
	case f.blind: // a relist, before the watch is open again
		return s.now() - f.from
	case f.hadGap && s.now()-f.until < catchUp:
		return s.now() - f.from
	}
	return 0
}
