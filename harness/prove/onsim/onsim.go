// Package onsim plants faults in the embedded cluster. Each is a row of a
// table: what it does to the simulation, in which scenario, and what must be
// found. To add one, add a row; faults.go of harness/cluster/sim says what the
// simulation can be made to do.
package onsim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// width is how many rehearsals go on side by side. Each takes a tenth of a core.
// What bounds it is the number of connections: each rehearsal opens 4 × rate of
// them a second, the kernel remembers each for up to two minutes, and where its
// table of 262144 is full it drops packets, on every lane.
const width = 5

// Options of the bed.
type Options struct {
	Tool    string // version of rehearse
	Command string
	Host    record.Host
	// Report writes the reports into a run directory; nil writes none.
	Report func(dir string, r *record.Record, v judge.Verdict) error
	// Self returns a command that runs Child for a fault in a process of its own:
	// some faults befall the whole process that sends the load.
	Self func(ctx context.Context, fault, out string) *exec.Cmd
}

// Bed is a prove.Bed.
type Bed struct {
	o     Options
	table []fault
}

var _ prove.Bed = (*Bed)(nil)

// New returns the bed.
func New(o Options) *Bed {
	if o.Report == nil {
		o.Report = func(string, *record.Record, judge.Verdict) error { return nil }
	}
	return &Bed{o: o, table: table()}
}

// fault is one row.
type fault struct {
	prove.Fault
	// scenario changes the common one; nil leaves it.
	scenario func(*scenarios.Scenario)
	// plant says what to do to the simulation. The stage tells when.
	plant func(*stage) sim.Faults
	// scale is that of the simulation; 0 is its default.
	scale float64
	// own is set for a fault of the process that sends the load.
	own *ownProcess
	// dies names a probe that dies when the upgrade has begun.
	dies string
}

// Driver implements prove.Bed.
func (b *Bed) Driver() string { return scenarios.DriverSim }

// Width implements prove.Bed.
func (b *Bed) Width() int { return width }

// Faults implements prove.Bed.
func (b *Bed) Faults() []prove.Fault {
	var out []prove.Fault
	for _, f := range b.table {
		f.Takes = takes(f)
		out = append(out, f.Fault)
	}
	return out
}

func (b *Bed) fault(name string) (fault, error) {
	i := slices.IndexFunc(b.table, func(f fault) bool { return f.Name == name })
	if i < 0 {
		return fault{}, fmt.Errorf("no fault is called %q", name)
	}
	return b.table[i], nil
}

// Rehearse implements prove.Bed.
func (b *Bed) Rehearse(ctx context.Context, name, out string) (prove.Trial, string, error) {
	f, err := b.fault(name)
	if err != nil {
		return prove.Trial{}, "", err
	}
	if f.own != nil {
		return b.inChild(ctx, f, out)
	}
	s := &stage{}
	res, err := b.run(ctx, f, s, out)
	if err != nil {
		return prove.Trial{}, dirOf(res), err
	}
	return prove.Trial{Record: res.Record, Verdict: res.Verdict, Planted: s.planted()}, res.Dir, nil
}

func dirOf(res *harness.Result) string {
	if res == nil {
		return ""
	}
	return res.Dir
}

// takes returns how long the rehearsal of a fault takes: what its scenario says
// of its phases, and what the simulation needs for its nodes.
func takes(f fault) time.Duration {
	sc, err := f.resolve()
	if err != nil {
		return 0 // Rehearse says so
	}
	l := &sc.Load
	nodes := time.Duration(sc.Cluster.ControlPlanes)*20*time.Second + time.Duration(sc.Cluster.Workers)*6*time.Second
	if f.scale > 0 {
		nodes = time.Duration(float64(nodes) * sim.DefaultScale / f.scale)
	}
	return l.Warmup.Duration + l.Baseline.Duration + l.Settle.Duration + nodes
}

// resolve returns the fault's scenario.
func (f fault) resolve() (*scenarios.Scenario, error) {
	sc, err := common()
	if err != nil {
		return nil, err
	}
	sc.Name = f.Name
	if f.scenario != nil {
		f.scenario(sc)
	}
	return sc, nil
}

// run rehearses the whole job once, with the fault on stage.
func (b *Bed) run(ctx context.Context, f fault, s *stage, out string) (*harness.Result, error) {
	sc, err := f.resolve()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	o := sim.Options{Seed: 1, Scale: f.scale, Log: log}
	if f.plant != nil {
		o.Faults = f.plant(s)
	}
	d := &driver{Driver: sim.New(o), stage: s, dies: f.dies}
	plan, err := harness.Plan(sc, d)
	if err != nil {
		return nil, err
	}
	var undo cleanup.Stack
	res, err := harness.Run(ctx, plan, harness.Options{
		Out: out, Tool: b.o.Tool, Command: b.o.Command, Driver: d, Host: b.o.Host, Log: log, Progress: s, Cleanup: &undo, Report: b.o.Report,
	})
	switch {
	case err != nil:
		return res, err
	case ctx.Err() != nil:
		return res, context.Cause(ctx)
	case res.Err != nil && !errors.Is(res.Err, context.Canceled):
		return res, res.Err
	}
	return res, nil
}

// common returns the scenario that all faults share but for what they change.
// Nothing is waited between nodes: the whole takes less than a minute.
func common() (*scenarios.Scenario, error) {
	f, err := scenarios.Parse("the common scenario", []byte(`
apiVersion: rehearse/v1alpha1
scenarios:
- name: prove
  cluster: {driver: sim, controlPlanes: 1, workers: 2, network: flannel}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {replicas: 2, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 10s, gracePeriod: 5s}
  load: {rate: 50, lanes: [new, reused], timeout: 2s, warmup: 1s, baseline: 5s, settle: 3s}
  upgrade: {controlPlaneInterval: 0s, nodeInterval: 0s, postDrainDelay: 0s, drainTimeout: 30s, nodeTimeout: 10s, controlPlaneTimeout: 1m, validationInterval: 200ms, validationTimeout: 10s}
  thresholds: {successRate: 99.5%, errorIncrease: 0.5%, longestOutage: 500ms, p50Increase: off, p99Increase: off}
`))
	if err != nil {
		return nil, err
	}
	return &f.Scenarios[0], nil
}
