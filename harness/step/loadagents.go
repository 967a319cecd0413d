package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agentjob"
	"github.com/kube-rehearse/rehearse/harness/load/fleet"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// AgentsCluster is the cluster in which load agents run.
type AgentsCluster struct {
	Kubeconfig, Context string
	// Connect returns its clients; nil reads the kubeconfig.
	Connect func() (*agentjob.Cluster, error)
}

func (c AgentsCluster) connect() (*agentjob.Cluster, error) {
	if c.Connect != nil {
		return c.Connect()
	}
	return agentjob.Connect(c.Kubeconfig, c.Context)
}

// String names the cluster for a person.
func (c AgentsCluster) String() string {
	if c.Context != "" {
		return "context " + c.Context
	}
	return "the current context of " + c.Kubeconfig
}

// CheckAgents looks, before anything is created, whether load agents can be run.
type CheckAgents struct{ In AgentsCluster }

// Describe implements Step.
func (s CheckAgents) Describe() string {
	return fmt.Sprintf("Check that load agents may run in %s", s.In)
}

// Run implements Step.
func (s CheckAgents) Run(ctx context.Context, env *Env) error {
	c, err := s.In.connect()
	if err != nil {
		return err
	}
	findings, err := agentjob.Preflight(ctx, c, env.Spec.RunID)
	if err != nil {
		return err
	}
	return env.findAll(findings)
}

// LoadAgents runs the pods that will send the load, until StopLoad.
type LoadAgents struct {
	In       AgentsCluster
	Count    int
	Image    string
	Rate     float64 // requests a second of all lanes together
	InTarget bool    // they may run in the cluster under test
}

// readyWithin is how long the agents' pods may take to run: their image has to be
// pulled.
const readyWithin = 5 * time.Minute

// Describe implements Step.
func (s LoadAgents) Describe() string {
	return fmt.Sprintf("Start %s in %s", english.Count(s.Count, "load agent"), s.In)
}

// Restore implements Restorer: agents that are alone end, so new ones are made.
func (s LoadAgents) Restore(ctx context.Context, env *Env) error {
	if env.State.Measuring {
		return s.Run(ctx, env)
	}
	c, err := s.In.connect()
	if err != nil {
		return err
	}
	s.register(env, c)
	return nil
}

// Run implements Step.
func (s LoadAgents) Run(ctx context.Context, env *Env) error {
	c, err := s.In.connect()
	if err != nil {
		return err
	}
	if err := s.checkTarget(ctx, env, c); err != nil {
		return err
	}
	s.register(env, c)
	run := env.Spec.RunID
	// Those that an interrupted process has left.
	if err := agentjob.Remove(ctx, c, run); err != nil {
		return err
	}
	cfg := agentjob.Config{RunID: run, Agents: s.Count, Image: s.Image, Rate: s.Rate}
	token, err := agentjob.Create(ctx, c, cfg)
	if err != nil {
		return err
	}
	if env.agents, err = agentjob.Wait(ctx, c, cfg, token, readyWithin); err != nil {
		return err
	}
	env.Run.Agents = nil
	nodes := map[string]int{}
	for _, a := range env.agents {
		env.Run.Agents = append(env.Run.Agents, record.Agent{Name: a.Name, Node: a.Node})
		nodes[a.Node]++
		env.Log.Debug("load agent", "pod", a.Name, "node", a.Node)
	}
	if len(nodes) < len(env.agents) {
		env.find(record.Finding{
			ID: "agents-share-nodes", Severity: record.SeverityWarn, Object: "cluster/agents",
			Cause:  fmt.Sprintf("%s run on %s: they share its CPU and its way to the target", english.Count(len(env.agents), "load agent"), english.Count(len(nodes), "node")),
			Remedy: "use fewer agents, or a cluster with as many nodes that have room",
		})
	}
	return nil
}

// register puts the agents on the stack of what is to be undone.
func (s LoadAgents) register(env *Env, c *agentjob.Cluster) {
	run := env.Spec.RunID
	env.stopAgents = env.Cleanup.Add(cleanup.Entry{
		What: "load agents in " + c.String(), How: c.DeleteCommand(run),
		Undo: func(ctx context.Context) error { return agentjob.Remove(ctx, c, run) },
	})
}

// checkTarget refuses the cluster under test, unless it was asked for: there the
// upgrade drains and slows the very pods that measure it.
func (s LoadAgents) checkTarget(ctx context.Context, env *Env, c *agentjob.Cluster) error {
	theirs, err := agentjob.ID(ctx, c.Client)
	if err != nil {
		return fmt.Errorf("the cluster for the load agents, %s: %w", c, err)
	}
	target, err := agentjob.ID(ctx, env.client())
	if err != nil {
		return fmt.Errorf("the cluster under test: %w", err)
	}
	switch {
	case theirs != target:
	case !s.InTarget:
		return fmt.Errorf("load.agentsKubeconfig names the cluster under test: its upgrade would drain the agents and take their CPU, and what they measure would say little; name another cluster, or say load.agentsInTarget: true")
	default:
		env.find(record.Finding{
			ID: record.FindingAgentsInTarget, Severity: record.SeverityWarn, Object: "cluster/agents",
			Cause:  "the load is sent from the cluster under test: its upgrade takes CPU from the agents, and may drain them, which ends the measurement without a verdict",
			Remedy: "name another cluster in load.agentsKubeconfig",
		})
	}
	return nil
}

// startFleet starts the load by agents.
func (s StartLoad) startFleet(ctx context.Context, env *Env, lanes []load.Lane, phase string) (sender, error) {
	f, err := fleet.Ready(ctx, fleet.Config{
		Agents: env.agents, Lanes: lanes, Twin: s.Twin, Log: env.Log, Timeline: env.Timeline, Open: load.ToDir(env.Dir), Observer: env.Observer.Load,
		OpenPart: func(l record.Lane, k int) (load.LaneSink, error) { return env.Dir.Part(l, k) },
	}, servedWithin)
	if err != nil {
		return nil, err
	}
	running, err := f.Start(context.WithoutCancel(ctx), phase)
	if err != nil {
		return nil, err
	}
	return running, nil
}

// sender is load that is being sent, from here or by agents.
type sender interface {
	Phase(name string)
	Stop() error
}

var (
	_ sender = (*load.Running)(nil)
	_ sender = (*fleet.Running)(nil)
)
