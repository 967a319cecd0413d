//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/e2e-framework/klient"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const from, to = "v1.34.4", "v1.35.4"

// TestCleanUpgradeIsGo is the product's main job, on a real cluster: kubeadm
// upgrades it under load, and nobody notices. The cluster is kept at first, so
// that it can be asked itself.
func TestCleanUpgradeIsGo(t *testing.T) {
	var o outcome
	var rec *record.Record
	testenv.Test(t, features.New("a clean upgrade").
		Setup(func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			o = runScenario(ctx, t, "kind", io.Discard, "--keep-cluster")
			if o.code != 0 {
				t.Fatalf("exit code %d, want 0 (GO)\n%s", o.code, o.stdout)
			}
			rec = load(t, o.dir)
			return ctx
		}).
		Assess("the verdict is GO and standard output says so", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			if !strings.Contains(o.stdout, "GO") || strings.Contains(o.stdout, "NO-GO") {
				t.Errorf("standard output:\n%s", o.stdout)
			}
			return ctx
		}).
		Assess("the cluster itself says that every node was upgraded", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			var nodes corev1.NodeList
			if err := clusterClient(t, o).Resources().List(ctx, &nodes); err != nil {
				t.Fatal(err)
			}
			if len(nodes.Items) != 3 {
				t.Errorf("%d nodes, want 3", len(nodes.Items))
			}
			for _, n := range nodes.Items {
				if got := n.Status.NodeInfo.KubeletVersion; got != to || n.Spec.Unschedulable {
					t.Errorf("node %s: kubelet %s, unschedulable %v", n.Name, got, n.Spec.Unschedulable)
				}
			}
			return ctx
		}).
		Assess("the record holds both versions, three lanes and no lost request", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			checkCleanRecord(t, rec)
			return ctx
		}).
		Assess("every system component was found healthy, before and after", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			for name, snap := range map[string]*record.Snapshot{"before": rec.Before, "after": rec.After} {
				checkComponents(t, name, snap)
			}
			return ctx
		}).
		Assess("the verdict is recomputed byte for byte without the cluster", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			checkRecomputed(ctx, t, o.dir)
			return ctx
		}).
		Teardown(func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			deleteKept(ctx, t, o.stderr)
			checkNothingLeft(t)
			return ctx
		}).Feature())
}

func checkCleanRecord(t *testing.T, rec *record.Record) {
	t.Helper()
	run := rec.Run
	if run.Simulated || run.Versions.Before != from || run.Versions.After != to {
		t.Errorf("simulated %v, versions %+v", run.Simulated, run.Versions)
	}
	var names []string
	for _, lane := range rec.Lanes {
		names = append(names, lane.Lane.Name)
		for _, phase := range []string{timeline.PhaseBaseline, timeline.PhaseUpgrade} {
			failed, unsent, due := lost(rec, lane, phase)
			if failed != 0 || due == 0 {
				t.Errorf("lane %s, %s: %d of %d requests failed (%d unsent)", lane.Lane.Name, phase, failed, due, unsent)
			}
			// What a busy runner does not send is the runner's fault, and bounded.
			if float64(unsent) > 0.001*float64(due) {
				t.Errorf("lane %s, %s: %d of %d slots unsent", lane.Lane.Name, phase, unsent, due)
			}
		}
	}
	if got := strings.Join(names, " "); got != "new reused control" {
		t.Errorf("lanes %q, want %q", got, "new reused control")
	}
	for _, kind := range []string{timeline.KindCordon, timeline.KindEvict, timeline.KindUncordon, timeline.KindNodeVersion, timeline.KindEndpointRemoved} {
		n := 0
		for _, e := range rec.Events {
			if e.Kind == kind {
				n++
			}
		}
		if n == 0 {
			t.Errorf("the timeline has no event of kind %s", kind)
		}
	}
}

func checkComponents(t *testing.T, when string, snap *record.Snapshot) {
	t.Helper()
	if snap == nil {
		t.Fatalf("no snapshot %s", when)
	}
	want := map[string]bool{"kube-flannel": true, "coredns": true, "kube-proxy": true, "kube-apiserver": true, "kube-controller-manager": true, "kube-scheduler": true, "etcd": true}
	for _, c := range snap.Components {
		if !want[c.Name] {
			continue
		}
		delete(want, c.Name)
		if !c.Present || c.Problem != "" || c.Ready == 0 || c.Ready != c.Desired {
			t.Errorf("%s: component %s: %+v", when, c.Name, c)
		}
		if c.Name == "etcd" && (len(c.Members) != 1 || !c.Members[0].OK) {
			t.Errorf("%s: etcd members %+v", when, c.Members)
		}
	}
	if len(want) > 0 {
		t.Errorf("%s: components never looked at: %v", when, want)
	}
	if !snap.DNSLookup.OK || len(snap.APIServices) == 0 {
		t.Errorf("%s: DNS lookup %+v, %d APIServices", when, snap.DNSLookup, len(snap.APIServices))
	}
}

func checkRecomputed(ctx context.Context, t *testing.T, dir string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join(dir, "verdict.json"))
	if err != nil {
		t.Fatal(err)
	}
	again := rehearse(ctx, t, io.Discard, "report", dir, "-o", "json")
	if !bytes.Equal([]byte(again.stdout), want) {
		t.Errorf("rehearse report -o json differs from verdict.json (%d and %d bytes)", len(again.stdout), len(want))
	}
}

// clusterClient reaches the kept cluster by e2e-framework's own client.
func clusterClient(t *testing.T, o outcome) klient.Client {
	t.Helper()
	m := regexp.MustCompile(`Kept: cluster (\S+)\.`).FindStringSubmatch(o.stderr)
	if m == nil {
		t.Fatalf("standard error does not say which cluster was kept:\n%s", o.stderr)
	}
	kubeconfig, err := kindcluster.NewProvider(kindcluster.ProviderWithDocker()).KubeConfig(m[1], false)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	c, err := klient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// deleteKept runs the command that rehearse gave for what it kept.
func deleteKept(ctx context.Context, t *testing.T, stderr string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^Kept: .*Delete it with: (.*)$`).FindAllStringSubmatch(stderr, -1) {
		if out, err := exec.CommandContext(ctx, "bash", "-c", m[1]).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", m[1], err, out)
		}
	}
}

func checkNothingLeft(t *testing.T) {
	t.Helper()
	if left := append(containers(t), networks(t)...); len(left) > 0 {
		t.Errorf("left in Docker: %v", left)
	}
}

// TestSingleReplicaIsNoGo is the gate's proof that it can fail: with one
// replica the drain of its node takes the service down, and that has to be
// found and named.
func TestSingleReplicaIsNoGo(t *testing.T) {
	var o outcome
	testenv.Test(t, features.New("a single replica without a budget").
		Setup(func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			o = runScenario(ctx, t, "kind-single-replica", io.Discard)
			return ctx
		}).
		Assess("the verdict is NO-GO for the outage of both lanes", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			if o.code != 1 {
				t.Fatalf("exit code %d, want 1 (NO-GO)\n%s", o.code, o.stdout)
			}
			for _, want := range []string{"NO-GO", "outage", "new", "reused"} {
				if !strings.Contains(o.stdout, want) {
					t.Errorf("standard output does not say %q:\n%s", want, o.stdout)
				}
			}
			return ctx
		}).
		Assess("the control lane lost nothing", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			rec := load(t, o.dir)
			for _, lane := range rec.Lanes {
				failed, _, due := lost(rec, lane, timeline.PhaseUpgrade)
				if lane.Lane.Control != (failed == 0) || due == 0 {
					t.Errorf("lane %s: %d of %d failed", lane.Lane.Name, failed, due)
				}
			}
			return ctx
		}).
		Teardown(func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			checkNothingLeft(t)
			return ctx
		}).Feature())
}

// TestInterruptLeavesNothing interrupts a run in the middle of an upgrade.
func TestInterruptLeavesNothing(t *testing.T) {
	out := filepath.Join(evidence, "runs", t.Name())
	cmd := exec.CommandContext(t.Context(), binary, "run", "-f", "../../scenarios.yaml", "--scenario", "kind-single-replica", "--out", out)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	interrupted := make(chan bool, 1)
	go func() {
		sent := false
		buf := make([]byte, 4096)
		for {
			n, err := stderr.Read(buf)
			seen.Write(buf[:n])
			t.Output().Write(buf[:n])
			if !sent && strings.Contains(seen.String(), "Upgrade control plane 1 of 1") {
				sent = true
				time.Sleep(15 * time.Second) // into kubeadm's work
				cmd.Process.Signal(syscall.SIGINT)
			}
			if err != nil {
				interrupted <- sent
				return
			}
		}
	}()
	sent := <-interrupted
	err = cmd.Wait()
	if !sent || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("interrupt sent %v, exit code %d (%v), want 130", sent, cmd.ProcessState.ExitCode(), err)
	}
	checkNothingLeft(t)
}
