package scenarios

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// deriveAgents fills in what follows from the rest of the scenario.
func (s *Scenario) deriveAgents() {
	a := &s.Load
	if a.Agents == 0 {
		return
	}
	if a.AgentImage == "" {
		a.AgentImage = s.Canary.Image
	}
	if a.AgentsInTarget && a.AgentsKubeconfig == "" {
		a.AgentsKubeconfig = s.Cluster.Kubeconfig
		if a.AgentsContext == "" {
			a.AgentsContext = s.Cluster.Context
		}
	}
}

// validateAgents checks who sends the load, and that they can reach the canary.
func (s *Scenario) validateAgents(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	a := &s.Load
	if a.Agents == 0 {
		given := func(name string, is bool, value any) {
			if is {
				errs = append(errs, field.Invalid(p.Child(name), value, "only with load.agents: without agents the load is sent from here"))
			}
		}
		given("agentsKubeconfig", a.AgentsKubeconfig != "", a.AgentsKubeconfig)
		given("agentsContext", a.AgentsContext != "", a.AgentsContext)
		given("agentImage", a.AgentImage != "", a.AgentImage)
		given("agentsInTarget", a.AgentsInTarget, a.AgentsInTarget)
		return errs
	}
	errs = append(errs, within(p.Child("agents"), a.Agents, 0, MaxAgents)...)
	if s.Cluster.Driver == DriverSim || s.Cluster.Driver == DriverKind {
		errs = append(errs, field.Invalid(p.Child("agents"), a.Agents, fmt.Sprintf("with the driver %s the canary listens on this machine's loopback, which pods do not reach: leave it out, or use another driver: %s", s.Cluster.Driver, list([]string{DriverKops, DriverEKS, DriverExisting}))))
		return errs
	}
	if a.AgentsKubeconfig == "" {
		errs = append(errs, field.Required(p.Child("agentsKubeconfig"), "the file that names the cluster in which the agents run: nothing is guessed from the environment"))
	}
	if a.AgentImage == "" {
		errs = append(errs, field.Required(p.Child("agentImage"), "an image of cmd/canary that the nodes of the agents' cluster can pull"))
	}
	if s.Load.Rate < float64(a.Agents) {
		errs = append(errs, field.Invalid(p.Child("agents"), a.Agents, fmt.Sprintf("with load.rate %v each would send less than one request a second: at most %d", s.Load.Rate, int(s.Load.Rate))))
	}
	if slices.Contains(s.Load.Lanes, LaneStream) && a.Agents > StreamRate {
		errs = append(errs, field.Invalid(p.Child("agents"), a.Agents, fmt.Sprintf("the lane %s has %d lines a second: at most %d agents", LaneStream, StreamRate, StreamRate)))
	}
	return errs
}
