package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/monthly"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/releases"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes/preflight"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// production returns what says production's version: the flag, or the cluster.
func (f *monthlyFlags) production() (func(context.Context) (monthly.Production, error), error) {
	if f.from != "" {
		return func(context.Context) (monthly.Production, error) {
			return monthly.Production{Version: cluster.Version(f.from)}, nil
		}, nil
	}
	src, err := sourceOf(f.kubeconfig, f.context)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (monthly.Production, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, lookAtMost, fmt.Errorf("no whole answer within %s", lookAtMost))
		defer cancel()
		p, err := lookAt(ctx, src)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return p, fmt.Errorf("--kubeconfig %s: %w; reading the version and listing nodes must be possible from here", f.kubeconfig, err)
		}
		return p, nil
	}, nil
}

// lookAtMost bounds one look at production.
const lookAtMost = time.Minute

// lookAt reads the versions of the API server and of every node.
func lookAt(ctx context.Context, src preflight.Source) (monthly.Production, error) {
	var p monthly.Production
	var server struct {
		GitVersion string `json:"gitVersion"`
	}
	b, err := src.Raw(ctx, "/version")
	if err == nil {
		err = json.Unmarshal(b, &server)
	}
	if err != nil {
		return p, fmt.Errorf("read the API server's version: %w", err)
	}
	if p.Version, err = releases.Upstream(server.GitVersion); err != nil {
		return p, err
	}
	for list := (metav1.ListOptions{Limit: 500}); ; {
		nodes, err := src.Client.CoreV1().Nodes().List(ctx, list)
		if err != nil {
			return p, fmt.Errorf("list nodes: %w", err)
		}
		for i := range nodes.Items {
			n, err := nodeOf(&nodes.Items[i])
			if err != nil {
				return p, err
			}
			p.Nodes = append(p.Nodes, n)
		}
		if list.Continue = nodes.Continue; list.Continue == "" {
			return p, nil
		}
	}
}

func nodeOf(n *corev1.Node) (monthly.Node, error) {
	v, err := releases.Upstream(n.Status.NodeInfo.KubeletVersion)
	if err != nil {
		return monthly.Node{}, fmt.Errorf("node %s: %w", n.Name, err)
	}
	out := monthly.Node{Name: n.Name, Version: v, Cordoned: n.Spec.Unschedulable}
	for _, c := range n.Status.Conditions {
		out.Ready = out.Ready || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	}
	return out, nil
}

// trafficFlags are the traffic that measures production's own upgrade.
type trafficFlags struct {
	target, control  string
	rate             float64
	baseline, settle time.Duration
}

func (f *trafficFlags) bind(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.target, "target", "", "URL in production to send requests to before and across --then")
	fl.StringVar(&f.control, "control", "", "URL of a twin of --target that the upgrade does not touch; gets a control lane")
	fl.Float64Var(&f.rate, "rate", 50, "requests a second on each lane, with --target")
	fl.DurationVar(&f.baseline, "baseline", 5*time.Minute, "how long to record before --then, with --target")
	fl.DurationVar(&f.settle, "settle", time.Minute, "how long to record after it, with --target")
}

// open returns the traffic, which makes its run directories in out.
func (f *trafficFlags) open(out, kubeconfig string) monthly.Traffic {
	at := time.Now().UTC().Format("20060102T150405Z")
	return &traffic{flags: f, kubeconfig: kubeconfig,
		before: filepath.Join(out, "traffic-before-"+at), during: filepath.Join(out, "traffic-upgrade-"+at)}
}

type traffic struct {
	flags          *trafficFlags
	kubeconfig     string
	before, during string
}

// longest bounds the recording of production's upgrade.
const longest = 48 * time.Hour

func (t *traffic) options(dir string, d time.Duration) (harness.MeasureOptions, error) {
	r := recordFlags{
		target: t.flags.target, control: t.flags.control, out: dir, kubeconfig: t.kubeconfig, rate: t.flags.rate,
		lanes: []string{scenarios.LaneNew, scenarios.LaneReused}, duration: d, warmup: 10 * time.Second, timeout: load.DefaultTimeout,
	}
	return r.options()
}

// Before implements monthly.Traffic.
func (t *traffic) Before(ctx context.Context) error {
	o, err := t.options(t.before, t.flags.baseline)
	if err != nil {
		return err
	}
	return harness.Measure(ctx, o)
}

// During implements monthly.Traffic.
func (t *traffic) During(ctx context.Context) (func() error, error) {
	o, err := t.options(t.during, longest)
	if err != nil {
		return func() error { return nil }, err
	}
	recording, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- harness.Measure(recording, o) }()
	stop := func() error { cancel(); return <-done }
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			cancel()
			return func() error { return nil }, errors.Join(errors.New("the recording ended before production's upgrade began"), err)
		case <-ctx.Done():
			return stop, context.Cause(ctx)
		case <-tick.C:
			if warm(t.during) {
				return stop, nil
			}
		}
	}
}

// warm tells whether what is recorded in dir counts by now.
func warm(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "timeline.ndjson"))
	return err == nil && bytes.Contains(b, []byte(`"phase/`+timeline.PhaseMeasured+`"`))
}

// Compare implements monthly.Traffic.
func (t *traffic) Compare(context.Context) (*monthly.Measured, error) {
	base, err := record.Load(t.before)
	if err != nil {
		return nil, err
	}
	up, err := record.Load(t.during)
	if err != nil {
		return nil, err
	}
	criteria, err := compareCriteria(up, "")
	if err != nil {
		return nil, err
	}
	v, err := judge.Compare(base, up, criteria)
	if err != nil {
		return nil, err
	}
	return &monthly.Measured{Verdict: v.Outcome, Summary: v.Summary, Baseline: t.before, Upgrade: t.during}, nil
}
