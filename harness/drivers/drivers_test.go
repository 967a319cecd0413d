package drivers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/scenarios"
)

func load(t *testing.T, fields string) *scenarios.Scenario {
	t.Helper()
	f, err := scenarios.Parse("test.yaml", []byte("apiVersion: rehearse/v1alpha1\nscenarios:\n- {name: x, versions: {from: v1.34.4, to: v1.35.4}, "+fields+"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &f.Scenarios[0]
}

// TestOf makes the driver of a scenario of each name that the file accepts.
func TestOf(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_REGION", "eu-central-1")
	all := map[string]*scenarios.Scenario{
		"*sim.Driver":      load(t, "cluster: {driver: sim}"),
		"*kind.Driver":     load(t, "cluster: {driver: kind}"),
		"*kops.Driver":     load(t, "cluster: {driver: kops, network: default, kops: {stateStore: s3://x, name: x.k8s.local, zones: [eu-central-1a]}}, canary: {image: registry.example/canary}"),
		"*existing.Driver": load(t, "cluster: {driver: existing, kubeconfig: /dev/null}, canary: {image: registry.example/canary}, upgrade: {strategy: command, command: [./upgrade]}"),
		"*eks.Driver":      load(t, "cluster: {driver: eks, network: default, eks: {existing: x}}, canary: {image: registry.example/canary}"),
	}
	var seen []string
	for want, s := range all {
		d, err := Of(t.Context(), s)
		if got := fmt.Sprintf("%T", d); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", s.Cluster.Driver, got, err, want)
		}
		seen = append(seen, s.Cluster.Driver)
	}
	for _, name := range scenarios.Drivers {
		if !slices.Contains(seen, name) {
			t.Errorf("no case for %s", name)
		}
	}
}

func TestOfRefuses(t *testing.T) {
	commanded := load(t, "cluster: {driver: existing, kubeconfig: x}, canary: {image: registry.example/canary}, upgrade: {strategy: command, command: [./upgrade]}")
	for driver, want := range map[string]string{
		"docker": `"docker" is unknown; accepted: sim, kind, kops, eks, existing`,
		"kind":   `"kind" cannot carry out the strategy command of scenario x, which is for the driver existing: `,
	} {
		s := *commanded
		s.Cluster.Driver = driver
		if _, err := Of(t.Context(), &s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", driver, err, want)
		}
	}
	for driver, want := range map[string]string{
		"kops":     "the driver kops needs cluster.kops, and scenario x has none: ",
		"eks":      "the driver eks needs cluster.eks, and scenario x has none: ",
		"existing": "the driver existing needs cluster.kubeconfig: ",
	} {
		s := *load(t, "cluster: {driver: sim}")
		s.Cluster.Driver = driver
		if _, err := Of(t.Context(), &s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", driver, err, want)
		}
	}
}
