package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
)

// verdictTime measures target 5: the processor time to judge ten million
// results from their windows, beside what vegeta needs to read as many from its
// own encoding and sum them up (which gives no verdict yet).
func verdictTime(_ context.Context, b *bench) measured {
	o := synth.Options{Seed: 5, Rate: 1000, Baseline: 10 * time.Minute, Upgrade: 45 * time.Minute, Settle: 30 * time.Second}
	r := synth.Record(o)
	results := 0.0
	for i := range r.Lanes {
		for j := range r.Lanes[i].Windows {
			results += float64(r.Lanes[i].Windows[j].Due())
		}
	}
	s := o.Scenario()
	criteria := s.Criteria()
	const few = 100_000
	encoded, err := encodeResults(few)
	if err != nil {
		return measured{err: err}
	}
	var ours, theirs sample
	for range b.rounds {
		began := cpuTime()
		if v := judge.Judge(r, criteria); v.Outcome != judge.Go {
			return measured{err: fmt.Errorf("an unchanged service was judged %s: %s", v.Outcome, v.Summary)}
		}
		ours = append(ours, (cpuTime()-began).Seconds()*1e7/results)
		began = cpuTime()
		if err := sumUp(encoded); err != nil {
			return measured{err: err}
		}
		theirs = append(theirs, (cpuTime()-began).Seconds()*1e7/few)
	}
	return measured{rows: []row{{
		what: fmt.Sprintf("CPU time to judge 10 M results (from %.1f M, two lanes and control)", results/1e6), ours: ours.format("%.2f", " s"),
		reference: "vegeta, to decode and sum up: " + theirs.format("%.1f", " s"), limit: "≤ 0.2 s", met: ours.median() <= 0.2,
		reason: "other processes share the cores and their caches",
	}}}
}

// encodeResults returns n results in vegeta's gob encoding.
func encodeResults(n int) ([]byte, error) {
	var buf bytes.Buffer
	enc := vegeta.NewEncoder(&buf)
	began := time.Now()
	for i := range n {
		x := vegeta.Result{Seq: uint64(i), Code: 200, Timestamp: began.Add(time.Duration(i) * time.Millisecond), Latency: time.Duration(1+i%97) * time.Millisecond, BytesIn: 1024, Method: "GET", URL: "http://127.0.0.1/"}
		if err := enc.Encode(&x); err != nil {
			return nil, fmt.Errorf("encode vegeta's results: %w", err)
		}
	}
	return buf.Bytes(), nil
}

func sumUp(encoded []byte) error {
	var m vegeta.Metrics
	dec := vegeta.NewDecoder(bytes.NewReader(encoded))
	for {
		var x vegeta.Result
		err := dec.Decode(&x)
		if errors.Is(err, io.EOF) {
			m.Close()
			return nil
		}
		if err != nil {
			return fmt.Errorf("decode vegeta's results: %w", err)
		}
		m.Add(&x)
	}
}

// cpuTime returns the processor time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reasonsOf finds, in the proofs' log, which criteria failed or stayed open in
// the rehearsals of a row.
var reasonsOf = regexp.MustCompile(`(?m)proof_test\.go:\d+: (.+): map\[(.*)\]$`)

// verdictPower measures target 8 with the proofs of package judge, at their full
// size: a thousand seeded rehearsals for each row.
func verdictPower(ctx context.Context, b *bench) measured {
	pairs := 1000
	if b.quick {
		pairs = 20
	}
	path := filepath.Join(b.dir, "proofs.jsonl")
	// No timeout: at a low weight it takes as long as it takes.
	cmd := exec.CommandContext(ctx, "go", "test", "-v", "-count=1", "-timeout=0", "-run=^(TestProof|TestCalibrationHolds)", "./harness/judge")
	cmd.Env = append(os.Environ(), "REHEARSE_PROOF_PAIRS="+strconv.Itoa(pairs), "REHEARSE_PROOF_ROWS="+path)
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(&out, os.Stderr)
	cmd.Stderr = cmd.Stdout
	failure := cmd.Run() // a row that is not met fails its test, and belongs in the table
	lines, err := os.ReadFile(path)
	if err != nil {
		return measured{err: fmt.Errorf("%s: %w", cmd, errors.Join(failure, err))}
	}
	m := measured{notes: []string{fmt.Sprintf("Each row has %d seeded rehearsals, so rounds mean nothing to it.", pairs)}}
	reasons := reasonsOf.FindAllSubmatch(out.Bytes(), -1)
	for line := range bytes.Lines(lines) {
		var f struct {
			What, Ours, Reference, Limit string
			Met                          bool
		}
		if err := json.Unmarshal(line, &f); err != nil {
			m.err = fmt.Errorf("%s: line %d: %w", path, len(m.rows)+1, err)
			return m
		}
		r := row{what: f.What, ours: f.Ours, reference: f.Reference, limit: f.Limit, met: f.Met}
		if f.Limit == "no target" {
			r.limit = ""
		}
		for _, found := range reasons {
			if strings.HasPrefix(f.What, string(found[1])) {
				r.reason = "criteria that failed or stayed open, by rehearsals: " + string(found[2])
			}
		}
		m.rows = append(m.rows, r)
	}
	if failure != nil && m.missed() == 0 {
		m.err = fmt.Errorf("%s: %w", cmd, failure) // it ended for another reason
	}
	return m
}
