package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/watch"
	"github.com/kube-rehearse/rehearse/scenarios"
)

type recordFlags struct {
	target, out, kubeconfig, control string
	lanes, namespaces                []string
	rate                             float64
	duration, warmup, timeout        time.Duration
	canary                           bool
	requests                         uint64
	concurrency                      int
}

func newRecord(s Streams) *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Record load on any target, whatever drives its upgrade",
		Long: `record sends open-loop load to a target that exists, and writes a record that
'rehearse compare' judges: one before the upgrade, one across it. It ends after
its duration or at the first interrupt, with a complete record either way.

With --requests it repeats the closed loop of 'ab -n REQUESTS -c CONCURRENCY -l'
instead and prints its figures as JSON; that makes no record.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.requests > 0 {
				return f.closedLoop(cmd.Context(), s.Out)
			}
			o, err := f.options()
			if err != nil {
				return err
			}
			defer raisePriority()()
			if err := harness.Measure(cmd.Context(), o); err != nil {
				return failed(err)
			}
			fmt.Fprintf(s.Out, "%s\n", f.out)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.target, "target", "", "URL to send requests to (required)")
	fl.StringVar(&f.out, "out", "", "run directory to make (required)")
	fl.StringVar(&f.control, "control", "", "URL of a twin of the target that the upgrade does not touch; gets a control lane")
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster under upgrade, whose timeline is recorded too")
	fl.StringSliceVar(&f.namespaces, "namespace", nil, "namespaces whose pods and endpoints are followed, with --kubeconfig")
	fl.StringSliceVar(&f.lanes, "lanes", []string{scenarios.LaneNew, scenarios.LaneReused}, "lanes to send")
	fl.Float64Var(&f.rate, "rate", load.DefaultRate, "requests a second on each lane")
	fl.DurationVar(&f.duration, "duration", 0, "how long to measure (required)")
	fl.DurationVar(&f.warmup, "warmup", 10*time.Second, "how long to send before what is sent counts")
	fl.DurationVar(&f.timeout, "timeout", load.DefaultTimeout, "of each request")
	fl.Uint64Var(&f.requests, "requests", 0, "send this many requests in a closed loop on each lane, as ab does, instead of recording")
	fl.IntVar(&f.concurrency, "concurrency", 10, "requests at a time, with --requests")
	fl.BoolVar(&f.canary, "canary", false, "the target is rehearse's canary: verify the checksum of each answer")
	return cmd
}

// options checks the flags and says everything that is wrong with them at once.
func (f *recordFlags) options() (harness.MeasureOptions, error) {
	if err := required(requiredFlag{"--target", f.target == ""}, requiredFlag{"--out", f.out == ""}, requiredFlag{"--duration", f.duration <= 0}); err != nil {
		return harness.MeasureOptions{}, err
	}
	lanes := f.laneList()
	var errs []error
	for _, l := range lanes {
		if err := l.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return harness.MeasureOptions{}, usage(err)
	}
	run, err := f.run()
	if err != nil {
		return harness.MeasureOptions{}, failed(err)
	}
	o := harness.MeasureOptions{Dir: f.out, Run: run, Lanes: lanes, Warmup: f.warmup, Duration: f.duration, Log: slog.Default()}
	if f.kubeconfig != "" {
		if o.Client, err = clientOf(f.kubeconfig); err != nil {
			return o, failed(err)
		}
		o.Watch = watch.Options{PodNamespaces: append(f.namespaces, watch.SystemNamespaces...), EndpointNamespaces: f.namespaces}
	}
	return o, nil
}

func (f *recordFlags) laneList() []load.Lane {
	lane := func(name, target string) load.Lane {
		return load.Lane{Name: name, Kind: load.Kind(name), Target: target, Rate: f.rate, Timeout: f.timeout, Canary: f.canary}
	}
	var lanes []load.Lane
	for _, name := range f.lanes {
		lanes = append(lanes, lane(name, f.target))
	}
	if f.control != "" {
		control := lane(scenarios.LaneControl, f.control)
		control.Kind, control.Control = load.New, true
		lanes = append(lanes, control)
	}
	return lanes
}

// run describes the measurement as a scenario, so that the record carries the
// thresholds by which report would judge it.
func (f *recordFlags) run() (record.Run, error) {
	sc := scenarios.Default()
	sc.Name = filepath.Base(filepath.Clean(f.out))
	sc.Load.Rate, sc.Load.Lanes = f.rate, f.lanes
	sc.Load.Timeout, sc.Load.Warmup, sc.Load.Baseline = scenarios.D(f.timeout), scenarios.D(f.warmup), scenarios.D(f.duration)
	resolved, err := sc.Resolved()
	if err != nil {
		return record.Run{}, err
	}
	id, err := record.NewID()
	if err != nil {
		return record.Run{}, err
	}
	return record.Run{
		ID: id, Name: sc.Name, Tool: toolVersion(), Command: commandLine(), Scenario: resolved, Host: harness.ThisHost(),
	}, nil
}

// clientOf reads a kubeconfig file and asks its cluster once, so that a wrong
// one is told before anything is measured.
func clientOf(path string) (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: %w", path, err)
	}
	cfg.QPS = -1 // after an outage everything that watches asks again at once
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: %w", path, err)
	}
	if _, err := client.Discovery().ServerVersion(); err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: the cluster does not answer: %w", path, err)
	}
	return client, nil
}
