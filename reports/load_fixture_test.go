package reports

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// trouble is a stretch of a fixture's load, in seconds of the run.
type trouble struct {
	lane     string
	from, to int64
	class    record.Class
	share    float64 // of the requests due
}

// withLoad gives every lane of r windows from the second first up to last, with
// latencies that rise while a node is drained, and every probe its samples.
// The same arguments give the same record.
func withLoad(r *record.Record, first, last int64, troubles ...trouble) *record.Record {
	random := rand.New(rand.NewPCG(7, 11))
	centre := map[string]float64{"new": 1200, "reused": 600, "control": 300}
	for _, lane := range r.Run.Lanes {
		data := record.LaneData{Lane: lane}
		for second := first; second < last; second++ {
			w := record.Window{Second: second}
			ok := uint64(lane.Rate)
			for _, x := range troubles {
				if x.lane == lane.Name && second >= x.from && second < x.to {
					w.Counts[x.class] = uint64(math.Round(lane.Rate * x.share))
					ok -= w.Counts[x.class]
					for i := range w.Counts[x.class] {
						if x.class.Failed() {
							data.Requests = append(data.Requests, failed(x.class, second, i))
						}
					}
				}
			}
			w.Counts[record.OK] = ok
			rise := 1.0
			for _, at := range []int64{115, 245, 375} {
				if d := second - at; d > 0 && d < 90 && !lane.Control {
					rise += 0.5 * math.Exp(-math.Pow(float64(d-30), 2)/400)
				}
			}
			for k := uint64(0); k < ok; k += 5 {
				value := centre[lane.Name] * rise * math.Exp(random.NormFloat64()*0.45)
				if random.IntN(200) == 0 {
					value *= 6
				}
				w.Latency.AddN(uint64(value), min(5, ok-k))
			}
			data.Windows = append(data.Windows, w)
		}
		r.Lanes = append(r.Lanes, data)
	}
	for _, p := range r.Run.Probes {
		data := record.ProbeData{Probe: p}
		for t := first * second; t < last*second; t += p.IntervalNS {
			s := t / second
			data.Samples = append(data.Samples, record.ProbeSample{T: t, D: 2_000_000, OK: s < 150 || s >= 161})
		}
		r.Probes = append(r.Probes, data)
	}
	return r
}

// failed is the i-th lost request of a second.
func failed(class record.Class, at int64, i uint64) record.Request {
	q := record.Request{Due: at*second + int64(i)*10_000_000, Class: class.String(), Error: "dial tcp 127.0.0.1:30080: connect: connection refused"}
	if class == record.HTTP5xx {
		q.Status, q.Error = 503, "503 Service Unavailable"
	}
	return q
}

// longRecord is a roll of 50 nodes over eight hours, made once.
var longRecord = sync.OnceValue(func() *record.Record {
	r := goRecord()
	r.Lanes, r.Probes, r.Events, r.Before, r.After = nil, nil, nil, nil, nil
	r.Before, r.After = snapshot("v1.34.4", 0), snapshot("v1.35.4", 28_800)
	for i := range 50 {
		name := fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i/8, i)
		r.Before.Nodes = append(r.Before.Nodes, record.Node{Name: name, KubeletVersion: "v1.34.4", Ready: true})
		r.After.Nodes = append(r.After.Nodes, record.Node{Name: name, KubeletVersion: "v1.35.4", Ready: true})
		r.Events = append(r.Events, nodeEvents(int64(300+i*560), "node/"+name, 60)...)
		r.Run.Probes = append(r.Run.Probes, record.Probe{Name: "dns-" + name, IntervalNS: 10 * second, TimeoutNS: 2 * second})
	}
	return withLoad(r, 0, 28_800, trouble{"new", 9_000, 9_001, record.Refused, 1})
})
