package scenarios

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAgentsAreRead(t *testing.T) {
	f, err := Parse("f", []byte(`apiVersion: rehearse/v1alpha1
scenarios:
- name: elsewhere
  cluster: {driver: existing, kubeconfig: staging.kubeconfig, context: staging}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1"}
  load: {rate: 6000, agents: 3, agentsKubeconfig: load.kubeconfig, agentsContext: load}
  upgrade: {strategy: command, command: [x]}
- name: inside
  cluster: {driver: existing, kubeconfig: staging.kubeconfig, context: staging}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1"}
  load: {agents: 2, agentsInTarget: true, agentImage: "registry.example/canary:2"}
  upgrade: {strategy: command, command: [x]}
- name: here
  cluster: {driver: existing, kubeconfig: staging.kubeconfig}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1"}
  upgrade: {strategy: command, command: [x]}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := func(i int) []any {
		l := f.Scenarios[i].Load
		return []any{l.Agents, l.AgentsKubeconfig, l.AgentsContext, l.AgentImage, l.AgentsInTarget}
	}
	for i, want := range [][]any{
		{3, "load.kubeconfig", "load", "registry.example/canary:1", false},
		{2, "staging.kubeconfig", "staging", "registry.example/canary:2", true},
		{0, "", "", "", false},
	} {
		if diff := cmp.Diff(want, got(i)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.Scenarios[i].Name, diff)
		}
	}
	// A scenario without agents has the digest that it had before there were any.
	b, err := f.Scenarios[2].Resolved()
	if err != nil || strings.Contains(string(b), "gent") {
		t.Errorf("%s, %v", b, err)
	}
}

func TestAgentsNameEveryMistake(t *testing.T) {
	_, err := Parse("f", []byte(`apiVersion: rehearse/v1alpha1
scenarios:
- name: a
  cluster: {driver: kind}
  versions: {from: v1.34.4, to: v1.35.4}
  load: {agents: 3}
- name: b
  cluster: {driver: existing, kubeconfig: k}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: i}
  load: {agents: 60, rate: 20, lanes: [stream], agentsContext: c}
  upgrade: {strategy: command, command: [x]}
- name: c
  cluster: {driver: sim}
  versions: {from: v1.34.4, to: v1.35.4}
  load: {agentsKubeconfig: k, agentsContext: c, agentImage: i, agentsInTarget: true}
- name: d
  cluster: {driver: sim}
  versions: {from: v1.34.4, to: v1.35.4}
  load: {agentsKubeconfigs: k}
`))
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		`scenarios[3].load.agentsKubeconfigs: unknown key; accepted: rate, lanes, timeout, warmup, baseline, settle, agents, agentsKubeconfig, agentsContext, agentImage, agentsInTarget`,
		`scenarios[0].load.agents: 3 is not accepted: with the driver kind the canary listens on this machine's loopback, which pods do not reach: leave it out, or use another driver: kops, eks, existing`,
		`scenarios[1].load.agents: 60 is not accepted: 0 to 50`,
		`scenarios[1].load.agentsKubeconfig: missing: the file that names the cluster in which the agents run: nothing is guessed from the environment`,
		`scenarios[1].load.agents: 60 is not accepted: with load.rate 20 each would send less than one request a second: at most 20`,
		`scenarios[1].load.agents: 60 is not accepted: the lane stream has 10 lines a second: at most 10 agents`,
		`scenarios[2].load.agentsKubeconfig: "k" is not accepted: only with load.agents: without agents the load is sent from here`,
		`scenarios[2].load.agentsContext: "c" is not accepted: only with load.agents: without agents the load is sent from here`,
		`scenarios[2].load.agentImage: "i" is not accepted: only with load.agents: without agents the load is sent from here`,
		`scenarios[2].load.agentsInTarget: true is not accepted: only with load.agents: without agents the load is sent from here`,
	}, invalid.Errs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
