package scenarios

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mirrored = `apiVersion: rehearse/v1alpha1
scenarios:
- name: mirrored
  versions: {from: v1.34.4, to: v1.35.4}
`

func TestWorkloadsAndMirrorAreRead(t *testing.T) {
	f, err := Parse("f", []byte(mirrored+`  workloads:
  - {name: api, replicas: 4, podDisruptionBudget: {minAvailable: 3}, requests: {cpu: 250m, memory: 64Mi}}
  - {namespace: shop, name: api, replicas: 1}
  mirror:
    facts: sha256:`+strings.Repeat("ab", 32)+`
    fidelity: 0.62
    uncovered: [real zones]
`))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Scenarios[0]
	want := []Workload{
		{Name: "api", Replicas: 4, PodDisruptionBudget: &Budget{MinAvailable: new(3)}, Requests: &Requests{CPU: "250m", Memory: "64Mi"}},
		{Namespace: "shop", Name: "api", Replicas: 1},
	}
	if diff := cmp.Diff(want, s.Workloads); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
	if s.Mirror == nil || s.Mirror.Fidelity != 0.62 || len(s.Mirror.Uncovered) != 1 {
		t.Errorf("mirror %+v", s.Mirror)
	}
}

func TestWorkloadsNameEveryMistake(t *testing.T) {
	_, err := Parse("f", []byte(mirrored+`  workloads:
  - {name: Api, replicas: 0}
  - {name: web, replicas: 1, podDisruptionBudget: {}, requests: {cpu: lots, memory: "-1"}}
  - {name: web, replicas: 1, namespace: kube-system}
  - {name: web, replicas: 1, size: 3}
  mirror: {facts: none, fidelity: 2, uncovered: [" "]}
`))
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("error %v", err)
	}
	want := []string{
		`scenarios[0].workloads[3].size: unknown key; accepted: namespace, name, replicas, podDisruptionBudget, requests`,
		`scenarios[0].workloads[0].name: "Api" is not accepted: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit`,
		`scenarios[0].workloads[0].replicas: 0 is not accepted: 1 to 1000`,
		`scenarios[0].workloads[1].podDisruptionBudget: give exactly one of maxUnavailable and minAvailable`,
		`scenarios[0].workloads[1].requests.cpu: "lots" is not accepted: an amount above zero such as 250m`,
		`scenarios[0].workloads[1].requests.memory: "-1" is not accepted: an amount above zero such as 64Mi`,
		`scenarios[0].workloads[2].namespace: "kube-system" is not accepted: the cluster or rehearse uses this namespace: name another`,
		`scenarios[0].workloads[3].name: "rehearse-workloads/web" stands there twice`,
		`scenarios[0].mirror.facts: "none" is not accepted: the digest that rehearse mirror wrote: "sha256:" and 64 hexadecimal digits`,
		`scenarios[0].mirror.fidelity: 2 is not accepted: a share from 0 to 1`,
		`scenarios[0].mirror.uncovered[0]: " " is not accepted: a sentence`,
	}
	if diff := cmp.Diff(want, invalid.Errs); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}
