package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// maxPoints bounds the points that a lane has in a chart. A longer run is put
// into buckets of several seconds.
const maxPoints = 2000

// grid is the time axis of the charts: bucket i covers the seconds from
// First + i*Width up to First + (i+1)*Width of the run.
type grid struct {
	First int64 `json:"first"`
	Width int64 `json:"width"`
	N     int   `json:"n"`
}

// newGrid covers everything that the lanes and probes of r recorded, with the
// finest buckets that keep to maxPoints.
func newGrid(r *record.Record) grid {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	add := func(second int64) { first, last = min(first, second), max(last, second) }
	for _, l := range r.Lanes {
		if n := len(l.Windows); n > 0 {
			add(l.Windows[0].Second)
			add(l.Windows[n-1].Second)
		}
	}
	for _, p := range r.Probes {
		if n := len(p.Samples); n > 0 {
			add(p.Samples[0].T / int64(time.Second))
			add(p.Samples[n-1].T / int64(time.Second))
		}
	}
	if first > last {
		return grid{Width: 1}
	}
	seconds := last - first + 1
	g := grid{First: first, Width: 1}
	for _, width := range []int64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600} {
		g.Width = width
		if (seconds+width-1)/width <= maxPoints {
			break
		}
	}
	g.N = int((seconds + g.Width - 1) / g.Width)
	return g
}

// bucket returns the index of the bucket that holds a second of the run.
func (g grid) bucket(second int64) (int, bool) {
	i := (second - g.First) / g.Width
	return int(i), second >= g.First && i < int64(g.N)
}

// laneSeries is one lane on a grid, a value for each bucket. A bucket without
// any window holds NaN everywhere.
//
// Nothing that matters is smoothed away: P50 is that of all requests of the
// bucket, P99 that of its worst second, Lost and Unsent are sums, and Worst is
// the most requests lost in one of its seconds.
type laneSeries struct {
	P50    series `json:"p50"`
	P99    series `json:"p99"`
	Due    series `json:"due"`
	Lost   series `json:"lost"`
	Worst  series `json:"worst"`
	Unsent series `json:"unsent"`
}

func newLaneSeries(g grid, windows []record.Window) laneSeries {
	s := laneSeries{missing(g.N), missing(g.N), missing(g.N), missing(g.N), missing(g.N), missing(g.N)}
	var scratch record.Dense // its arrays are large: one for all buckets
	for start := 0; start < len(windows); {
		i, ok := g.bucket(windows[start].Second)
		end := start + 1
		for end < len(windows) {
			if next, _ := g.bucket(windows[end].Second); next != i {
				break
			}
			end++
		}
		if ok {
			s.fill(i, windows[start:end], &scratch)
		}
		start = end
	}
	return s
}

func (s laneSeries) fill(i int, windows []record.Window, all *record.Dense) {
	const perMilli = 1000 // latencies are in microseconds and shown in milliseconds
	all.Reset()
	s.Due[i], s.Lost[i], s.Worst[i], s.Unsent[i] = 0, 0, 0, 0
	for k := range windows {
		w := &windows[k]
		s.Due[i] += float64(w.Due())
		s.Lost[i] += float64(w.Failed())
		s.Worst[i] = math.Max(s.Worst[i], float64(w.Failed()))
		s.Unsent[i] += float64(w.Counts[record.Unsent])
		if w.Latency.Count() == 0 {
			continue
		}
		all.Merge(&w.Latency, 1)
		if p99 := float64(w.Latency.Quantile(0.99)) / perMilli; math.IsNaN(s.P99[i]) || p99 > s.P99[i] {
			s.P99[i] = p99
		}
	}
	if all.Count() > 0 {
		s.P50[i] = float64(all.Quantile(0.5)) / perMilli
	}
}

// probeSeries is one probe on a grid: how many observations were made and how
// many of them failed.
type probeSeries struct {
	Made   series `json:"made"`
	Failed series `json:"failed"`
}

func newProbeSeries(g grid, samples []record.ProbeSample) probeSeries {
	s := probeSeries{missing(g.N), missing(g.N)}
	for _, x := range samples {
		i, ok := g.bucket(x.T / int64(time.Second))
		if !ok {
			continue
		}
		if math.IsNaN(s.Made[i]) {
			s.Made[i], s.Failed[i] = 0, 0
		}
		s.Made[i]++
		if !x.OK {
			s.Failed[i]++
		}
	}
	return s
}

// dnsPrefix begins the names of the series of DNS, each asked from one node.
const dnsPrefix = "dns-"

// maxDNS bounds the series of DNS of a page: hundreds of nodes would make up most
// of the file, and nobody would read as many rows.
const maxDNS = 12

// newChartProbes returns the series of the probes in their order. Of more than
// maxDNS nodes those whose DNS failed most often have a series each, and the
// others one together.
func newChartProbes(g grid, probes []record.ProbeData) []chartProbe {
	var out, dns []chartProbe
	for _, p := range probes {
		c := chartProbe{clean(p.Probe.Name), newProbeSeries(g, p.Samples)}
		if strings.HasPrefix(c.Name, dnsPrefix) {
			dns = append(dns, c)
		} else {
			out = append(out, c)
		}
	}
	if len(dns) <= maxDNS {
		return append(out, dns...)
	}
	failures := func(c chartProbe) (n float64) {
		for _, x := range c.Failed {
			if x > 0 {
				n += x
			}
		}
		return n
	}
	slices.SortStableFunc(dns, func(a, b chartProbe) int { return cmp.Compare(failures(b), failures(a)) })
	single := 0
	for single < maxDNS-1 && failures(dns[single]) > 0 {
		single++
	}
	rest := chartProbe{Name: fmt.Sprintf("%s%d nodes together", dnsPrefix, len(dns)-single), probeSeries: probeSeries{missing(g.N), missing(g.N)}}
	for _, c := range dns[single:] {
		rest.add(c.probeSeries)
	}
	return append(append(out, dns[:single]...), rest)
}

// add adds what another probe observed on the same grid.
func (s probeSeries) add(other probeSeries) {
	for i, made := range other.Made {
		if math.IsNaN(made) {
			continue
		}
		if math.IsNaN(s.Made[i]) {
			s.Made[i], s.Failed[i] = 0, 0
		}
		s.Made[i] += made
		s.Failed[i] += other.Failed[i]
	}
}

// series is written as a JSON array of numbers with four significant digits,
// and null for NaN.
type series []float64

func missing(n int) series {
	s := make(series, n)
	for i := range s {
		s[i] = math.NaN()
	}
	return s
}

// MarshalJSON implements json.Marshaler.
func (s series) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, x := range s {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case math.IsNaN(x) || math.IsInf(x, 0):
			b = append(b, "null"...)
		case x == math.Trunc(x) && math.Abs(x) < 1e15:
			b = strconv.AppendInt(b, int64(x), 10)
		default:
			// Not 'e' or 'g': those write an exponent, which takes more room.
			digits := max(0, 3-int(math.Floor(math.Log10(math.Abs(x)))))
			b = strconv.AppendFloat(b, x, 'f', digits, 64)
		}
	}
	return append(b, ']'), nil
}
