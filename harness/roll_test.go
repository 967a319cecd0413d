package harness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/eks"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops"
	"github.com/kube-rehearse/rehearse/harness/step"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
	"github.com/kube-rehearse/rehearse/test/golden"
)

// inAWS are scenarios on the drivers that roll machines themselves.
const inAWS = `apiVersion: rehearse/v1alpha1
scenarios:
- name: kops
  cluster: {driver: kops, controlPlanes: 3, workers: 6, kops: {stateStore: s3://rehearsal-state, manifest: production.yaml, name: mirror.k8s.local}}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1"}
  upgrade: {interval: 10m}
- name: kops-hops
  cluster: {driver: kops, workers: 1, kops: {stateStore: s3://rehearsal-state, zones: [eu-west-1a], networking: calico}}
  versions: [v1.33.9, v1.34.4, v1.35.4]
  canary: {image: "registry.example/canary:1"}
- name: eks
  cluster: {driver: eks, workers: 6, eks: {existing: payments-staging, maxUnavailablePercentage: 33, updateStrategy: MINIMAL}}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1"}
- name: eks-made
  cluster: {driver: eks, workers: 3, eks: {subnets: [subnet-a, subnet-b], clusterRole: "arn:aws:iam::1:role/c", nodeRole: "arn:aws:iam::1:role/n"}}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1"}
- name: eks-drill
  cluster: {driver: eks, workers: 3, eks: {existing: payments-staging}}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1"}
  upgrade: {interval: 10m, rollback: {after: 100%}}
- name: eks-back
  cluster: {driver: eks, workers: 3, eks: {existing: payments-staging}}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1"}
  upgrade: {interval: 10m, rollback: {onFailure: true}}
`

func awsScenario(t *testing.T, name string) (*scenarios.Scenario, cluster.Driver) {
	t.Helper()
	f, err := scenarios.Parse("f", []byte(inAWS))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Pick(name)
	if err != nil {
		t.Fatal(err)
	}
	if s.Cluster.Driver == scenarios.DriverKops {
		return s, kops.New(kops.Options{})
	}
	return s, eks.New(eks.Options{Clients: aws.FromConfig(fakeaws.New().Config()), Existing: s.Cluster.EKS.Existing})
}

func TestPlansOfDriversThatRollThemselves(t *testing.T) {
	for _, name := range []string{"kops", "kops-hops", "eks", "eks-made", "eks-drill", "eks-back"} {
		t.Run(name, func(t *testing.T) {
			p, err := Plan(awsScenario(t, name))
			if err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, "plan-"+name+".golden", printed(p))
		})
	}
}

func TestARollHasTimeForEveryNode(t *testing.T) {
	s, d := awsScenario(t, "kops")
	p, err := Plan(s, d)
	if err != nil {
		t.Fatal(err)
	}
	var got []time.Duration
	for _, e := range p.Entries {
		switch x := e.Step.(type) {
		case step.Create:
			got = append(got, x.Timeout)
		case step.RollRole:
			got = append(got, x.Timeout)
			want := cluster.RollOptions{ControlPlaneInterval: 10 * time.Minute, NodeInterval: 10 * time.Minute, DrainTimeout: 15 * time.Minute, PostDrainDelay: 5 * time.Second, ValidationTimeout: 15 * time.Minute, Validations: 2}
			if x.Options.Progress != nil {
				t.Error("the plan has a function in it")
			}
			if diff := cmp.Diff(want, x.Options, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Progress" }, cmp.Ignore())); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		}
	}
	// A drain, the delay after it, the node itself, two validations and the interval.
	want := []time.Duration{45 * time.Minute, 3 * (15*time.Minute + 5*time.Second + 15*time.Minute + 30*time.Minute + 10*time.Minute), 6 * (15*time.Minute + 5*time.Second + 10*time.Minute + 30*time.Minute + 10*time.Minute)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
	// Nine intervals within the rolls and two after them.
	if p.Floor != 11*10*time.Minute {
		t.Errorf("floor %s", p.Floor)
	}
}

// TestWhatARollerCannotDoIsRefused holds where a flag has put the driver in the
// place of another, so that validation has not seen it.
func TestWhatARollerCannotDoIsRefused(t *testing.T) {
	for want, change := range map[string]func(*scenarios.Scenario){
		"upgrade.strategy: the driver kops replaces machines in its own way and cannot carry out in-place: leave it out, or give replace": func(s *scenarios.Scenario) { s.Upgrade.Strategy = scenarios.StrategyInPlace },
		"upgrade.strategy: the driver kops replaces machines in its own way and cannot carry out command: leave it out, or give replace":  func(s *scenarios.Scenario) { s.Upgrade.Strategy = scenarios.StrategyCommand },
		"upgrade.rollback: the driver kops rolls machines forwards only: leave it out, or rehearse the way back on kind":                  func(s *scenarios.Scenario) { s.Upgrade.Rollback = &scenarios.Rollback{OnFailure: true} },
		"upgrade.extraWorkers: the driver kops adds no machines but its own surge: leave it out":                                          func(s *scenarios.Scenario) { s.Upgrade.ExtraWorkers = 1 },
		"upgrade.onStall: the driver kops drains by itself: leave it out":                                                                 func(s *scenarios.Scenario) { s.Upgrade.OnStall = scenarios.OnStallForce },
	} {
		s, d := awsScenario(t, "kops")
		change(s)
		if _, err := Plan(s, d); errText(err) != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	s, d := awsScenario(t, "eks-drill")
	s.Upgrade.Rollback.After.Ratio = 0.5
	if _, err := Plan(s, d); errText(err) != "upgrade.rollback.after: the driver eks rolls a role as a whole: give 100%" {
		t.Error(err)
	}
	s, d = awsScenario(t, "eks")
	s.Upgrade.Interval = &scenarios.Interval{Auto: true}
	if _, err := Plan(s, d); errText(err) != "upgrade.interval: a search upgrades again and again, and a cluster that is there already is not made anew: give an interval" {
		t.Error(err)
	}
}
