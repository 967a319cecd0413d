package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Preflight looks at the machine before anything is created, and reports what
// earlier runs left behind. A finding that blocks ends the run.
type Preflight struct {
	To cluster.Version
	// Account is set where the driver looks at a cloud's account too.
	Account bool
}

// Describe implements Step.
func (s Preflight) Describe() string {
	return "Check " + s.what() + ", and look for leftovers of earlier runs"
}

func (s Preflight) what() string {
	if s.Account {
		return "this machine and the cloud's account"
	}
	return "this machine"
}

// checkedWithin bounds a look at this machine, an account or a cluster.
const checkedWithin = 15 * time.Minute

// Run implements Step. Leftovers are looked for even where something blocks: they
// may be what is in the way.
func (s Preflight) Run(ctx context.Context, env *Env) error {
	err := bounded(ctx, checkedWithin, func(ctx context.Context) error { return s.check(ctx, env) })
	l, ok := env.Driver.(cluster.LeftoverFinder)
	if !ok {
		return err
	}
	var left []cluster.Leftover
	leftErr := bounded(ctx, checkedWithin, func(ctx context.Context) (err error) {
		left, err = l.Leftovers(ctx)
		return err
	})
	switch {
	case leftErr != nil && err != nil:
		return err // what keeps from looking was told
	case leftErr != nil:
		return fmt.Errorf("look for leftovers: %w", leftErr)
	}
	for _, x := range left {
		env.find(record.Finding{
			ID: "leftover", Severity: record.SeverityWarn, Object: x.Kind + "/" + x.Name,
			Cause: "an earlier run left it behind (one that was killed can be gone on with by rehearse run --resume RUNDIR); this run neither uses nor removes it", Remedy: x.Delete,
		})
	}
	return err
}

func (s Preflight) check(ctx context.Context, env *Env) error {
	p, ok := env.Driver.(cluster.Preflighter)
	if !ok {
		return nil
	}
	findings, err := p.Preflight(ctx, env.Spec, s.To)
	told := env.findAll(findings)
	if err != nil {
		err = fmt.Errorf("check %s: %w", s.what(), err)
	}
	return errors.Join(told, err)
}

// keepFindings adds findings to the record. It is safe for concurrent use: nodes
// may be drained together.
func (e *Env) keepFindings(f []record.Finding) {
	e.finding.Lock()
	defer e.finding.Unlock()
	for _, x := range f {
		if !slices.Contains(e.Run.Findings, x) { // as by a process that was interrupted
			e.Run.Findings = append(e.Run.Findings, x)
		}
	}
}

// find keeps findings for the record and tells them, those together that say the
// same of several objects.
func (e *Env) find(findings ...record.Finding) {
	e.keepFindings(findings)
	for _, g := range record.Together(findings) {
		e.Log.Warn(g.Cause, "finding", g.ID, "object", strings.Join(g.Objects(), ", "), "remedy", g.Remedy)
	}
}

// findAll keeps the findings and returns an error that lists those that block.
func (e *Env) findAll(findings []record.Finding) error {
	var blocking []string
	var other []record.Finding
	for _, f := range findings {
		if f.Severity == record.SeverityBlock {
			e.Run.Findings = append(e.Run.Findings, f)
			blocking = append(blocking, fmt.Sprintf("%s: %s; %s", f.Object, f.Cause, f.Remedy))
			continue
		}
		other = append(other, f)
	}
	e.find(other...)
	if len(blocking) > 0 {
		return errors.New(strings.Join(blocking, "\n"))
	}
	return nil
}
