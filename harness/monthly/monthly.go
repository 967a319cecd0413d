// Package monthly is the job that keeps production current: it looks whether
// there is a new version of Kubernetes, does nothing if not, rehearses the
// upgrade to it otherwise, and, where it was asked to and the gate is open, has
// production upgraded and tests it again.
//
// The package holds the order of things and what each outcome leads to. What
// reads clusters, rehearses and upgrades is handed to it.
package monthly

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/gate"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/releases"
)

// Production is what was seen of production.
type Production struct {
	Version cluster.Version // of the API server
	// Nodes is empty where production was not looked at and its version was given.
	Nodes []Node
}

// Node is one node of production.
type Node struct {
	Name    string
	Version cluster.Version // of its kubelet
	Ready   bool
	// Cordoned is set where it takes no new pods.
	Cordoned bool
}

// Rehearsal is the outcome of a rehearsal that was carried out.
type Rehearsal struct {
	Dir     string        `json:"dir"`
	Verdict judge.Outcome `json:"verdict"`
	Summary string        `json:"summary"`
}

// Traffic measures production while it is upgraded.
type Traffic interface {
	// Before records the baseline; it blocks until that is done.
	Before(ctx context.Context) error
	// During begins to record; stop ends it.
	During(ctx context.Context) (stop func() error, err error)
	// Compare judges what During recorded against the baseline.
	Compare(ctx context.Context) (*Measured, error)
}

// Measured is what Traffic found.
type Measured struct {
	Verdict  judge.Outcome `json:"verdict"`
	Summary  string        `json:"summary"`
	Baseline string        `json:"baseline"` // run directories
	Upgrade  string        `json:"upgrade"`
}

// Job is one time that the monthly job is run.
type Job struct {
	Policy     string // one of releases.Policies
	Production func(ctx context.Context) (Production, error)
	Versions   func(ctx context.Context, from cluster.Version) ([]cluster.Version, error)
	// Rehearse returns an error where the rehearsal could not be carried out; that
	// it ended NO-GO is none.
	Rehearse func(ctx context.Context, from, to cluster.Version) (*Rehearsal, error)

	// Upgrade is the command that upgrades production; nil for none. Where it is
	// set, Gate decides whether it is run.
	Upgrade func(ctx context.Context, from, to cluster.Version, dir string) error
	Gate    func(ctx context.Context, dir string, from, to cluster.Version) (*gate.Decision, error)
	Traffic Traffic // nil for none
	// Looked is false where Production does not look but returns what it was told:
	// then there is nothing to see after the upgrade.
	Looked bool
	// FewerNodes is set where production may have fewer nodes after its upgrade than
	// before, as where an autoscaler takes some away.
	FewerNodes bool
	// Landing is how long after Upgrade production may take to be whole at the new
	// version, looked at Every so often; Settle is how long traffic goes on then.
	Landing, Every, Settle time.Duration

	// Again says what is rehearsed once production was upgraded; nothing where it is
	// empty.
	Again string

	// Tell is called with a sentence for each thing that begins or is found.
	Tell func(text string)
}

// What is rehearsed again after production's upgrade.
const (
	AgainNext = "next" // the upgrade from what production runs now, where there is one
	AgainSame = "same" // the upgrade that production has just had
	AgainNo   = "no"
)

// AgainValues lists them.
var AgainValues = []string{AgainNext, AgainSame, AgainNo}

// Result is what one time of the job found and did.
type Result struct {
	New         releases.Newer  `json:"new"`
	Target      cluster.Version `json:"target,omitempty"`
	NothingToDo bool            `json:"nothingToDo"`
	Rehearsal   *Rehearsal      `json:"rehearsal,omitempty"`
	Gate        *gate.Decision  `json:"gate,omitempty"`
	Upgrade     *Upgraded       `json:"upgrade,omitempty"`
}

// Upgraded is what became of production.
type Upgraded struct {
	// Command is "passed" or why it did not.
	Command string `json:"command"`
	// Looked is false where production was not looked at afterwards. Landed is true
	// where the API server and every node then ran the target version, every node
	// was Ready and took pods, and none had gone without another in its place; else
	// Missing says what was not.
	Looked  bool   `json:"looked"`
	Landed  bool   `json:"landed"`
	Missing string `json:"missing,omitempty"`
	// Next is what is new to production now.
	Next     *releases.Newer `json:"next,omitempty"`
	Measured *Measured       `json:"measured,omitempty"`
	// Again is the rehearsal after the upgrade. Its verdict is about another upgrade,
	// or another try, and not about this one.
	Again *Rehearsal `json:"again,omitempty"`
}

// Passed is Upgraded.Command of a command that ended with 0.
const Passed = "passed"

// Look finds out what is new; it creates and changes nothing. Result.Target is
// empty, and NothingToDo set, where nothing is.
func (j *Job) Look(ctx context.Context) (*Result, error) {
	p, err := j.Production(ctx)
	if err != nil {
		return nil, fmt.Errorf("production's version: %w", err)
	}
	n, err := j.newer(ctx, p.Version)
	if err != nil {
		return nil, err
	}
	to, ok, err := n.Target(j.Policy)
	if err != nil {
		return nil, err
	}
	return &Result{New: n, Target: to, NothingToDo: !ok}, nil
}

func (j *Job) newer(ctx context.Context, from cluster.Version) (releases.Newer, error) {
	all, err := j.Versions(ctx, from)
	if err != nil {
		return releases.Newer{}, err
	}
	return releases.Than(all, from)
}

// Run does the job once. The error is for what could not be done; the Result,
// which is then what was found until there, may be nil.
func (j *Job) Run(ctx context.Context) (*Result, error) {
	res, err := j.Look(ctx)
	if err != nil || res.NothingToDo {
		return res, err
	}
	from, to := res.New.From, res.Target
	j.Tell(fmt.Sprintf("%s Rehearsing %s to %s.", res.New.Text(), from, to))
	if res.Rehearsal, err = j.Rehearse(ctx, from, to); err != nil || j.Upgrade == nil {
		return res, err
	}
	if res.Gate, err = j.Gate(ctx, res.Rehearsal.Dir, from, to); err != nil {
		return res, fmt.Errorf("the gate: %w; production was not upgraded", err)
	}
	if !res.Gate.Open {
		j.Tell("The gate is closed: production is not upgraded.")
		return res, nil
	}
	before, err := j.unchanged(ctx, from)
	if err != nil {
		return res, err
	}
	if res.Upgrade, err = j.upgrade(ctx, before, from, to, res.Rehearsal.Dir); err != nil {
		return res, err
	}
	return res, j.again(ctx, res.Upgrade, from, to)
}

// again rehearses once more, where production is known to have landed or was not
// to be looked at.
func (j *Job) again(ctx context.Context, u *Upgraded, from, to cluster.Version) (err error) {
	if j.Looked && !u.Landed {
		return nil
	}
	switch j.Again {
	case AgainNext:
		if u.Next == nil {
			return nil
		}
		next, ok, err := u.Next.Target(j.Policy)
		if err != nil || !ok {
			return err
		}
		from, to = u.Next.From, next
	case AgainSame:
	default:
		return nil
	}
	j.Tell(fmt.Sprintf("Rehearsing again: %s to %s.", from, to))
	if u.Again, err = j.Rehearse(ctx, from, to); err != nil {
		return fmt.Errorf("the rehearsal after production's upgrade: %w", err)
	}
	return nil
}

// unchanged makes sure that production is what was rehearsed, since hours may have
// passed, and returns it as it is before its upgrade.
func (j *Job) unchanged(ctx context.Context, from cluster.Version) (Production, error) {
	if !j.Looked {
		return Production{}, nil
	}
	p, err := j.Production(ctx)
	if err != nil {
		return p, fmt.Errorf("production's version before its upgrade: %w; production was not upgraded", err)
	}
	if p.Version != from {
		return p, fmt.Errorf("production runs %s now, and %s was rehearsed: something else upgraded it; production was not upgraded, run this again", p.Version, from)
	}
	return p, nil
}

func (j *Job) upgrade(ctx context.Context, before Production, from, to cluster.Version, dir string) (*Upgraded, error) {
	stop := func() error { return nil }
	if j.Traffic != nil {
		j.Tell("The gate is open. Recording production's baseline.")
		err := j.Traffic.Before(ctx)
		if err == nil {
			stop, err = j.Traffic.During(ctx)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("production could not be measured: %w; production was not upgraded", err), stop())
		}
	}
	j.Tell(fmt.Sprintf("Upgrading production from %s to %s.", from, to))
	u := &Upgraded{Command: Passed}
	failed := j.Upgrade(ctx, from, to, dir)
	if failed != nil {
		u.Command = failed.Error()
		failed = fmt.Errorf("production's upgrade: %w", failed)
	}
	// What the command left is looked at whatever it said, and after an interrupt,
	// too: an upgrade that was stopped half-way must be told.
	after := context.WithoutCancel(ctx)
	err := errors.Join(failed, j.look(ctx, after, u, before, to, failed == nil))
	return u, errors.Join(err, j.measured(ctx, after, u, stop))
}

// look says whether the upgrade landed, looking until it has, for Landing where
// wait is true, or until ctx ends.
func (j *Job) look(ctx, after context.Context, u *Upgraded, before Production, to cluster.Version, wait bool) error {
	if !j.Looked {
		return nil
	}
	deadline := time.Now().Add(j.Landing)
	for {
		p, err := j.Production(after)
		if err == nil {
			u.Looked, u.Missing = true, j.missing(before, p, to)
			u.Landed = u.Missing == ""
		}
		if u.Landed || !wait || ctx.Err() != nil || !time.Now().Before(deadline) {
			if err != nil {
				return fmt.Errorf("production after its upgrade: %w", err)
			}
			return j.next(after, u, p)
		}
		_ = pause.For(ctx, j.Every) // its end is looked at above
	}
}

// next looks for new versions once more, as the next month's job would.
func (j *Job) next(ctx context.Context, u *Upgraded, p Production) error {
	if !u.Landed {
		return nil
	}
	n, err := j.newer(ctx, p.Version)
	if err != nil {
		return err
	}
	u.Next = &n
	return nil
}

// missing says in what production differs from being whole at version to; before
// is what it was.
func (j *Job) missing(before, p Production, to cluster.Version) string {
	var why []string
	if p.Version != to {
		why = append(why, fmt.Sprintf("the API server runs %s", p.Version))
	}
	switch n := len(p.Nodes); {
	case n == 0:
		why = append(why, "there are no nodes")
	case n < len(before.Nodes) && !j.FewerNodes:
		why = append(why, fmt.Sprintf("%d of %d nodes are left", n, len(before.Nodes)))
	}
	cordoned := map[string]bool{}
	for _, n := range before.Nodes {
		cordoned[n.Name] = n.Cordoned
	}
	for _, n := range p.Nodes {
		switch {
		case n.Version != to:
			why = append(why, fmt.Sprintf("node %s runs %s", n.Name, n.Version))
		case !n.Ready:
			why = append(why, fmt.Sprintf("node %s is not Ready", n.Name))
		case n.Cordoned && !cordoned[n.Name]:
			why = append(why, fmt.Sprintf("node %s is cordoned", n.Name))
		}
	}
	const most = 5
	if n := len(why) - most; n > 0 {
		why = append(why[:most], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(why, ", ")
}

// measured lets the traffic settle, ends it and compares.
func (j *Job) measured(ctx, after context.Context, u *Upgraded, stop func() error) error {
	if j.Traffic == nil {
		return nil
	}
	_ = pause.For(ctx, j.Settle) // what was measured until an interrupt counts
	if err := stop(); err != nil {
		return fmt.Errorf("measure production: %w", err)
	}
	m, err := j.Traffic.Compare(after)
	if err != nil {
		return fmt.Errorf("measure production: %w", err)
	}
	u.Measured = m
	return nil
}
