package judge

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
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
// that long. The quantile of any weighting of the blocks is then a binary
// search, without touching a request or a histogram again.
type blocks struct {
	k      int      // blocks
	total  []uint32 // requests of each block
	values []uint64 // µs, ascending
	below  []uint32 // below[v*k+b]: requests of block b with latency ≤ values[v]
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
	var top uint64
	for _, w := range windows {
		top = max(top, w.Latency.Max())
	}
	width := int(slot(top)) + 1
	counts := make([]uint32, width*k)
	hit := make([]bool, width)
	for i, w := range windows {
		at := min(i/size, k-1)
		row := counts[at*width : (at+1)*width]
		w.Latency.ForEach(func(v, n uint64) {
			s := slot(v)
			row[s] += uint32(n)
			hit[s] = true
		})
		b.total[at] += uint32(w.Latency.Count())
	}
	used := 0
	for _, h := range hit {
		if h {
			used++
		}
	}
	b.values, b.below = make([]uint64, 0, used), make([]uint32, 0, used*k)
	running := make([]uint32, k)
	for s, h := range hit {
		if !h {
			continue
		}
		for at := range running {
			running[at] += counts[at*width+s]
		}
		b.values = append(b.values, slotValue(uint32(s)))
		b.below = append(b.below, running...)
	}
	return b
}

// slot returns a dense index of a latency in µs, exact below 2048 and within
// 0.1% above, and slotValue the middle of what falls into one.
func slot(v uint64) uint32 {
	shift := bits.Len64(v) - 11
	if shift <= 0 {
		return uint32(v)
	}
	return uint32(shift)<<10 + uint32(v>>shift)
}

func slotValue(s uint32) uint64 {
	if s < 2048 {
		return uint64(s)
	}
	shift := s>>10 - 1
	return uint64(s-shift<<10)<<shift + (uint64(1)<<shift-1)/2
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
	var n uint64
	for i, t := range b.total {
		n += uint64(t) * uint64(weights[i])
	}
	if n == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(n)-1e-9*float64(n))))
	lo, hi := 0, len(b.values)-1
	for lo < hi {
		mid := (lo + hi) / 2
		var c uint64
		for i, x := range b.below[mid*b.k : (mid+1)*b.k] {
			c += uint64(x) * uint64(weights[i])
		}
		if c >= rank {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return float64(b.values[lo])
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
