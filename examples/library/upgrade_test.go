// Package library shows a rehearsal in a team's own Go tests, beside others of
// sigs.k8s.io/e2e-framework: copy upgrade_test.go and a scenario file.
package library

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/drivers"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

var suite env.Environment

// TestMain lets Ctrl-C and SIGTERM end the environment's context, and with it the
// rehearsal: what it created is removed. Without this they end the process.
func TestMain(m *testing.M) {
	cfg, err := envconf.NewFromFlags() // --labels, --feature, --assess, ...
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if suite, err = env.NewWithContext(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code := suite.Run(m)
	stop()
	os.Exit(code)
}

func TestUpgrade(t *testing.T) {
	file, err := scenarios.LoadFile("scenarios.yaml")
	if err != nil {
		t.Fatal(err)
	}
	scenario, err := file.Pick("shop")
	if err != nil {
		t.Fatal(err)
	}
	driver, err := drivers.Of(t.Context(), scenario)
	if err != nil {
		t.Fatal(err)
	}
	suite.Test(t, harness.Feature(scenario, harness.FeatureOptions{
		Options: harness.Options{
			Driver: driver,
			Out:    t.ArtifactDir(), // kept with go test -artifacts -outputdir DIR
			Report: reports.Write,
		},
		Labels: map[string][]string{"kind": {"upgrade"}},
		// A build machine that is busy with other tests measures itself.
		SkipInconclusive: true,
	}))
}
