package step

import (
	"context"
	"fmt"

	"k8s.io/client-go/metadata"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/forecast"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/preflight"
)

// CheckCluster makes the checks of a preflight on the cluster under rehearsal and
// foretells its drains. What is found goes into the record and stops nothing: the
// rehearsal is there to see what happens.
type CheckCluster struct {
	To cluster.Version
	// Roll is nil where a command of the user's rolls the nodes: nobody knows in
	// which order it drains them.
	Roll *forecast.Options
}

// Describe implements Step.
func (s CheckCluster) Describe() string {
	if s.Roll == nil {
		return "Check the cluster for what would stop the upgrade"
	}
	return "Check the cluster for what would stop the upgrade, and foretell its drains"
}

// Run implements Step.
func (s CheckCluster) Run(ctx context.Context, env *Env) error {
	return bounded(ctx, checkedWithin, func(ctx context.Context) error { return s.check(ctx, env) })
}

func (s CheckCluster) check(ctx context.Context, env *Env) error {
	src := preflight.Source{Client: env.client(), Dynamic: env.Cluster.Dynamic}
	if env.Cluster.Config != nil {
		meta, err := metadata.NewForConfig(env.Cluster.Config)
		if err != nil {
			return fmt.Errorf("check the cluster: %w", err)
		}
		src.Metadata = meta
		src.Raw = func(ctx context.Context, path string) ([]byte, error) {
			return env.client().Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
		}
	}
	var state *preflight.State
	err := retryAPI(ctx, env, "check the cluster", func() (err error) {
		state, err = preflight.Observe(ctx, src)
		return err
	})
	if err != nil {
		return fmt.Errorf("check the cluster: %w", err)
	}
	state.Target = s.To.String()
	for _, r := range preflight.Examine(state) {
		if r.NotChecked != "" {
			env.Log.Debug("not checked", "check", r.Check, "why", r.NotChecked)
		}
		env.foretold(r.Findings)
	}
	if err := s.examine(ctx, env); err != nil {
		return err
	}
	if s.Roll == nil {
		return nil
	}
	roll, err := forecast.Of(state, *s.Roll)
	if err != nil {
		env.Log.Warn("the drains could not be foretold", "why", err)
		return nil
	}
	env.foretold(roll.Findings())
	return nil
}

// examine looks at what of the cluster lies outside of its API. That it could not
// be looked at is a finding: the cluster is there, and the upgrade will show.
func (s CheckCluster) examine(ctx context.Context, env *Env) error {
	x, ok := env.Driver.(cluster.Examiner)
	if !ok {
		return nil
	}
	found, err := x.Examine(ctx, env.Cluster, s.To)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		found = append(found, record.Finding{
			ID: "not-examined", Severity: record.SeverityWarn, Object: "cluster/" + env.Spec.Name,
			Cause: "not all of what lies outside of its API could be looked at: " + err.Error(), Remedy: "grant what is missing, or look yourself",
		})
	}
	env.foretold(found)
	return nil
}

// foretold keeps findings of what is to come. One that blocks an upgrade warns
// here, and says that the rehearsal goes on.
func (e *Env) foretold(findings []record.Finding) {
	var told []record.Finding
	for _, f := range findings {
		if f.Severity == record.SeverityInfo {
			e.keepFindings([]record.Finding{f})
			continue
		}
		if f.Severity == record.SeverityBlock {
			f.Severity = record.SeverityWarn
			f.Cause += " A preflight would not let this upgrade begin; the rehearsal goes on, to see what happens."
		}
		told = append(told, f)
	}
	e.find(told...)
}
