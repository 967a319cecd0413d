package metrics

import (
	"math"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// schema is the resolution of native buckets: eight an octave, so that a bound is
// at most 9.1% above the one below
// (https://prometheus.io/docs/specs/native_histograms).
const schema = 3

// histograms are those of one metric by lane and phase. Unlike the library's own
// they take many observations of one value at once, which is what a window has.
type histograms struct {
	desc  *prometheus.Desc
	upper []float64 // bounds of the classic buckets

	mu  sync.Mutex
	all map[[2]string]*observed
}

// observed is what was counted for one lane and phase. Values are in seconds.
type observed struct {
	count, zero uint64
	sum         float64
	classic     []uint64      // not cumulative; above the last bound is not among them
	native      map[int]int64 // by index
}

func newHistograms(d definition) *histograms {
	return &histograms{desc: d.desc(), upper: d.buckets, all: map[[2]string]*observed{}}
}

func (h *histograms) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.all)
}

// add counts a histogram of microseconds.
func (h *histograms) add(micros *record.Histogram, lane, phase string) {
	if micros.Count() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := [2]string{lane, phase}
	o := h.all[key]
	if o == nil {
		o = &observed{classic: make([]uint64, len(h.upper)), native: map[int]int64{}}
		h.all[key] = o
	}
	micros.ForEach(func(value, n uint64) {
		v := float64(value) / 1e6
		o.count += n
		o.sum += v * float64(n)
		if i := sort.SearchFloat64s(h.upper, v); i < len(h.upper) {
			o.classic[i] += n
		}
		if value == 0 {
			o.zero += n
			return
		}
		o.native[nativeIndex(v)] += int64(n)
	})
}

// nativeIndex returns the native bucket of a positive value: that whose upper
// bound, 2^(index / 2^schema), is the smallest that is not below it.
func nativeIndex(v float64) int { return int(math.Ceil(math.Log2(v) * (1 << schema))) }

// Describe implements prometheus.Collector.
func (h *histograms) Describe(out chan<- *prometheus.Desc) { out <- h.desc }

// Collect implements prometheus.Collector.
func (h *histograms) Collect(out chan<- prometheus.Metric) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, o := range h.all {
		cumulative, sum := make(map[float64]uint64, len(h.upper)), uint64(0)
		for i, n := range o.classic {
			sum += n
			cumulative[h.upper[i]] = sum
		}
		native, err := prometheus.NewConstNativeHistogram(h.desc, o.count, o.sum, o.native, nil, o.zero, schema, prometheus.DefNativeHistogramZeroThreshold, time.Time{}, key[:]...)
		if err != nil {
			out <- prometheus.NewInvalidMetric(h.desc, err)
			continue
		}
		out <- twofold{native, prometheus.MustNewConstHistogram(h.desc, o.count, o.sum, cumulative, key[:]...)}
	}
}

// twofold is a histogram with native and classic buckets: who scrapes takes those
// it knows.
type twofold struct {
	prometheus.Metric // native
	classic           prometheus.Metric
}

// Write implements prometheus.Metric.
func (t twofold) Write(out *dto.Metric) error {
	if err := t.Metric.Write(out); err != nil {
		return err
	}
	var classic dto.Metric
	if err := t.classic.Write(&classic); err != nil {
		return err
	}
	out.Histogram.Bucket = classic.GetHistogram().GetBucket()
	return nil
}
