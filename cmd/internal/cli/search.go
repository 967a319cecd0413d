package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/search"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// The ladder of intervals of a search; the embedded cluster is ten times as fast
// as a real one.
const (
	firstInterval   = 15 * time.Second
	longestInterval = 10 * time.Minute
	simQuicker      = 10
)

// searchRun is run for a scenario with interval: auto: each trial is a whole
// rehearsal with a run directory of its own, under one directory of the search.
// Its outcome and exit code are those of the trial that met the thresholds, or
// of the last one.
func searchRun(ctx context.Context, s Streams, f *scenarioFlags, r *rehearsalFlags, sc *scenarios.Scenario, output string) error {
	dir := filepath.Join(r.out, sc.Name+"-search-"+time.Now().UTC().Format("20060102T150405Z"))
	space := search.Space{Ladder: search.Ladder(firstInterval, longestInterval)}
	if sc.Cluster.Driver == scenarios.DriverSim {
		space.Ladder = search.Ladder(firstInterval/simQuicker, longestInterval/simQuicker)
	}
	if sc.Upgrade.Strategy == scenarios.StrategyReplace {
		space.MaxSurge = sc.Upgrade.MaxSurge
	}
	trials := *r
	trials.out = dir
	found, err := search.Find(ctx, space, func(ctx context.Context, x search.Setting) (search.Trial, error) {
		fmt.Fprintf(s.Err, "\nTrial: interval %s\n", x)
		return tryInterval(ctx, s, f, &trials, *sc, x)
	})
	if len(found.Trials) == 0 {
		return err
	}
	chosen := found.Trials[len(found.Trials)-1]
	for _, t := range found.Trials {
		if found.Best != nil && t.Setting == *found.Best && t.Outcome == search.Met {
			chosen = t
		}
	}
	err = errors.Join(err, keepSearch(dir, found))
	rec, verdict, e := judgeDir(chosen.Dir)
	if e != nil || err != nil {
		return errors.Join(err, e)
	}
	if err := render(s, chosen.Dir, output, rec, verdict); err != nil {
		return err
	}
	if output == "text" {
		tellSearch(s.Out, found)
	} else {
		tellSearch(s.Err, found)
	}
	return verdictExit(verdict)
}

// tryInterval carries out one trial.
func tryInterval(ctx context.Context, s Streams, f *scenarioFlags, r *rehearsalFlags, sc scenarios.Scenario, x search.Setting) (search.Trial, error) {
	sc.Upgrade = sc.Upgrade.WithInterval(x.Interval)
	if sc.Upgrade.Strategy == scenarios.StrategyReplace && sc.Upgrade.MaxSurge > 0 {
		sc.Upgrade.MaxSurge = x.Surge
		if x.Surge == 0 {
			sc.Upgrade.MaxUnavailable = max(1, sc.Upgrade.MaxUnavailable)
		}
	}
	p, driver, err := f.planOf(ctx, &sc)
	if err != nil {
		return search.Trial{}, err
	}
	res, err := r.carryOut(ctx, s, p, driver)
	if err != nil {
		return search.Trial{}, err
	}
	if err := notCarriedOut(res); err != nil {
		return search.Trial{}, err
	}
	t := search.Trial{Outcome: search.Undecided, Dir: res.Dir, Why: res.Verdict.Summary}
	switch res.Verdict.Outcome {
	case judge.Go:
		t.Outcome = search.Met
	case judge.NoGo:
		t.Outcome = search.NotMet
	}
	return t, nil
}

// keepSearch writes search.json and search.txt into the search's directory.
func keepSearch(dir string, r search.Result) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return failed(err)
	}
	var text strings.Builder
	tellSearch(&text, r)
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "search.json"), append(b, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "search.txt"), []byte(text.String()), 0o644),
	)
	if err != nil {
		return failed(fmt.Errorf("keep the search: %w", err))
	}
	return nil
}

// tellSearch prints the trials as a table, what was found, and the forecast.
func tellSearch(w io.Writer, r search.Result) {
	fmt.Fprintf(w, "\nInterval search\n  %-22s %-10s %s\n", "interval", "outcome", "record")
	for _, t := range r.Trials {
		fmt.Fprintf(w, "  %-22s %-10s %s\n", t.Setting, t.Outcome, t.Dir)
	}
	if r.Best == nil {
		fmt.Fprintln(w, "No interval that was tried meets the thresholds.")
		return
	}
	fmt.Fprintf(w, "The smallest that meets the thresholds: interval %s.\n", *r.Best)
	for _, t := range r.Trials {
		if t.Setting == *r.Best && t.Outcome == search.Met {
			if rec, err := record.Load(t.Dir); err == nil {
				tellForecast(w, rec)
			}
		}
	}
}

func rollOf(sc *scenarios.Scenario) search.Roll {
	u := &sc.Upgrade
	return search.Roll{Batch: u.Batch(), ControlPlaneInterval: u.ControlPlaneInterval.Duration, NodeInterval: u.NodeInterval.Duration}
}

// tellForecast prints how long production's roll will take, where the record's
// scenario asks for it.
func tellForecast(w io.Writer, rec *record.Record) {
	sc, err := scenarios.FromResolved(rec.Run.Scenario)
	if err != nil || sc.Upgrade.ForecastNodes < 1 {
		return
	}
	roll := rollOf(sc)
	f, err := search.Production(sc.Upgrade.ForecastNodes, search.Rounds(rec, roll), roll)
	if err != nil {
		fmt.Fprintf(w, "No forecast: %v.\n", err)
		return
	}
	fmt.Fprintf(w, "Forecast for production: %s. The next %s lies between the measured ones with a probability of %.0f%%.\n", f, f.Round(), 100*f.Coverage())
}
