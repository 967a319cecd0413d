package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// throughput measures target 1. Open loop: processor time of the client at one
// rate, kept connections. Closed loop: requests a second at one concurrency.
func throughput(ctx context.Context, b *bench) (m measured) {
	const (
		rate        = 2000
		concurrency = 16
	)
	seconds, closed := 5, 100_000
	if b.quick {
		seconds, closed = 2, 20_000
	}
	s, err := b.startServer(ctx, nil)
	if err != nil {
		return measured{err: err}
	}
	defer func() { m.err = errors.Join(m.err, s.stop()) }()
	cpu := map[string]sample{}
	rps := map[string]sample{}
	duration := strconv.Itoa(seconds) + "s"
	n, c := strconv.Itoa(closed), strconv.Itoa(concurrency)
	for round := range b.rounds {
		b.say("  round %d of %d", round+1, b.rounds)
		library := func(engine string, more ...string) contestant {
			return contestant{engine, b.self, append([]string{"role-send", "-engine", engine, "-target", s.url}, more...), nil, ownFigures}
		}
		open := []string{"-rate", strconv.Itoa(rate), "-for", duration}
		loop := []string{"-n", n, "-c", c}
		contestants := []contestant{
			library("rehearse", append(open, "-record", filepath.Join(b.dir, fmt.Sprintf("throughput-%d", round)))...),
			library("vegeta", open...),
			{"vegeta | report", "sh", []string{"-c", fmt.Sprintf("%s attack -rate %d -duration %s | %s report -type json", b.vegeta, rate, duration, b.vegeta)},
				[]byte("GET " + s.url + "\n"), vegetaFigures},
			library("closed", loop...),
			{"wrk", "wrk", []string{"-t2", "-c" + c, "-d" + duration, s.url}, nil, wrkFigures},
			{"ab", "ab", []string{"-q", "-k", "-l", "-n", n, "-c", c, s.url}, nil, abFigures},
			library("vegeta-closed", append(loop, "-for", duration)...),
		}
		// Each round begins with another contestant, so that none is always first.
		for i := range contestants {
			k := contestants[(i+round)%len(contestants)]
			p, err := runProcess(ctx, k.stdin, k.command, k.args...)
			if err != nil {
				return measured{err: err}
			}
			requests, perSecond, err := k.figures(p)
			if err != nil {
				return measured{err: fmt.Errorf("%s: %w", k.name, err)}
			}
			cpu[k.name] = append(cpu[k.name], p.cpu.Seconds()*1e3/(requests/1000))
			rps[k.name] = append(rps[k.name], perSecond)
		}
	}
	toLibrary := cpu["rehearse"].over(cpu["vegeta"])
	toCommand := cpu["rehearse"].over(cpu["vegeta | report"])
	toWrk := rps["closed"].over(rps["wrk"])
	ms := func(name string) string { return name + " " + cpu[name].format("%.1f", " ms") }
	each := func(name string) string { return name + " " + rps[name].format("%.0f", "/s") }
	const contended = "the ratio moves with what else runs on the machine; see the load averages"
	return measured{rows: []row{
		{what: fmt.Sprintf("CPU per 1,000 requests, open loop at %d/s", rate), ours: cpu["rehearse"].format("%.1f", " ms"),
			reference: ms("vegeta") + "; " + ms("vegeta | report")},
		{what: "… as a ratio to the bare library", ours: toLibrary.format("%.2f", ""), limit: "≤ 1.10", met: toLibrary.median() <= 1.10, reason: contended},
		{what: "… as a ratio to `vegeta attack | vegeta report`", ours: toCommand.format("%.2f", ""), limit: "≤ 0.70", met: toCommand.median() <= 0.70, reason: contended},
		{what: fmt.Sprintf("throughput, closed loop of %d", concurrency), ours: rps["closed"].format("%.0f", "/s"),
			reference: each("wrk") + "; " + each("ab") + "; " + each("vegeta-closed")},
		{what: "… as a ratio to wrk", ours: toWrk.format("%.2f", ""),
			reference: "ab " + rps["ab"].over(rps["wrk"]).format("%.2f", "") + "; vegeta-closed " + rps["vegeta-closed"].over(rps["wrk"]).format("%.2f", ""),
			limit:     "≥ 0.55", met: toWrk.median() >= 0.55,
			reason: "one goroutine a connection costs two switches between goroutines a request, where wrk has none"},
		{what: "CPU per 1,000 requests, closed loop", ours: cpu["closed"].format("%.1f", " ms"), reference: ms("wrk") + "; " + ms("ab") + "; " + ms("vegeta-closed")},
	}}
}

// contestant is one client, run as a process.
type contestant struct {
	name    string
	command string
	args    []string
	stdin   []byte
	// figures returns the requests answered, and how many a second.
	figures func(process) (requests, perSecond float64, err error)
}

func ownFigures(p process) (float64, float64, error) {
	var s sent
	if err := json.Unmarshal(p.out, &s); err != nil {
		return 0, 0, err
	}
	if s.OK < s.Requests*95/100 || s.Requests == 0 {
		return 0, 0, fmt.Errorf("%d of %d requests were answered", s.OK, s.Requests)
	}
	return float64(s.OK), float64(s.OK) / max(s.Elapsed, 1e-9), nil
}

func vegetaFigures(p process) (float64, float64, error) {
	var m struct {
		Requests   float64 `json:"requests"`
		Throughput float64 `json:"throughput"`
	}
	err := json.Unmarshal(p.out, &m)
	return m.Requests, m.Throughput, err
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in`)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)`)
	abRequests  = regexp.MustCompile(`(?m)^Complete requests:\s+(\d+)`)
	abRate      = regexp.MustCompile(`(?m)^Requests per second:\s+([\d.]+)`)
)

func wrkFigures(p process) (float64, float64, error) { return scan(p.out, wrkRequests, wrkRate) }
func abFigures(p process) (float64, float64, error)  { return scan(p.out, abRequests, abRate) }

func scan(out []byte, requests, rate *regexp.Regexp) (float64, float64, error) {
	n, r := requests.FindSubmatch(out), rate.FindSubmatch(out)
	if n == nil || r == nil {
		return 0, 0, fmt.Errorf("its output is not understood:\n%s", out)
	}
	a, errA := strconv.ParseFloat(string(n[1]), 64)
	b, errB := strconv.ParseFloat(string(r[1]), 64)
	return a, b, errors.Join(errA, errB)
}

// armed arms the server for zero and returns it.
func (s *server) armed() (time.Time, error) {
	zero := time.Now()
	var nothing any
	return zero, s.ask("arm "+strconv.FormatInt(zero.UnixNano(), 10), &nothing)
}
