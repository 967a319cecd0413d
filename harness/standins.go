package harness

import (
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// standIns plans the scenario's workloads, where it has any.
func (b *planner) standIns() {
	if len(b.s.Workloads) == 0 {
		return
	}
	var list []deploy.StandIn
	for _, w := range b.s.Workloads {
		s := deploy.StandIn{Namespace: w.Namespace, Name: w.Name, Replicas: w.Replicas}
		if s.Namespace == "" {
			s.Namespace = scenarios.WorkloadNamespace
		}
		if p := w.PodDisruptionBudget; p != nil {
			s.Budget = &deploy.Budget{MaxUnavailable: p.MaxUnavailable, MinAvailable: p.MinAvailable}
		}
		if r := w.Requests; r != nil {
			s.CPU, s.Memory = r.CPU, r.Memory
		}
		list = append(list, s)
	}
	b.add(SectionPrepare, b.est(cluster.OpDeploy), step.StandIns{List: list, Timeout: 5 * time.Minute})
}
