package harness_test

import (
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/env"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/drivers"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// A rehearsal is a test like others: this is the body of TestUpgrade. The whole,
// with its TestMain, is in examples/library.
func ExampleFeature() {
	testUpgrade := func(t *testing.T) {
		file, err := scenarios.LoadFile("scenarios.yaml")
		if err != nil {
			t.Fatal(err)
		}
		scenario := &file.Scenarios[0]
		driver, err := drivers.Of(t.Context(), scenario)
		if err != nil {
			t.Fatal(err)
		}
		env.New().Test(t, harness.Feature(scenario, harness.FeatureOptions{
			Options: harness.Options{Driver: driver, Out: t.ArtifactDir(), Report: reports.Write},
		}))
	}
	_ = testUpgrade
}
