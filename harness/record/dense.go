package record

import "slices"

const pageSize = 1 << (subBits - 1)

// Dense counts values in the same buckets as Histogram, in arrays: adding takes
// a few nanoseconds and no allocation once an octave was hit, at 8 KiB an
// octave. It is what live windows are counted in and what many histograms are
// added up in. The zero value is empty and ready for use. It is not safe for
// concurrent use.
type Dense struct {
	pages [(1<<6 - subBits) + 2]*[pageSize]uint64
	count uint64
	low   uint32 // lowest and highest bucket hit, valid where count > 0
	high  uint32

	scratch []Bucket // for Histogram
}

// Add counts value once.
func (d *Dense) Add(value uint64) { d.add(bucketOf(value), 1) }

// AddN counts value n times.
func (d *Dense) AddN(value, n uint64) {
	if n > 0 {
		d.add(bucketOf(value), n)
	}
}

func (d *Dense) add(index uint32, n uint64) {
	page := d.pages[index/pageSize]
	if page == nil {
		page = new([pageSize]uint64)
		d.pages[index/pageSize] = page
	}
	page[index%pageSize] += n
	if d.count == 0 {
		d.low, d.high = index, index
	} else {
		d.low, d.high = min(d.low, index), max(d.high, index)
	}
	d.count += n
}

// Merge adds what h counted, times times over. It takes time in proportion to
// the number of buckets in h.
func (d *Dense) Merge(h *Histogram, times uint64) {
	if h == nil || times == 0 || len(h.buckets) == 0 {
		return
	}
	// The buckets are in order: what add does for each is done once here.
	low, high := h.buckets[0].Index, h.buckets[len(h.buckets)-1].Index
	if d.count > 0 {
		low, high = min(low, d.low), max(high, d.high)
	}
	d.low, d.high = low, high
	d.count += h.count * times
	rest := h.buckets
	for len(rest) > 0 {
		at := rest[0].Index / pageSize
		if d.pages[at] == nil {
			d.pages[at] = new([pageSize]uint64)
		}
		page, i := d.pages[at], 0
		for ; i < len(rest) && rest[i].Index/pageSize == at; i++ {
			page[rest[i].Index%pageSize] += uint64(rest[i].Count) * times
		}
		rest = rest[i:]
	}
}

// Count returns how many values were counted.
func (d *Dense) Count() uint64 { return d.count }

// Quantile is as Histogram.Quantile.
func (d *Dense) Quantile(q float64) uint64 {
	if d.count == 0 {
		return 0
	}
	rank := rankOf(q, d.count)
	if rank <= d.count/2 {
		var seen uint64
		for i := d.low; i < d.high; i++ {
			if seen += d.at(i); seen >= rank {
				return bucketValue(i)
			}
		}
		return bucketValue(d.high)
	}
	// High quantiles are asked for most, and are closer from above.
	above := d.count - rank
	var seen uint64
	for i := d.high; i > d.low; i-- {
		if seen += d.at(i); seen > above {
			return bucketValue(i)
		}
	}
	return bucketValue(d.low)
}

func (d *Dense) at(index uint32) uint64 {
	if page := d.pages[index/pageSize]; page != nil {
		return page[index%pageSize]
	}
	return 0
}

// Histogram returns what was counted as a Histogram of its own.
func (d *Dense) Histogram() Histogram {
	h := Histogram{count: d.count}
	if d.count == 0 {
		return h
	}
	d.scratch = d.scratch[:0]
	for p := d.low / pageSize; p <= d.high/pageSize; p++ {
		page := d.pages[p]
		if page == nil {
			continue
		}
		for i, n := range page {
			if n > 0 {
				d.scratch = append(d.scratch, Bucket{Index: p*pageSize + uint32(i), Count: bounded(n)})
			}
		}
	}
	h.buckets = slices.Clone(d.scratch)
	return h
}

// Reset empties d and keeps its arrays.
func (d *Dense) Reset() {
	if d.count == 0 {
		return
	}
	for p := d.low / pageSize; p <= d.high/pageSize; p++ {
		if page := d.pages[p]; page != nil {
			clear(page[:])
		}
	}
	d.count = 0
}
