package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/forecast"
	"github.com/kube-rehearse/rehearse/probes/preflight"
	"github.com/kube-rehearse/rehearse/reports/findings"
	"github.com/kube-rehearse/rehearse/scenarios"
)

type preflightFlags struct {
	kubeconfig, context, snapshot, to, save, output string
	scenario                                        scenarioFlags
	timeout                                         time.Duration
	checkPod, checkNamespace                        string
	forecast                                        bool
	roll                                            forecast.Options
}

func newPreflight(s Streams) *cobra.Command {
	var f preflightFlags
	cmd := &cobra.Command{
		Use:   "preflight",
		Short: "Find what would stop or spoil an upgrade; change nothing",
		Long: `preflight looks at a cluster (--kubeconfig) or at a snapshot of one
(--snapshot) for what is known to stop or spoil an upgrade to the version
--to, and names object, cause and remedy of each. With -f it checks a scenario
and this machine.

It only reads, but for --check-pod. A resource that it may not read costs the
checks that need it; they are listed as not checked.

Exit codes: 0 nothing blocks, 1 something does, 3 it could not look, 64 wrong
use.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := f.report(cmd)
			if err != nil {
				return err
			}
			if err := findings.Render(s.Out, f.output, report); err != nil {
				return failed(fmt.Errorf("write the result: %w", err))
			}
			if report.Blocked {
				return &exitError{code: ExitNoGo}
			}
			return nil
		},
	}
	f.bind(cmd)
	return cmd
}

func (f *preflightFlags) bind(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster to look at")
	fl.StringVar(&f.context, "context", "", "context of the kubeconfig (default: its current one)")
	fl.StringVar(&f.snapshot, "snapshot", "", "look at a snapshot that --save wrote instead of a cluster")
	fl.StringVar(&f.to, "to", "", "version that the upgrade goes to, such as v1.35.4 (required but with -f)")
	fl.StringVar(&f.save, "save", "", "write what was looked at to this file, compressed if it ends in .gz")
	fl.StringVarP(&f.output, "output", "o", "text", strings.Join(findings.Formats, ", "))
	fl.StringVar(&f.checkPod, "check-pod", "", "image with a shell and chroot, such as busybox:1.37: run it as a privileged pod on each node for a moment, to look at the machines")
	fl.StringVar(&f.checkNamespace, "check-namespace", "kube-system", "namespace of the check pods")
	fl.BoolVar(&f.forecast, "forecast", true, "foretell where the drains of the upgrade will stop")
	fl.StringVar(&f.roll.Strategy, "strategy", scenarios.StrategyInPlace, "how the forecast rolls the workers: "+strings.Join(scenarios.Rolls, ", "))
	fl.IntVar(&f.roll.MaxSurge, "max-surge", 0, "workers that the forecast adds before it takes as many down (replace)")
	fl.IntVar(&f.roll.MaxUnavailable, "max-unavailable", 1, "workers that the forecast takes down together")
	fl.IntVar(&f.roll.ExtraWorkers, "extra-workers", 0, "workers that the forecast adds for the time of the roll")
	fl.BoolVar(&f.roll.Force, "force-drain", true, "the forecast's drains delete pods without a controller, as kops and kubectl drain --force do")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long looking at the cluster may take")
	f.scenario.bind(cmd)
	fl.Lookup("file").Usage = "check the scenario of this file and this machine instead of a cluster"
}

// report checks what the flags choose.
func (f *preflightFlags) report(cmd *cobra.Command) (*findings.Report, error) {
	if err := oneOf("-o", f.output, findings.Formats...); err != nil {
		return nil, err
	}
	file := cmd.Flags().Changed("file") || cmd.Flags().Changed("scenario")
	given := 0
	for _, is := range []bool{f.kubeconfig != "", f.snapshot != "", file} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, usage(errors.New("give one of --kubeconfig, --snapshot and -f: what shall be checked?"))
	}
	if err := oneOf("--strategy", f.roll.Strategy, scenarios.Rolls...); err != nil {
		return nil, err
	}
	if f.roll.MaxSurge < 0 || f.roll.MaxUnavailable < 0 || f.roll.ExtraWorkers < 0 {
		return nil, usage(errors.New("--max-surge, --max-unavailable and --extra-workers must not be negative"))
	}
	if f.checkPod != "" && f.kubeconfig == "" {
		return nil, usage(errors.New("--check-pod goes with --kubeconfig"))
	}
	if file {
		if f.to != "" || f.save != "" || f.context != "" {
			return nil, usage(errors.New("--to, --save and --context go with a cluster or a snapshot, not with -f"))
		}
		return f.ofScenario(cmd.Context())
	}
	if f.to == "" {
		return nil, usage(errors.New("--to is required: to which version shall the cluster be upgraded?"))
	}
	to, err := cluster.ParseVersion(f.to)
	if err != nil {
		return nil, usage(fmt.Errorf("--to: %w", err))
	}
	var state *preflight.State
	of := "snapshot " + f.snapshot
	if f.snapshot != "" {
		if f.context != "" {
			return nil, usage(errors.New("--context goes with --kubeconfig"))
		}
		state, err = readSnapshot(f.snapshot)
	} else {
		of = "cluster " + f.kubeconfig
		if f.context != "" {
			of += ", context " + f.context
		}
		state, err = f.observe(cmd.Context())
	}
	if err != nil {
		return nil, err
	}
	if f.save != "" {
		if err := saveSnapshot(f.save, state); err != nil {
			return nil, failed(err)
		}
	}
	state.Target = to.String()
	return f.examine(of, state), nil
}

// examine makes the checks of a state, and the forecast where it is asked for.
func (f *preflightFlags) examine(of string, s *preflight.State) *findings.Report {
	checks := checksOf(preflight.Examine(s))
	var told *findings.Forecast
	if f.forecast {
		check := findings.Check{Name: forecast.CheckName}
		if roll, err := forecast.Of(s, f.roll); err != nil {
			check.NotChecked = err.Error()
		} else {
			check.Findings = roll.Findings()
			told = &findings.Forecast{Lines: roll.Lines(), Data: roll}
		}
		checks = append(checks, check)
	}
	r := findings.New(of, s.Versions.Server, s.Target, s.Now, checks)
	r.Forecast = told
	return r
}

func checksOf(results []preflight.Result) []findings.Check {
	out := make([]findings.Check, 0, len(results))
	for _, r := range results {
		out = append(out, findings.Check{Name: r.Check, Findings: r.Findings, NotChecked: r.NotChecked})
	}
	return out
}

func (f *preflightFlags) observe(ctx context.Context) (*preflight.State, error) {
	src, err := sourceOf(f.kubeconfig, f.context)
	if err != nil {
		return nil, err
	}
	if f.checkPod != "" {
		src.CheckPod = &preflight.CheckPod{Image: f.checkPod, Namespace: f.checkNamespace, Timeout: time.Minute}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("not done after %s (--timeout)", f.timeout))
	defer cancel()
	state, err := preflight.Observe(ctx, src)
	if err != nil {
		return nil, failed(fmt.Errorf("--kubeconfig %s: %w", f.kubeconfig, err))
	}
	return state, nil
}

// sourceOf returns the clients of the cluster that a kubeconfig names. What is
// wrong with the file is wrong use.
func sourceOf(path, name string) (preflight.Source, error) {
	bad := func(err error) (preflight.Source, error) {
		return preflight.Source{}, usage(fmt.Errorf("--kubeconfig %s: %w", path, err))
	}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: path},
		&clientcmd.ConfigOverrides{CurrentContext: name, ClusterInfo: clientcmdapi.Cluster{}}).ClientConfig()
	if err != nil {
		return bad(err)
	}
	cfg.QPS, cfg.Burst = 20, 40
	src, err := clientsOf(cfg)
	if err != nil {
		return bad(err)
	}
	return src, nil
}

func clientsOf(cfg *rest.Config) (preflight.Source, error) {
	var src preflight.Source
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return src, err
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return src, err
	}
	meta, err := metadata.NewForConfig(cfg)
	if err != nil {
		return src, err
	}
	return preflight.Source{Client: client, Dynamic: dyn, Metadata: meta, Raw: func(ctx context.Context, path string) ([]byte, error) {
		return client.RESTClient().Get().AbsPath(path).DoRaw(ctx)
	}}, nil
}

func readSnapshot(path string) (*preflight.State, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, usage(fmt.Errorf("--snapshot: %w", err))
	}
	defer file.Close()
	state, err := preflight.ReadSnapshot(file)
	if err != nil {
		return nil, usage(fmt.Errorf("--snapshot %s: %w", path, err))
	}
	return state, nil
}

func saveSnapshot(path string, s *preflight.State) error {
	// A snapshot names every workload of a cluster: others need not read it.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	if err := errors.Join(preflight.WriteSnapshot(file, s, strings.HasSuffix(path, ".gz")), file.Close()); err != nil {
		return fmt.Errorf("--save %s: %w", path, err)
	}
	return nil
}

// ofScenario makes the plan of a scenario and lets its driver look at this
// machine; nothing is created.
func (f *preflightFlags) ofScenario(ctx context.Context) (*findings.Report, error) {
	p, d, err := f.scenario.plan(ctx)
	if err != nil {
		return nil, err
	}
	sc := p.Scenario
	machine := findings.Check{Name: "this machine can carry out the rehearsal"}
	looker, ok := d.(cluster.Preflighter)
	switch {
	case p.NothingToDo:
		machine.NotChecked = "from and to are the same version: there is nothing to do"
	case !ok:
		machine.NotChecked = "the driver " + sc.Cluster.Driver + " has no checks of the machine"
	default:
		machine.Findings, err = looker.Preflight(ctx, specOf(sc), cluster.Version(sc.Versions.To))
		if err != nil {
			return nil, failed(fmt.Errorf("check this machine: %w", err))
		}
	}
	checks := []findings.Check{{Name: "the scenario is valid and its driver can carry it out"}, machine}
	return findings.New(fmt.Sprintf("scenario %s on %s", sc.Name, sc.Cluster.Driver), sc.Versions.From, sc.Versions.To, time.Time{}, checks), nil
}

// specOf is the cluster that a scenario would create.
func specOf(s *scenarios.Scenario) cluster.Spec {
	return cluster.Spec{Name: s.Name, Version: cluster.Version(s.Versions.From), ControlPlanes: s.Cluster.ControlPlanes, Workers: s.Cluster.Workers, MostWorkers: harness.MostWorkers(s), Network: s.Cluster.Network}
}
