package record

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sort"
)

// subBits is the number of significant bits a bucket keeps: 11 bits give 1024
// buckets an octave, the geometry of an HdrHistogram with three significant
// digits and a unit of one (http://hdrhistogram.org). Values below 2048 are
// counted exactly.
const subBits = 11

// Histogram counts values in buckets whose width is at most 1/1024 of the
// value, so that a quantile read from it is within 0.1% of the sample's. It is
// sparse: it holds only buckets that were hit. The zero value is empty and
// ready for use. Values are in microseconds unless a field says otherwise.
//
// Reading it from many goroutines is safe as long as nobody adds to it. To add
// up many histograms or many values use Dense, which is faster.
type Histogram struct {
	buckets []Bucket // in order of Index
	count   uint64
}

// Bucket is one bucket of a Histogram that was hit, with its index in the order
// of values and how many values it counted: at most 4,294,967,295, where it
// stays. It is small because ten million requests make seven million buckets.
type Bucket struct {
	Index uint32
	Count uint32
}

// bounded returns n as a bucket can hold it.
func bounded(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// Value returns the value that stands for the bucket: its middle, rounded down.
func (b Bucket) Value() uint64 { return bucketValue(b.Index) }

// bucketOf returns the index of the bucket that value falls into.
func bucketOf(value uint64) uint32 {
	shift := bits.Len64(value) - subBits
	if shift <= 0 {
		return uint32(value)
	}
	return uint32(shift)<<(subBits-1) + uint32(value>>shift)
}

// maxBucket is the index of the bucket of the largest value.
var maxBucket = bucketOf(math.MaxUint64)

// bucketValue returns the value that stands for a bucket: its middle, rounded
// down.
func bucketValue(index uint32) uint64 {
	const half = 1 << (subBits - 1)
	if index < 2*half {
		return uint64(index)
	}
	shift := index/half - 1
	low := uint64(index-shift*half) << shift
	return low + (uint64(1)<<shift-1)/2
}

// Add counts value once. It takes time in proportion to the number of buckets.
func (h *Histogram) Add(value uint64) { h.AddN(value, 1) }

// AddN counts value n times.
func (h *Histogram) AddN(value, n uint64) {
	if n == 0 {
		return
	}
	index := bucketOf(value)
	h.count += n
	i := sort.Search(len(h.buckets), func(i int) bool { return h.buckets[i].Index >= index })
	if i < len(h.buckets) && h.buckets[i].Index == index {
		h.buckets[i].Count = bounded(uint64(h.buckets[i].Count) + n)
		return
	}
	h.buckets = slices.Insert(h.buckets, i, Bucket{Index: index, Count: bounded(n)})
}

// Merge adds all that other counted. Other is not changed and may be nil.
func (h *Histogram) Merge(other *Histogram) {
	if other == nil || other.count == 0 {
		return
	}
	h.count += other.count
	if len(h.buckets) == 0 {
		h.buckets = slices.Clone(other.buckets)
		return
	}
	merged := make([]Bucket, 0, len(h.buckets)+len(other.buckets))
	a, b := h.buckets, other.buckets
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].Index < b[0].Index:
			merged, a = append(merged, a[0]), a[1:]
		case a[0].Index > b[0].Index:
			merged, b = append(merged, b[0]), b[1:]
		default:
			merged = append(merged, Bucket{Index: a[0].Index, Count: bounded(uint64(a[0].Count) + uint64(b[0].Count))})
			a, b = a[1:], b[1:]
		}
	}
	merged = append(merged, a...)
	merged = append(merged, b...)
	h.buckets = merged
}

// Count returns how many values were counted.
func (h *Histogram) Count() uint64 { return h.count }

// Quantile returns the smallest value that at least a share q of the counted
// values do not exceed (the nearest-rank definition), within 0.05% of the
// value. Q is clamped to 0 and 1; an empty histogram returns 0.
func (h *Histogram) Quantile(q float64) uint64 {
	rank := rankOf(q, h.count)
	var seen uint64
	if rank > h.count/2 {
		// High quantiles are asked for most, and are closer from above.
		for i := len(h.buckets) - 1; i >= 0; i-- {
			if seen += uint64(h.buckets[i].Count); seen > h.count-rank {
				return bucketValue(h.buckets[i].Index)
			}
		}
		return 0
	}
	for _, b := range h.buckets {
		if seen += uint64(b.Count); seen >= rank {
			return bucketValue(b.Index)
		}
	}
	return 0
}

// rankOf returns the nearest rank of quantile q among n values, from 1 to n.
func rankOf(q float64, n uint64) uint64 {
	// 0.99 * 100 must be rank 99 although the product is a hair above it.
	r := math.Ceil(q*float64(n) - 1e-9*float64(n))
	if !(r >= 1) {
		return 1
	}
	return min(uint64(r), n)
}

// Max returns the largest value counted, within 0.05%, or 0 when empty.
func (h *Histogram) Max() uint64 {
	if len(h.buckets) == 0 {
		return 0
	}
	return bucketValue(h.buckets[len(h.buckets)-1].Index)
}

// Mean returns the arithmetic mean, within 0.05%, or 0 when empty.
func (h *Histogram) Mean() float64 {
	if h.count == 0 {
		return 0
	}
	var sum float64
	for _, b := range h.buckets {
		sum += float64(bucketValue(b.Index)) * float64(b.Count)
	}
	return sum / float64(h.count)
}

// ForEach calls f for every bucket that was hit, in ascending order, with the
// value that stands for the bucket and its count.
func (h *Histogram) ForEach(f func(value, count uint64)) {
	for _, b := range h.buckets {
		f(bucketValue(b.Index), uint64(b.Count))
	}
}

// Buckets returns the buckets that were hit, in ascending order. The slice is
// the histogram's own and must not be changed; it is valid until the next Add.
func (h *Histogram) Buckets() []Bucket { return h.buckets }

// CountAbove returns how many of the counted values exceed value, counting
// those in the bucket of value itself as not above.
func (h *Histogram) CountAbove(value uint64) uint64 {
	index := bucketOf(value)
	var n uint64
	// What is asked for is far up: few buckets, if any, are above it.
	for i := len(h.buckets) - 1; i >= 0 && h.buckets[i].Index > index; i-- {
		n += uint64(h.buckets[i].Count)
	}
	return n
}

// Equal reports whether both counted the same.
func (h *Histogram) Equal(other *Histogram) bool {
	return h.count == other.count && slices.Equal(h.buckets, other.buckets)
}

// String summarises the histogram for a person.
func (h *Histogram) String() string {
	return fmt.Sprintf("n=%d p50=%d p99=%d max=%d", h.count, h.Quantile(0.5), h.Quantile(0.99), h.Max())
}
