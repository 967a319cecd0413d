package judge_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestZZHash(t *testing.T) {
	noisy := synth.DefaultProfile()
	noisy.Noise, noisy.AR, noisy.Drift, noisy.ErrorRate = 0.05, 0.9, 0.06, 0.0002
	bursty := slower()
	bursty.Bursts, bursty.BurstFactor = 2, 2
	n := 0
	for i, f := range [][]synth.Fault{
		nil,
		{{Start: 70 * time.Second, Length: 3 * time.Second, Share: 0.5, Class: record.HTTP5xx}},
		{{Kind: synth.SlowTail, Length: 200 * time.Second, Factor: 1.5}},
		{{Kind: synth.SlowBody, Length: 200 * time.Second, Factor: 1.2}},
		{{Kind: synth.Busy, Start: 10 * time.Second, Length: 150 * time.Second, Factor: 5}},
		{{Kind: synth.Hang, Start: 10 * time.Second, Length: 3 * time.Second}, {Kind: synth.Pause, Start: 30 * time.Second, Length: 2 * time.Second}},
	} {
		h := sha256.New()
		for _, p := range []*synth.Profile{nil, &noisy, bursty} {
			for _, rate := range []float64{20, 100, 400} {
				for _, b := range []time.Duration{40 * time.Second, 3 * time.Minute} {
					n++
					o := synth.Options{Seed: uint64(n), Profile: p, Rate: rate, Baseline: b, Faults: f}
					s := o.Scenario()
					r := synth.Record(o)
					j, _ := json.Marshal(judge.Judge(r, s.Criteria()))
					h.Write(j)
					v, err := judge.Compare(r, r, s.Criteria())
					j, _ = json.Marshal(v)
					h.Write(j)
					c, _ := judge.Calibrate(r)
					j, _ = json.Marshal(c)
					h.Write(j)
					_ = err
					w := judge.Judge(r, s.Criteria())
					for _, c := range w.Criteria {
						fmt.Println("C", i, n, w.Outcome, c.ID, c.Result, c.Explain, c.Interval)
					}
					for _, o := range w.Outages {
						fmt.Printf("O %d %d %+v\n", i, n, o)
					}
				}
			}
		}
		fmt.Printf("HASH %d %x\n", i, h.Sum(nil)[:8])
	}
}
