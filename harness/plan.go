// Package harness turns a scenario into a plan and the plan into a record: what
// Plan returns is data that can be printed, and Run does exactly that, step by
// step, in the same words.
package harness

import (
	"fmt"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// RunPlan is one rehearsal as data.
type RunPlan struct {
	Scenario *scenarios.Scenario
	Entries  []Entry
	// Nodes counts all nodes, 0 where the cluster is there already, and Floor is the
	// least the upgrade can take: what is waited between nodes, whatever the nodes
	// themselves need.
	Nodes int
	Floor time.Duration
	// NothingToDo is set when the cluster would already be at the target version.
	NothingToDo bool
}

// Sections of a plan. What fails in the upgrade is the upgrade's failure and
// part of the verdict; what fails elsewhere means that there is no verdict.
const (
	SectionPrepare = "prepare"
	SectionMeasure = "measure"
	SectionUpgrade = "upgrade"
	SectionJudge   = "judge"
	// SectionRollback is the way back of a roll that was turned round.
	SectionRollback = "rollback"
)

// Entry is one step of a plan.
type Entry struct {
	Number      int
	Section     string
	Description string
	// Expected is how long the step usually takes with this driver.
	Expected time.Duration
	Step     step.Step
	// OnFailure is set where the entry is carried out only if the upgrade failed.
	OnFailure bool
}

// Expected returns the forecast of the whole run, never below Floor.
func (p *RunPlan) Expected() time.Duration {
	var sum time.Duration
	for _, e := range p.Entries {
		sum += e.Expected
	}
	return max(sum, p.Floor)
}

// Plan makes the plan of a scenario on a driver. It fails, before anything is
// created, when the driver cannot do what the scenario asks for.
func Plan(s *scenarios.Scenario, d cluster.Driver) (*RunPlan, error) {
	var hops []cluster.Version
	for _, v := range s.Versions.Hops() {
		to, err := cluster.ParseVersion(v)
		if err != nil {
			return nil, fmt.Errorf("versions: %w", err)
		}
		hops = append(hops, to)
	}
	p := &RunPlan{Scenario: s, Nodes: s.Cluster.ControlPlanes + s.Cluster.Workers}
	if s.Cluster.ManagedControlPlane() {
		p.Nodes = s.Cluster.Workers
	}
	if s.Versions.From == s.Versions.To {
		p.NothingToDo = true
		return p, nil
	}
	if err := refusedByRoller(d, s); err != nil {
		return nil, err
	}
	if missing := missingCapabilities(d, &s.Upgrade); len(missing) > 0 {
		return nil, fmt.Errorf("cluster.driver: %s cannot carry out the strategy %s: it lacks %s", s.Cluster.Driver, s.Upgrade.Strategy, strings.Join(missing, ", "))
	}
	_, rolls := d.(cluster.Roller)
	b := &planner{s: s, hops: hops, plan: p, est: estimates(d), rolls: rolls}
	b.prepare()
	b.measure()
	b.upgrade()
	b.judge()
	return p, nil
}

type planner struct {
	s    *scenarios.Scenario
	hops []cluster.Version // that the cluster is taken to, one after another
	plan *RunPlan
	est  func(cluster.Operation) time.Duration
	// rolls is set where the driver takes all nodes of a role to a version by itself.
	rolls bool
}

func (b *planner) add(section string, expected time.Duration, s step.Step) {
	b.plan.Entries = append(b.plan.Entries, Entry{
		Number: len(b.plan.Entries) + 1, Section: section, Description: s.Describe(), Expected: expected, Step: s,
	})
}

func (b *planner) prepare() {
	s := b.s
	nodes := time.Duration(b.plan.Nodes)
	b.add(SectionPrepare, b.est(cluster.OpPreflight), b.preflight())
	if s.Load.Agents > 0 {
		b.add(SectionPrepare, 0, step.CheckAgents{In: b.agentsCluster()})
	}
	if !b.commanded() && !b.rolls {
		b.add(SectionPrepare, b.est(cluster.OpPrepare), step.Prepare{From: cluster.Version(s.Versions.From), To: b.hops})
	}
	b.add(SectionPrepare, b.est(cluster.OpCreate), b.create())
	c := s.Canary
	canary := step.Canary{
		Replicas: c.Replicas, BodyBytes: c.BodyBytes, Latency: c.Latency.Duration,
		ShutdownDelay: c.ShutdownDelay.Duration, GracePeriod: c.GracePeriod.Duration, Timeout: 5 * time.Minute,
	}
	if c.PodDisruptionBudget != nil {
		canary.MaxUnavailable, canary.MinAvailable = c.PodDisruptionBudget.MaxUnavailable, c.PodDisruptionBudget.MinAvailable
	}
	b.add(SectionPrepare, b.est(cluster.OpDeploy), canary)
	b.standIns()
	for _, to := range b.stages() {
		b.add(SectionPrepare, nodes*b.est(cluster.OpStage), step.Stage{To: to})
	}
	b.add(SectionPrepare, b.est(cluster.OpValidate), b.validate("Before the load"))
	check := step.CheckCluster{To: b.hops[0]}
	if !b.commanded() {
		check.Roll = b.forecast()
	}
	b.add(SectionPrepare, 0, check)
}

func (b *planner) measure() {
	l := b.s.Load
	b.add(SectionMeasure, 0, step.DNSAgents{})
	b.add(SectionMeasure, 0, step.Watch{APIEvery: apiProbeEvery, APITimeout: apiProbeTimeout})
	start := step.StartLoad{
		Lanes: l.Lanes, Control: scenarios.LaneControl, Rate: l.Rate, Timeout: l.Timeout.Duration, Warmup: l.Warmup.Duration,
	}
	if n := l.Agents; n > 0 {
		c := b.s.Canary
		start.Agents, start.Twin = n, agent.Twin{BodyBytes: c.BodyBytes, LatencyNS: int64(c.Latency.Duration)}
		b.add(SectionMeasure, b.est(cluster.OpDeploy), step.LoadAgents{
			In: b.agentsCluster(), Count: n, Image: l.AgentImage, Rate: l.Rate * float64(len(l.Lanes)+1), InTarget: l.AgentsInTarget,
		})
	}
	b.add(SectionMeasure, l.Warmup.Duration, start)
	b.add(SectionMeasure, l.Baseline.Duration, step.Hold{Phase: timeline.PhaseBaseline, For: l.Baseline.Duration, What: "Record the baseline"})
	b.add(SectionMeasure, b.est(cluster.OpSnapshot), step.Snapshot{Name: "before", Components: b.s.Checks.SystemComponents, What: "Take stock of nodes and system components before the upgrade"})
}

func (b *planner) agentsCluster() step.AgentsCluster {
	l := b.s.Load
	return step.AgentsCluster{Kubeconfig: l.AgentsKubeconfig, Context: l.AgentsContext}
}

func (b *planner) upgrade() {
	if b.commanded() {
		b.commands()
		return
	}
	for i, to := range b.hops {
		b.hop(to, i == 0)
	}
}

// hop takes every node to one version: control planes first, since no kubelet
// may be newer than an API server.
func (b *planner) hop(to cluster.Version, begins bool) {
	if b.rolls {
		b.roll(to, begins)
		return
	}
	u := b.s.Upgrade
	for i := range b.s.Cluster.ControlPlanes {
		b.add(SectionUpgrade, b.est(cluster.OpUpgradeControlPlane)+u.PostDrainDelay.Duration, step.UpgradeNode{
			ControlPlane: true, Index: i, Begins: begins && i == 0, Of: b.s.Cluster.ControlPlanes, To: to, Drain: b.drain(), Timeout: u.ControlPlaneTimeout.Duration,
		})
		b.between(u.ControlPlaneInterval.Duration, i == b.s.Cluster.ControlPlanes-1, "control plane")
	}
	b.workers(to)
}

// between validates the cluster after a node and waits the interval. The
// interval after the last node is kept too: faults show late.
func (b *planner) between(interval time.Duration, last bool, role string) {
	what := "Before the next " + role
	if last {
		what = "After the last " + role
	}
	v := b.validate(what)
	v.Interval = interval
	b.plan.Floor += interval
	b.add(SectionUpgrade, b.est(cluster.OpValidate)+interval, v)
}

func (b *planner) validate(what string) step.Validate {
	u := b.s.Upgrade
	return step.Validate{
		What: what, Consecutive: u.Validations, Every: u.ValidationInterval.Duration, Timeout: u.ValidationTimeout.Duration,
	}
}

func (b *planner) judge() {
	l := b.s.Load
	b.add(SectionJudge, l.Settle.Duration, step.Hold{Phase: timeline.PhaseSettle, For: l.Settle.Duration, What: "Settle under load"})
	b.add(SectionJudge, l.Timeout.Duration, step.StopLoad{})
	b.add(SectionJudge, b.est(cluster.OpSnapshot), step.Snapshot{Name: "after", Components: b.s.Checks.SystemComponents, What: "Check the system components and the version of every node"})
	b.add(SectionJudge, b.est(cluster.OpDelete), tearDown{})
	b.add(SectionJudge, 0, judgeRecord{})
}

// How often the API is asked, and how long an answer may take. Every 250 ms on
// new and on reused connections is what the field's guides settled on.
const (
	apiProbeEvery   = 250 * time.Millisecond
	apiProbeTimeout = 5 * time.Second
)
