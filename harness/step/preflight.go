package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Preflight looks at the machine before anything is created, and reports what
// earlier runs left behind. A finding that blocks ends the run.
type Preflight struct{ To cluster.Version }

// Describe implements Step.
func (Preflight) Describe() string {
	return "Check this machine, and look for leftovers of earlier runs"
}

// Run implements Step.
func (s Preflight) Run(ctx context.Context, env *Env) error {
	if l, ok := env.Driver.(cluster.LeftoverFinder); ok {
		left, err := l.Leftovers(ctx)
		if err != nil {
			return fmt.Errorf("look for leftovers: %w", err)
		}
		for _, x := range left {
			env.find(record.Finding{
				ID: "leftover", Severity: record.SeverityWarn, Object: x.Kind + "/" + x.Name,
				Cause: "an earlier run left it behind (one that was killed can be gone on with by rehearse run --resume RUNDIR); this run neither uses nor removes it", Remedy: x.Delete,
			})
		}
	}
	p, ok := env.Driver.(cluster.Preflighter)
	if !ok {
		return nil
	}
	findings, err := p.Preflight(ctx, env.Spec, s.To)
	if err != nil {
		return fmt.Errorf("check this machine: %w", err)
	}
	return env.findAll(findings)
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

// find keeps a finding for the record and tells it.
func (e *Env) find(f record.Finding) {
	e.keepFindings([]record.Finding{f})
	e.Log.Warn(f.Cause, "finding", f.ID, "object", f.Object, "remedy", f.Remedy)
}

// findAll keeps the findings and returns an error that lists those that block.
func (e *Env) findAll(findings []record.Finding) error {
	var blocking []string
	for _, f := range findings {
		if f.Severity == record.SeverityBlock {
			e.Run.Findings = append(e.Run.Findings, f)
			blocking = append(blocking, fmt.Sprintf("%s: %s; %s", f.Object, f.Cause, f.Remedy))
			continue
		}
		e.find(f)
	}
	if len(blocking) > 0 {
		return errors.New(strings.Join(blocking, "\n"))
	}
	return nil
}
