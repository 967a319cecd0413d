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

// register puts a run's agents on the stack of what is to be undone, once.
func (c AgentsCluster) register(env *Env) {
	if env.stopAgents != nil {
		return
	}
	run := env.Spec.RunID
	env.stopAgents = env.Cleanup.Add(cleanup.Entry{
		What: "load agents in " + c.String(),
		How:  (&agentjob.Cluster{Kubeconfig: c.Kubeconfig, Context: c.Context}).DeleteCommand(run),
		Undo: func(ctx context.Context) error {
			there, err := c.connect()
			if err != nil {
				return err
			}
			return agentjob.Remove(ctx, there, run)
		},
	})
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

// Restore implements Restorer: agents that the interrupted process has left are
// removed however the run goes on, and named where it cannot. Where their cluster
// does not answer they may be there.
func (s CheckAgents) Restore(ctx context.Context, env *Env) error {
	c, err := s.In.connect()
	if err == nil {
		var left bool
		if left, err = agentjob.Left(ctx, c, env.Spec.RunID); err == nil && !left {
			return nil
		}
	}
	if err != nil {
		env.Log.Warn("whether load agents of the interrupted process are left could not be told", "cluster", s.In.String(), "error", err)
	}
	s.In.register(env)
	return nil
}

// LoadAgents runs the pods that will send the load, until StopLoad.
type LoadAgents struct {
	In       AgentsCluster
	Count    int
	Image    string
	Rate     float64 // requests a second of all lanes together
	InTarget bool    // they may run in the cluster under test
}

const (
	// readyWithin is how long the agents' pods may take to run: their image has to be
	// pulled.
	readyWithin = 5 * time.Minute
	// goneWithin is how long those of an interrupted process may take to go.
	goneWithin = 3 * time.Minute
)

// Describe implements Step.
func (s LoadAgents) Describe() string {
	return fmt.Sprintf("Start %s in %s", english.Count(s.Count, "load agent"), s.In)
}

// Restore implements Restorer. Agents cannot be gone on with: what they were about
// to tell, and to which of it the record reaches, only the process knew that asked
// them. So the old ones are removed, and where the load goes on new ones are made.
func (s LoadAgents) Restore(ctx context.Context, env *Env) error {
	if env.State.Measuring {
		return s.Run(ctx, env)
	}
	s.In.register(env)
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
	s.In.register(env)
	run := env.Spec.RunID
	if err := removeOld(ctx, env, c); err != nil {
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
	// Those of an interrupted process that have sent something stay in the record.
	sent, err := env.Dir.Parts()
	if err != nil {
		return fmt.Errorf("load agents of the record: %w", err)
	}
	env.Run.Agents = env.Run.Agents[:min(sent, len(env.Run.Agents)):min(sent, len(env.Run.Agents))]
	env.agentsFrom = len(env.Run.Agents)
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

// removeOld removes the agents that an interrupted process has left.
func removeOld(ctx context.Context, env *Env, c *agentjob.Cluster) error {
	run := env.Spec.RunID
	left, err := agentjob.Left(ctx, c, run)
	if err != nil || !left {
		return err
	}
	env.Log.Info("removing the load agents of the interrupted process", "cluster", c.String(), "namespace", agentjob.Namespace(run))
	ctx, cancel := context.WithTimeoutCause(ctx, goneWithin, fmt.Errorf("%s are over", goneWithin))
	defer cancel()
	return agentjob.Remove(ctx, c, run)
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

// startFleet starts the load by agents. It returns when they know when to begin,
// and that instant.
func (s StartLoad) startFleet(ctx context.Context, env *Env, lanes []load.Lane, phase string) (sender, time.Duration, error) {
	f, err := fleet.Ready(ctx, fleet.Config{
		Agents: env.agents, Lanes: lanes, Twin: s.Twin, Log: env.Log, Timeline: env.Timeline, Open: load.ToDir(env.Dir), Observer: env.Observer.Load,
		OpenPart: func(l record.Lane, k int) (load.LaneSink, error) { return env.Dir.Part(l, env.agentsFrom+k) },
	}, servedWithin)
	if err != nil {
		return nil, 0, err
	}
	running, err := f.Start(context.WithoutCancel(ctx), phase)
	if err != nil {
		return nil, 0, err
	}
	return running, running.Begins(), nil
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
