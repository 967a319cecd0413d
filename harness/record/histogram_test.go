package record

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestBucketsAreNarrowAndContiguous(t *testing.T) {
	prev := bucketOf(0)
	for v := uint64(1); v < 1<<20; v++ {
		i := bucketOf(v)
		if i != prev && i != prev+1 {
			t.Fatalf("bucket of %d is %d after %d", v, i, prev)
		}
		prev = i
		if got := bucketValue(i); math.Abs(float64(got)-float64(v)) > float64(v)/2048 {
			t.Fatalf("value %d stands as %d: off by more than 1/2048", v, got)
		}
	}
	for shift := 20; shift < 64; shift++ {
		for _, v := range []uint64{1 << shift, 1<<shift - 1, 1<<shift + 1, 3 << (shift - 1)} {
			if got := bucketValue(bucketOf(v)); math.Abs(float64(got)-float64(v)) > float64(v)/2048 {
				t.Fatalf("value %d stands as %d: off by more than 1/2048", v, got)
			}
		}
	}
	if got := bucketValue(maxBucket); got < math.MaxUint64-math.MaxUint64/1024 {
		t.Fatalf("the largest bucket stands for %d", got)
	}
}

// TestUpgradeShapedQuantiles is target 6 on the histogram's side: latency as an
// upgrade shapes it, a narrow body and a far, sparse tail.
func TestUpgradeShapedQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var (
		all   []uint64
		h     Histogram
		dense Dense
		hdr   = hdrhistogram.New(1, 3_600_000_000, 3)
	)
	for i := range 300_000 {
		v := uint64(300 + 80*math.Abs(rng.NormFloat64()))
		if i%700 == 0 {
			v = uint64(rng.Float64() * 5_000_000)
		}
		all = append(all, v)
		dense.Add(v)
		if err := hdr.RecordValue(int64(v)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			h.Add(v)
		} else {
			h.AddN(v, 1)
		}
	}
	slices.Sort(all)
	fromDense := dense.Histogram()
	if !h.Equal(&fromDense) {
		t.Fatal("Dense and Histogram count the same values differently")
	}
	for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1} {
		exact := all[max(0, int(math.Ceil(q*float64(len(all))-1e-6))-1)]
		if got := h.Quantile(q); math.Abs(float64(got)-float64(exact)) > float64(exact)*0.001 {
			t.Errorf("Histogram p%g = %d, exactly %d", q*100, got, exact)
		}
		if a, b := h.Quantile(q), dense.Quantile(q); a != b {
			t.Errorf("p%g: Histogram says %d, Dense %d", q*100, a, b)
		}
		if q == 0 {
			continue // HdrHistogram has no quantile 0
		}
		ref := hdr.ValueAtQuantile(q * 100)
		if got := h.Quantile(q); math.Abs(float64(got)-float64(ref)) > float64(ref)/1024+1 {
			t.Errorf("p%g = %d, HdrHistogram says %d", q*100, got, ref)
		}
	}
	if got, want := h.Max(), h.Quantile(1); got != want {
		t.Errorf("Max() = %d, Quantile(1) = %d", got, want)
	}
	var n, above uint64
	h.ForEach(func(value, count uint64) {
		n += count
		if value > 1_000_000 {
			above += count
		}
	})
	if n != h.Count() || n != 300_000 {
		t.Errorf("ForEach visits %d of %d", n, h.Count())
	}
	if got := h.CountAbove(1_000_000); got != above {
		t.Errorf("CountAbove = %d, want %d", got, above)
	}
}

func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var want, got Histogram
	var dense Dense
	for range 50 {
		var part Histogram
		for range 200 {
			v := rng.Uint64N(1 << (1 + rng.UintN(30)))
			part.Add(v)
			want.Add(v)
		}
		got.Merge(&part)
		dense.Merge(&part, 3)
	}
	got.Merge(nil)
	if !got.Equal(&want) {
		t.Error("merged parts differ from the whole")
	}
	three := dense.Histogram()
	if three.Count() != 3*want.Count() || three.Quantile(0.9) != want.Quantile(0.9) {
		t.Errorf("three times over: %v, once: %v", &three, &want)
	}
	dense.Reset()
	empty := dense.Histogram()
	if !empty.Equal(&Histogram{}) || dense.Quantile(0.5) != 0 {
		t.Errorf("after Reset: %v", &empty)
	}
}

func TestEmptyHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 || h.Mean() != 0 || h.Count() != 0 {
		t.Errorf("empty: %v", &h)
	}
	h.AddN(7, 0)
	if h.Count() != 0 {
		t.Error("adding nothing counted something")
	}
	h.AddN(10, 3)
	h.Add(20)
	if got := h.Mean(); got != 12.5 {
		t.Errorf("Mean() = %v, want 12.5", got)
	}
}

func BenchmarkDenseAdd(b *testing.B) {
	var d Dense
	for i := range b.N {
		d.Add(uint64(i) & 0xffff)
	}
}

func BenchmarkDenseMerge(b *testing.B) {
	var h Histogram
	for i := range uint64(1000) {
		h.Add(300 + i*i%700)
	}
	var d Dense
	for range b.N {
		d.Merge(&h, 1)
	}
}

// TestBucketsStayWhereTheyAreFull adds more of one value than a bucket holds.
func TestBucketsStayWhereTheyAreFull(t *testing.T) {
	var h, other Histogram
	h.AddN(7, math.MaxUint32-1)
	h.AddN(7, 5)
	other.AddN(7, 5)
	h.Merge(&other)
	var d Dense
	d.AddN(7, 2*math.MaxUint32)
	dense := d.Histogram()
	for _, got := range []Bucket{h.Buckets()[0], dense.Buckets()[0]} {
		if want := (Bucket{Index: 7, Count: math.MaxUint32}); got != want {
			t.Errorf("bucket %+v, want %+v", got, want)
		}
	}
	if got := h.Quantile(0.5); got != 7 {
		t.Errorf("the median is %d, want 7", got)
	}
}
