package scenarios

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExistingIsRead(t *testing.T) {
	f, err := Parse("f", []byte(`apiVersion: rehearse/v1alpha1
scenarios:
- name: gke
  cluster: {driver: existing, kubeconfig: staging.kubeconfig, context: staging}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: "registry.example/canary:1", serviceAnnotations: {a: b}}
  upgrade: {strategy: command, command: [./upgrade.sh, staging]}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Scenarios[0]
	if s.Cluster.Kubeconfig != "staging.kubeconfig" || s.Cluster.Context != "staging" || s.Upgrade.CommandTimeout.Duration != 4*time.Hour ||
		!cmp.Equal(s.Upgrade.Command, []string{"./upgrade.sh", "staging"}) || !cmp.Equal(s.Checks.SystemComponents, []string{"coredns", "kube-proxy"}) {
		t.Errorf("%+v", s)
	}
	b, err := s.Resolved()
	if err != nil {
		t.Fatal(err)
	}
	back, err := FromResolved(b)
	if err != nil || back.Upgrade.CommandTimeout.Duration != 4*time.Hour {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestExistingNamesEveryMistake(t *testing.T) {
	_, err := Parse("f", []byte(`apiVersion: rehearse/v1alpha1
scenarios:
- name: a
  cluster: {driver: existing}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {url: "ftp://x"}
  workloads: [{name: x, replicas: 1}]
- name: b
  cluster: {driver: kind, kubeconfig: k, context: c}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: i, url: u, serviceAnnotations: {a: b}}
  upgrade: {command: [x], commandTimeout: 1h}
- name: c
  cluster: {driver: sim}
  versions: {from: v1.34.4, to: v1.35.4}
  upgrade: {strategy: command}
- name: d
  cluster: {driver: existing, kubeconfig: k}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: i, url: "http://x:80", serviceAnnotations: {a: b}}
  upgrade: {strategy: command, commandTimeout: 0s}
- name: e
  cluster: {driver: existing, kubeconfig: k}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: i}
  upgrade: {strategy: command, command: [x], maxUnavailable: 2, maxSurge: 1, extraWorkers: 1, interval: auto, forecastNodes: 40, rollback: {onFailure: true}}
`))
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("error %v", err)
	}
	want := []string{
		`scenarios[0].cluster.kubeconfig: missing: the file that names the cluster: nothing is guessed from the environment`,
		`scenarios[0].canary.image: missing: an image of cmd/canary that the cluster's nodes can pull`,
		`scenarios[0].canary.url: "ftp://x" is not accepted: http://HOST or http://HOST:PORT`,
		`scenarios[0].upgrade.strategy: "in-place" is not accepted: an existing cluster is upgraded by a command of yours: command`,
		`scenarios[0].workloads: 1 is not accepted: an existing cluster has its own: only rehearse's own namespace is touched there`,
		`scenarios[1].cluster.kubeconfig: "k" is not accepted: only for the driver existing`,
		`scenarios[1].cluster.context: "c" is not accepted: only for the driver existing`,
		`scenarios[1].canary.image: "i" is not accepted: only for the drivers kops, eks, existing`,
		`scenarios[1].canary.url: "u" is not accepted: only for the driver existing`,
		`scenarios[1].canary.serviceAnnotations: "a mapping" is not accepted: only for the drivers kops, eks, existing`,
		`scenarios[1].upgrade.command: "x" is not accepted: only for the strategy command`,
		`scenarios[1].upgrade.commandTimeout: "1h0m0s" is not accepted: only for the strategy command`,
		`scenarios[2].upgrade.strategy: "command" is not accepted: only for the driver existing`,
		`scenarios[3].canary.serviceAnnotations: "a mapping" is not accepted: they are for a Service of type LoadBalancer, and url says that there is another way in`,
		`scenarios[3].upgrade.command: missing: the program that upgrades the cluster, and its arguments`,
		`scenarios[3].upgrade.commandTimeout: "0s" is not accepted: 1s to 168h0m0s`,
		`scenarios[4].upgrade.maxUnavailable: 2 is not accepted: the strategy command leaves the nodes to your command: leave it out, and set it in your own tool`,
		`scenarios[4].upgrade.maxSurge: 1 is not accepted: the strategy command leaves the nodes to your command: leave it out, and set it in your own tool`,
		`scenarios[4].upgrade.extraWorkers: 1 is not accepted: the strategy command leaves the nodes to your command: leave it out, and set it in your own tool`,
		`scenarios[4].upgrade.interval: "auto" is not accepted: a search upgrades again and again, and a cluster that is there already is not made anew: leave it out, and set the interval in your own tool`,
		`scenarios[4].upgrade.forecastNodes: 40 is not accepted: how long each node takes is your command's: leave it out`,
		`scenarios[4].upgrade.rollback: rehearse cannot turn a command of yours round: leave it out, or rehearse the way back with a strategy of rehearse's own, in-place, replace, pool-migration`,
	}
	if diff := cmp.Diff(want, invalid.Errs); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}
