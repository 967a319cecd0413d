package onkind

import (
	"context"
	"slices"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// common returns the scenario that all rows share but for what they change.
func common() (*scenarios.Scenario, error) {
	f, err := scenarios.Parse("the common scenario", []byte(`
apiVersion: rehearse/v1alpha1
scenarios:
- name: prove
  cluster: {driver: kind, controlPlanes: 1, workers: 2, network: flannel}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {replicas: 2, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 12s, gracePeriod: 5s}
  load: {rate: 100, lanes: [new, reused], timeout: 5s, warmup: 3s, baseline: 20s, settle: 8s}
  upgrade: {controlPlaneInterval: 0s, nodeInterval: 0s, postDrainDelay: 0s, drainTimeout: 3m, validationInterval: 3s, validationTimeout: 3m}
  thresholds: {successRate: 99.5%, errorIncrease: 0.5%, longestOutage: 1s, p50Increase: off, p99Increase: off}
`))
	if err != nil {
		return nil, err
	}
	return &f.Scenarios[0], nil
}

var noGo = []judge.Outcome{judge.NoGo}

// bothOf names a criterion of both lanes.
func bothOf(kind string) []string {
	return []string{kind + "/" + scenarios.LaneNew, kind + "/" + scenarios.LaneReused}
}

// table is every fault, in the order in which it is planted: those come last
// from which the cluster recovers slowly.
func table() []fault {
	return slices.Concat(ofTheWorkload(), ofTheCluster())
}

func ofTheWorkload() []fault {
	return []fault{
		{Fault: prove.Fault{Name: "clean", What: "nothing: a clean upgrade", Clean: true, Expect: prove.Expect{Outcomes: []judge.Outcome{judge.Go}}}},
		{
			Fault: prove.Fault{
				Name: "single-replica", What: "a single replica without a budget",
				Expect: prove.Expect{Outcomes: noGo, Failed: bothOf("outage"), Names: []string{"pod/rehearse/canary-"}},
			},
			scenario: func(s *scenarios.Scenario) {
				s.Canary.Replicas, s.Canary.PodDisruptionBudget = 1, nil
				s.Canary.ShutdownDelay, s.Canary.GracePeriod = scenarios.D(0), scenarios.D(0)
			},
		},
		{
			Fault: prove.Fault{
				Name: "blocking-budget", What: "a budget that blocks eviction for ever",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"upgrade"}, Names: []string{"budget canary", "pod rehearse/canary-"}},
			},
			scenario: func(s *scenarios.Scenario) {
				s.Canary.PodDisruptionBudget = &scenarios.Budget{MaxUnavailable: new(0)}
				s.Upgrade.DrainTimeout = scenarios.D(20 * time.Second)
			},
		},
	}
}

// frozen is how long the API server stands still: longer than a probe waits for
// an answer, shorter than its clients' leases last.
const frozen = 8 * time.Second

func ofTheCluster() []fault {
	return []fault{
		{
			Fault: prove.Fault{
				Name: "api-server-paused", What: "an API server that stands still for 8 s (SIGSTOP)",
				Expect: prove.Expect{
					// It has what was held up to answer first.
					Outcomes: noGo, Failed: []string{"api"}, Spared: []string{"outage/*"},
					Probe: &prove.Probe{Names: []string{"api-new", "api-reused"}, Adds: 4 * time.Second},
				},
			},
			scenario: func(s *scenarios.Scenario) {
				s.Load.Settle = scenarios.D(frozen + 7*time.Second)
				s.Thresholds.APIAvailability = scenarios.Pct(99)
			},
			plant: func(ctx context.Context, h *hands) error {
				return h.on(ctx, h.plane(), "pkill", "-STOP", "-x", "kube-apiserver")
			},
			lasts: frozen,
			undo: func(ctx context.Context, h *hands) error {
				return h.on(ctx, h.plane(), "pkill", "-CONT", "-x", "kube-apiserver")
			},
		},
		{
			Fault: prove.Fault{
				Name: "kubelet-stopped", What: "a kubelet that stops after the upgrade",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"versions"}, Names: []string{"not Ready:", chosen}},
			},
			// A node is given up when its lease was not renewed for 50 s.
			scenario: func(s *scenarios.Scenario) { s.Load.Settle = scenarios.D(65 * time.Second) },
			plant: func(ctx context.Context, h *hands) error {
				return h.on(ctx, h.chosen(), "systemctl", "stop", "kubelet")
			},
			undo: func(ctx context.Context, h *hands) error {
				return h.on(ctx, h.chosen(), "systemctl", "start", "kubelet")
			},
		},
		{
			Fault: prove.Fault{
				Name: "flannel-crash-looping", What: "flannel crash-looping on one node",
				Expect: prove.Expect{Outcomes: noGo, Failed: []string{"component/kube-flannel"}, Names: []string{"kube-flannel-ds-", chosen}},
			},
			scenario: func(s *scenarios.Scenario) { s.Load.Settle = scenarios.D(15 * time.Second) },
			plant: func(ctx context.Context, h *hands) error {
				// Each start of it is ended within half a second.
				return h.on(ctx, h.chosen(), "systemd-run", "--unit", faultUnit, "--collect", "sh", "-c", "while :; do pkill -KILL -x flanneld; sleep 0.5; done")
			},
			undo: func(ctx context.Context, h *hands) error {
				return h.on(ctx, h.chosen(), "systemctl", "stop", faultUnit)
			},
		},
	}
}

// faultUnit is the unit that runs a fault on a node.
const faultUnit = "rehearse-fault.service"

// chosen is the end of the name of the worker that faults of one node befall.
const chosen = "-worker2"
