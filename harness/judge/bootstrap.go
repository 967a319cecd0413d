package judge

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
)

const (
	// resamples is how often the blocks are drawn anew.
	resamples = 2000
	// minBlocks and maxBlockSeconds shape the blocks: a minute each where the
	// side is long enough for 30 of them, else shorter.
	minBlocks       = 30
	maxBlockSeconds = 60
)

// blocks holds the latency distribution of one lane on one side, in blocks of
// consecutive seconds: per value, how many requests of each block took at most
// that long. The quantile of any weighting of the blocks is then found by
// looking at a few values, without touching a request or a histogram again.
type blocks struct {
	k      int      // blocks
	total  []uint32 // requests of each block
	values []uint64 // µs, ascending
	below  []uint32 // below[v*k+b]: requests of block b with latency ≤ values[v]
	all    []uint64 // all[v]: requests of all blocks with latency ≤ values[v]
}

// blockSeconds returns the length of the blocks for two sides of so many
// usable seconds: the same on both, so that both see the same autocorrelation.
func blockSeconds(baseline, upgrade int) int {
	return max(1, min(maxBlockSeconds, min(baseline, upgrade)/minBlocks))
}

// newBlocks groups windows, in order, into blocks of size seconds; a rest
// shorter than half a block joins the last one.
func newBlocks(windows []*record.Window, size int) *blocks {
	k := max(1, (len(windows)+size/2)/size)
	if len(windows) == 0 {
		k = 0
	}
	b := &blocks{k: k, total: make([]uint32, k)}
	width := 0
	for _, w := range windows {
		if hit := w.Latency.Buckets(); len(hit) > 0 {
			width = max(width, int(hit[len(hit)-1].Index)+1)
		}
	}
	// One pass over the windows: each block is added up in an array over all
	// buckets, and what was hit is kept.
	type cell struct{ index, n uint32 }
	row, place := make([]uint32, width), make([]uint32, width)
	ends, cells := make([]int, k), []cell(nil)
	for at := range k {
		last := (at + 1) * size
		if at == k-1 {
			last = len(windows)
		}
		low, high := uint32(width), uint32(0)
		for _, w := range windows[at*size : last] {
			hit := w.Latency.Buckets()
			if len(hit) == 0 {
				continue
			}
			low, high = min(low, hit[0].Index), max(high, hit[len(hit)-1].Index+1)
			for _, x := range hit {
				row[x.Index] += x.Count
			}
			b.total[at] += uint32(w.Latency.Count())
		}
		for i := low; i < high; i++ {
			if n := row[i]; n > 0 {
				cells, row[i], place[i] = append(cells, cell{i, n}), 0, 1
			}
		}
		if ends[at] = len(cells); at == 0 {
			cells = slices.Grow(cells, len(cells)*k*5/4)
		}
	}
	for i, hit := range place {
		if hit > 0 {
			place[i] = uint32(len(b.values))
			b.values = append(b.values, record.Bucket{Index: uint32(i)}.Value())
		}
	}
	b.below, b.all = make([]uint32, len(b.values)*k), make([]uint64, len(b.values))
	from := 0
	for at, end := range ends {
		for _, c := range cells[from:end] {
			v := int(place[c.index])
			b.below[v*k+at] = c.n
			b.all[v] += uint64(c.n)
		}
		from = end
	}
	for v := 1; v < len(b.values); v++ {
		b.all[v] += b.all[v-1]
		this := b.below[v*k : (v+1)*k]
		for i, n := range b.below[(v-1)*k : v*k] {
			this[i] += n
		}
	}
	return b
}

// samples returns the number of requests in all blocks.
func (b *blocks) samples() (n uint64) {
	for _, t := range b.total {
		n += uint64(t)
	}
	return n
}

// quantile returns the nearest-rank quantile q in µs when block i counts
// weights[i] times.
func (b *blocks) quantile(weights []uint32, q float64) float64 {
	n := weigh(b.total, weights)
	if n == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(n)-1e-9*float64(n))))
	// The answer is the first value that at least rank of the weighted requests
	// do not exceed. The unweighted counts say where it must about be; each look
	// at a value corrects the guess by how far off it was.
	each := float64(b.all[len(b.all)-1]) / float64(n) // unweighted per weighted request
	guess := float64(rank) * each
	lo, hi := 0, len(b.values)-1
	for look := 0; lo < hi; look++ {
		mid := (lo + hi) / 2
		if look < 8 { // then halve: no distribution may make it slow
			mid, _ = slices.BinarySearch(b.all[lo:hi-1], uint64(max(0, guess)))
			mid += lo
		}
		c := weigh(b.below[mid*b.k:(mid+1)*b.k], weights)
		guess = float64(b.all[mid]) + (float64(rank)-float64(c))*each
		if c >= rank {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return float64(b.values[lo])
}

// weigh returns the sum of counts, each times its weight.
func weigh(counts, weights []uint32) (sum uint64) {
	weights = weights[:len(counts)]
	for i, n := range counts {
		sum += uint64(n) * uint64(weights[i])
	}
	return sum
}

// ones weighs every block once.
func (b *blocks) ones() []uint32 { return slices.Repeat([]uint32{1}, b.k) }

// draw fills weights with how often each of k blocks comes up in k draws.
func draw(rng *rand.Rand, weights []uint32) {
	clear(weights)
	for range weights {
		weights[rng.IntN(len(weights))]++
	}
}

// comparison is the growth of one latency quantile from baseline to upgrade.
type comparison struct {
	baseline, upgrade float64 // the quantile in µs
	growth            float64 // upgrade/baseline − 1
	lower, upper      float64 // one-sided 95% bounds of growth
	deltaUpper        float64 // upper 95% bound of upgrade − baseline in µs
	pAbove            float64 // p-value of "growth is at most the limit"
	control           float64 // growth of the control lane, 0 without one
	controlDelta      float64 // µs
	netLower          float64 // lower, after allowing for the control lane's growth
	haveControl       bool
	upgradeSamples    uint64
}

// pair is a lane's blocks and those of the control lane in the same seconds.
type pair struct{ lane, control *blocks }

// compareQuantile draws the blocks of both sides with replacement, each side by
// itself, and compares the quantile q of what was drawn.
//
// Sources: Künsch, "The jackknife and the bootstrap for general stationary
// observations", Annals of Statistics 17 (1989), 1217–1241; Politis and Romano,
// "The stationary bootstrap", JASA 89 (1994), 1303–1313. Blocks keep the
// autocorrelation of latency, which an ordinary bootstrap and the Mann–Whitney
// test take for certainty (docs/decisions/0040).
func compareQuantile(base, up pair, q, limit float64, rng *rand.Rand) comparison {
	c := comparison{
		baseline: base.lane.quantile(base.lane.ones(), q), upgrade: up.lane.quantile(up.lane.ones(), q),
		haveControl: base.control != nil && up.control != nil && base.control.samples() > 0 && up.control.samples() > 0,
	}
	c.growth = ratio(c.upgrade, c.baseline) - 1
	if c.haveControl {
		b := base.control.quantile(base.control.ones(), q)
		u := up.control.quantile(up.control.ones(), q)
		c.control, c.controlDelta = ratio(u, b)-1, u-b
	}
	grown := make([]float64, resamples)
	net := make([]float64, resamples)
	delta := make([]float64, resamples)
	wb, wu := make([]uint32, base.lane.k), make([]uint32, up.lane.k)
	within := 0
	for i := range resamples {
		draw(rng, wb)
		draw(rng, wu)
		b, u := base.lane.quantile(wb, q), up.lane.quantile(wu, q)
		grown[i], delta[i] = math.Log(ratio(u, b)), u-b
		net[i] = grown[i]
		if c.haveControl {
			other := math.Log(ratio(up.control.quantile(wu, q), base.control.quantile(wb, q)))
			net[i] -= max(0, other)
		}
		if grown[i] <= math.Log1p(limit) {
			within++
		}
	}
	c.pAbove = float64(1+within) / float64(1+resamples)
	slices.Sort(grown)
	slices.Sort(net)
	slices.Sort(delta)
	low, high := int(alpha*resamples)-1, resamples-int(alpha*resamples)
	c.lower, c.upper = math.Expm1(grown[low]), math.Expm1(grown[high])
	c.netLower, c.deltaUpper = math.Expm1(net[low]), delta[high]
	return c
}

// ratio returns a/b of two latencies in µs; one that is below the histogram's
// resolution counts as one microsecond.
func ratio(a, b float64) float64 { return max(a, 1) / max(b, 1) }

// newRand returns randomness that depends on nothing but its arguments.
func newRand(parts ...string) *rand.Rand {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	sum := h.Sum(nil)
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])))
}
