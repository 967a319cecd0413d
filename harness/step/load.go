package step

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// servedWithin is how long a lane may take to be served for the first time: a
// balancer needs two good checks of each instance before it sends any traffic.
const servedWithin = 2 * time.Minute

// StartLoad starts every lane, and the control lane beside them, once each is
// served; the load then goes on until StopLoad.
type StartLoad struct {
	Lanes   []string // names of client classes, see load.Kinds
	Control string   // name of the lane whose target is the twin
	Rate    float64  // requests a second on each, but for a stream's lines
	Timeout time.Duration
	Warmup  time.Duration
	// Agents is how many pods send it, see LoadAgents; 0 sends it from here. Twin is
	// what each of them has beside it then, in the place of the twin here.
	Agents int
	Twin   agent.Twin
}

// Describe implements Step.
func (s StartLoad) Describe() string {
	rate := fmt.Sprintf("%g requests a second each", s.Rate)
	if slices.Contains(s.Lanes, string(load.Stream)) && s.Rate > load.DefaultStreamRate {
		rate += fmt.Sprintf(" but %g lines on %s", load.DefaultStreamRate, load.Stream)
	}
	if s.Agents > 0 {
		rate += ", by " + english.Count(s.Agents, "agent")
	}
	return fmt.Sprintf("Start the load (lanes %s and %s, %s) and warm up for %s", strings.Join(s.Lanes, ", "), s.Control, rate, s.Warmup)
}

// Run implements Step.
func (s StartLoad) Run(ctx context.Context, env *Env) error {
	if err := s.start(ctx, env, timeline.PhaseWarmup); err != nil {
		return err
	}
	return pause.For(ctx, s.Warmup)
}

// Restore implements Restorer: the load starts again in the phase that was
// interrupted.
func (s StartLoad) Restore(ctx context.Context, env *Env) error {
	if !env.State.Measuring {
		return nil
	}
	return s.start(ctx, env, env.Phase)
}

func (s StartLoad) start(ctx context.Context, env *Env, phase string) error {
	twin := env.Twin
	if s.Agents > 0 {
		twin.URL = agent.TwinURL
	}
	lanes := s.lanes(env.Canary, twin)
	for _, l := range lanes {
		if l.Kind == load.CachedDNS && addressed(l.Target) {
			env.Log.Info("the canary has an address and no name: this lane keeps it as any client would, and is a second lane new", "lane", l.Name, "target", l.Target)
		}
		if s.Agents == 0 { // agents look for themselves: their way is another
			if err := served(ctx, env, l); err != nil {
				return err
			}
		}
		env.addLane(l.Record())
	}
	// What is measured must belong to a lane of the record, also if the process
	// is killed before this step ends.
	env.State.Measuring = true
	if err := errors.Join(env.SaveState(), env.Dir.SaveRun(*env.Run)); err != nil {
		return err
	}
	// The load must outlive this step, and end by StopLoad or the cleanup.
	send := s.startHere
	if s.Agents > 0 {
		send = s.startFleet
	}
	running, begins, err := send(ctx, env, lanes, phase)
	if err != nil {
		return fmt.Errorf("start the load: %w", err)
	}
	env.load = running
	env.stopLoad = env.Cleanup.Add(cleanup.Entry{What: "load", Undo: func(context.Context) error { return running.Stop() }})
	// Nothing goes on before the load does: agents begin at an instant ahead.
	return pause.For(ctx, begins-env.Timeline.Clock().Now())
}

// startHere starts the load from this process, at once.
func (StartLoad) startHere(ctx context.Context, env *Env, lanes []load.Lane, phase string) (sender, time.Duration, error) {
	running, err := load.Start(context.WithoutCancel(ctx), load.Config{
		Lanes: lanes, Timeline: env.Timeline, Open: load.ToDir(env.Dir), Observer: env.Observer.Load,
	}, phase)
	if err != nil {
		return nil, 0, err
	}
	return running, 0, nil
}

// addLane puts a lane into run.json, in place of one of its name that an
// interrupted process has put there.
func (e *Env) addLane(l record.Lane) {
	for i := range e.Run.Lanes {
		if e.Run.Lanes[i].Name == l.Name {
			e.Run.Lanes[i] = l
			return
		}
	}
	e.Run.Lanes = append(e.Run.Lanes, l)
}

func (s StartLoad) lanes(canary, twin cluster.Endpoint) []load.Lane {
	lane := func(name string, kind load.Kind, target string) load.Lane {
		return load.Lane{Name: name, Kind: kind, Target: target, Rate: s.Rate, Timeout: s.Timeout, Canary: true}
	}
	out := make([]load.Lane, 0, len(s.Lanes)+1)
	for _, name := range s.Lanes {
		out = append(out, lane(name, load.Kind(name), canary.URL))
	}
	// The twin is asked the way that is the most sensitive to a busy runner: a
	// connection for each request.
	control := lane(s.Control, load.New, twin.URL)
	control.Control = true
	return append(out, control)
}

// addressed reports whether a target is given by an address instead of a name.
func addressed(target string) bool {
	u, err := url.Parse(target)
	return err == nil && net.ParseIP(u.Hostname()) != nil
}

// served waits until the lane gets its first right answer.
func served(ctx context.Context, env *Env, l load.Lane) error {
	var last error
	err := wait.For(func(ctx context.Context) (bool, error) {
		last = load.Probe(ctx, l)
		return last == nil, nil
	}, wait.WithContext(ctx), wait.WithTimeout(servedWithin), wait.WithInterval(time.Second), wait.WithImmediate())
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("lane %s was not served within %s: %w", l.Name, servedWithin, last)
	}
	env.Log.Debug("served", "lane", l.Name, "target", l.Target)
	return nil
}

// phase begins a phase of the load that is under way.
func (e *Env) phase(name string) error {
	if e.load == nil {
		return fmt.Errorf("phase %s: no load is running: the plan should not have been made", name)
	}
	e.load.Phase(name)
	return nil
}

// StopLoad ends the load, the probes and the watch, so that their data are
// whole before the cluster goes away.
type StopLoad struct{}

// Describe implements Step.
func (StopLoad) Describe() string { return "Stop the load, the probes and the watch" }

// Run implements Step.
func (StopLoad) Run(ctx context.Context, env *Env) error {
	env.State.Measuring = false
	if err := env.SaveState(); err != nil {
		return err
	}
	var errs []error
	for _, stop := range []func(context.Context) error{env.stopLoad, env.stopWatch, env.stopDNS, env.stopAgents} {
		if stop != nil { // nil where an interrupted process had begun to stop them
			errs = append(errs, stop(ctx))
		}
	}
	return errors.Join(errs...)
}
