//go:build e2ekops

package e2ekops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops/output"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const (
	from = cluster.Version("v1.34.4")
	to   = cluster.Version("v1.35.4")
	name = "rehearsal.k8s.local"
)

var spec = cluster.Spec{RunID: "e2e0c5", Name: "rehearsal", Version: from, ControlPlanes: 3, Workers: 3, Network: "default"}

// options of the rolls. Machines boot within three seconds, so an interval of ten
// lets the first validation pass; kops waits 30 seconds before the next.
var rolling = cluster.RollOptions{
	ControlPlaneInterval: 10 * time.Second, NodeInterval: 10 * time.Second, DrainTimeout: 20 * time.Second, PostDrainDelay: 2 * time.Second,
	ValidationTimeout: 3 * time.Minute, Validations: 2,
}

// bed is the driver, with what its calls of kops printed and told.
type bed struct {
	t  *testing.T
	d  *kops.Driver
	mu sync.Mutex
	// rolls holds the lines of each rolling update, in the order in which they came.
	rolls  [][]string
	events []timeline.Event
}

// calls of kops by all tests, for the names of the files with their output.
var calls atomic.Int64

func newBed(t *testing.T, change func(*kops.Options)) *bed {
	b := &bed{t: t}
	o := kops.Options{
		Path: os.Getenv("E2EKOPS_KOPS"), StateStore: "s3://kops-state", Name: name, Zones: []string{"us-east-1a", "us-east-1b", "us-east-1c"},
		CanaryImage: "registry.example/canary:1", ControlPlaneSize: "t3.medium", NodeSize: "t3.medium", Run: b.run,
		Timeouts: kops.Timeouts{Update: 5 * time.Minute, Validate: 5 * time.Minute, Delete: 10 * time.Minute},
	}
	if change != nil {
		change(&o)
	}
	b.d = kops.New(o)
	return b
}

// run runs kops and keeps what it prints.
func (b *bed) run(ctx context.Context, c command.Cmd) error {
	label := fmt.Sprintf("%02d-%s", calls.Add(1), verb(c.Args))
	var all []string
	keep := func(stream string) (io.Writer, func()) {
		f, err := os.Create(filepath.Join(evidence, label+"."+stream))
		if err != nil {
			b.t.Error(err)
			return io.Discard, func() {}
		}
		l := &lineWriter{line: func(s string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			all = append(all, s)
		}}
		return io.MultiWriter(f, l), func() { l.close(); f.Close() }
	}
	stdout, closeOut := keep("stdout")
	stderr, closeErr := keep("stderr")
	c.Stdout, c.Stderr = io.MultiWriter(c.Stdout, stdout), io.MultiWriter(c.Stderr, stderr)
	begun := time.Now()
	err := command.Run(ctx, c)
	closeOut()
	closeErr()
	b.t.Logf("%s: %.0f s, %d lines, %v", label, time.Since(begun).Seconds(), len(all), short(err))
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.Contains(c.Args, "rolling-update") {
		b.rolls = append(b.rolls, all)
	}
	return err
}

func short(err error) string {
	if err == nil {
		return "ended with 0"
	}
	return strings.SplitN(err.Error(), "\n", 2)[0]
}

// verb names a call for its file.
func verb(args []string) string {
	s := args[1]
	for _, a := range args[2:] {
		switch {
		case a == "--yes" || a == "--prune":
			s += a[1:]
		case strings.HasPrefix(a, "--instance-group-roles="):
			s += "-control-plane"
		}
	}
	return s
}

type lineWriter struct {
	rest string
	line func(string)
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest += string(p)
	for {
		line, rest, ok := strings.Cut(w.rest, "\n")
		if !ok {
			return len(p), nil
		}
		w.line(line)
		w.rest = rest
	}
}

func (w *lineWriter) close() {
	if w.rest != "" {
		w.line(w.rest)
	}
}

func (b *bed) ctx() context.Context {
	return cluster.WithLog(b.t.Context(), slog.New(slog.NewTextHandler(testLog{b.t}, nil)), nil)
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// options are rolling, with every event kept; each may call also.
func (b *bed) options(also func(timeline.Event)) cluster.RollOptions {
	b.events = nil
	o := rolling
	o.Progress = func(e timeline.Event) {
		b.events = append(b.events, e)
		if also != nil {
			also(e)
		}
	}
	return o
}

// kinds counts the events of the last roll.
func (b *bed) kinds() map[string]int {
	m := map[string]int{}
	for _, e := range b.events {
		m[e.Kind]++
	}
	return m
}

// known holds the tracker to every line that kops has printed in its rolls.
func (b *bed) known(t *testing.T) {
	t.Helper()
	lines := 0
	for n, roll := range b.rolls {
		var tracker output.Tracker
		for _, line := range roll {
			lines++
			if m := tracker.Line(line); m.Phase == "" && m.Ignored == "" {
				t.Errorf("roll %d: a line that the tracker does not know: %s", n+1, line)
			}
		}
	}
	t.Logf("%d lines of %d rolls are all of a phase, or ignored for a reason", lines, len(b.rolls))
}

// kubelets are the versions of the kubelets of one role, each with how many.
func kubelets(t *testing.T, c *cluster.Cluster, controlPlane bool) map[string]int {
	t.Helper()
	list, err := c.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int{}
	for _, n := range list.Items {
		if _, cp := n.Labels[cloud.LabelControlPlane]; cp == controlPlane {
			m[n.Status.NodeInfo.KubeletVersion]++
		}
	}
	return m
}

func wantKubelets(t *testing.T, c *cluster.Cluster, controlPlane bool, want map[string]int) {
	t.Helper()
	if got := kubelets(t, c, controlPlane); !maps.Equal(got, want) {
		t.Errorf("kubelets (control plane: %v): %v, want %v", controlPlane, got, want)
	}
}

// workload makes a Deployment with one pod on each worker under a budget that no
// eviction can satisfy.
func workload(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	labels := map[string]string{"app": "web"}
	replicas := int32(3)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "web", Image: "registry.example/web:1"}},
			TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
				MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
			}},
		}},
	}}
	if _, err := c.Client.AppsV1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	none := intstr.FromInt32(0)
	p := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &none, Selector: &metav1.LabelSelector{MatchLabels: labels}}}
	if _, err := c.Client.PolicyV1().PodDisruptionBudgets("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "three ready pods under the budget", func() bool {
		p, err := c.Client.PolicyV1().PodDisruptionBudgets("default").Get(t.Context(), "web", metav1.GetOptions{})
		return err == nil && p.Status.CurrentHealthy == 3 && p.Status.ObservedGeneration == p.Generation
	})
}

// left returns what the roll's error says is left, by kind.
func left(t *testing.T, err error) map[string][]cluster.Leftover {
	t.Helper()
	var roll *cluster.RollError
	if !errors.As(err, &roll) {
		t.Fatalf("want an error that tells what is left, got %v", err)
	}
	m := map[string][]cluster.Leftover{}
	for _, l := range roll.Left {
		m[l.Kind] = append(m[l.Kind], l)
		t.Logf("left: %s %s, %s", l.Kind, l.Name, l.Delete)
	}
	return m
}

// leftIsReal compares what is told with what there is, in as many groups.
func leftIsReal(t *testing.T, c *cluster.Cluster, l map[string][]cluster.Leftover, groups int) {
	t.Helper()
	if len(l["detached instance"]) != groups || len(l["cordoned node"]) != groups || len(l["tainted nodes"]) != groups {
		t.Errorf("left in %d groups: %+v", groups, l)
	}
	instances := look(t).of("instance")
	if len(instances) != 6+groups {
		t.Errorf("%d instances, want 6 and %d that are detached", len(instances), groups)
	}
	for _, x := range l["detached instance"] {
		if !slices.Contains(instances, x.Name) {
			t.Errorf("the detached instance %s does not run", x.Name)
		}
	}
	tainted := map[string]bool{}
	for _, x := range l["cordoned node"] {
		node, err := c.Client.CoreV1().Nodes().Get(t.Context(), x.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !node.Spec.Unschedulable {
			t.Errorf("node %s is not cordoned", node.Name)
		}
		if slices.ContainsFunc(node.Spec.Taints, func(x corev1.Taint) bool { return x.Key == "kops.k8s.io/scheduled-for-update" }) {
			tainted[node.Labels["kops.k8s.io/instancegroup"]+" (1)"] = true
		}
	}
	for _, x := range l["tainted nodes"] {
		if !tainted[x.Name] {
			t.Errorf("told that nodes of %s are tainted, and they are not", x.Name)
		}
	}
}
