//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
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

// TestCleanUpgradeIsGo is the product's main job: a cluster is upgraded under
// load, and nobody notices. A real cluster is kept at first, so that it can be
// asked itself.
func TestCleanUpgradeIsGo(t *testing.T) { onEachBed(t, cleanUpgradeIsGo) }

func cleanUpgradeIsGo(t *testing.T, b bed) {
	var o outcome
	var rec *record.Record
	clean := features.New("a clean upgrade").
		Setup(func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			var args []string
			if b.docker {
				args = []string{"--keep-cluster"}
			}
			o = runScenario(ctx, t, b, args...)
			if o.code != 0 {
				t.Fatalf("exit code %d, want 0 (GO)\n%s", o.code, o.stdout)
			}
			rec = load(t, o.dir)
			return ctx
		}).
		Assess("the verdict is GO and standard output says so", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			if !strings.Contains(o.stdout, "GO") || strings.Contains(o.stdout, "NO-GO") || strings.Contains(o.stdout, "SIMULATED") == b.docker {
				t.Errorf("standard output:\n%s", o.stdout)
			}
			return ctx
		}).
		Assess("the record holds both versions, three lanes and no lost request", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			checkCleanRecord(t, rec, b)
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
		})
	if b.docker {
		clean = clean.Assess("the cluster itself says that every node was upgraded", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			checkKeptNodes(ctx, t, o, b.nodes)
			return ctx
		}).Teardown(func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			deleteKept(ctx, t, o.stderr)
			checkNothingLeft(t)
			return ctx
		})
	}
	testenv.Test(t, clean.Feature())
}

// checkKeptNodes asks the kept cluster, by another client than rehearse's.
func checkKeptNodes(ctx context.Context, t *testing.T, o outcome, want int) {
	t.Helper()
	var nodes corev1.NodeList
	if err := clusterClient(t, o).Resources().List(ctx, &nodes); err != nil {
		t.Fatal(err)
	}
	checkUpgraded(t, nodes.Items, want)
}

// checkUpgraded asks of each node for the target version, and that it takes pods.
func checkUpgraded(t *testing.T, nodes []corev1.Node, want int) {
	t.Helper()
	if len(nodes) != want {
		t.Errorf("%d nodes, want %d", len(nodes), want)
	}
	for _, n := range nodes {
		if got := n.Status.NodeInfo.KubeletVersion; got != to || n.Spec.Unschedulable {
			t.Errorf("node %s: kubelet %s, unschedulable %v", n.Name, got, n.Spec.Unschedulable)
		}
	}
}

func checkCleanRecord(t *testing.T, rec *record.Record, b bed) {
	t.Helper()
	run := rec.Run
	if run.Simulated == b.docker || run.Driver != b.driver || run.Versions.Before != from || run.Versions.After != to {
		t.Errorf("driver %s, simulated %v, versions %+v", run.Driver, run.Simulated, run.Versions)
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
	again := rehearse(ctx, t, "report", dir, "-o", "json")
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

// deleteOnce returns what deletes a kept cluster with the command that rehearse
// printed. It is called when the test ends, if it was not before.
func deleteOnce(t *testing.T, stderr string) func() {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	del := sync.OnceFunc(func() { deleteKept(ctx, t, stderr) })
	t.Cleanup(del)
	return del
}

func checkNothingLeft(t *testing.T) {
	t.Helper()
	if left := append(containers(t), networks(t)...); len(left) > 0 {
		t.Errorf("left in Docker: %v", left)
	}
}

// TestInterruptLeavesNothing interrupts a run in the middle of an upgrade.
func TestInterruptLeavesNothing(t *testing.T) { onEachBed(t, interruptLeavesNothing) }

func interruptLeavesNothing(t *testing.T, b bed) {
	args, out := scenarioArgs(t, b)
	cmd := exec.CommandContext(t.Context(), binary, args...)
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
				time.Sleep(b.intoUpgrade)
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
	if b.docker {
		checkNothingLeft(t)
	}
	if rec := load(t, runDir(t, out, b.scenario)); rec.Run.Outcome != record.OutcomeInterrupted || !rec.Complete {
		t.Errorf("the record says %s, complete %v; want an interrupted run that is whole", rec.Run.Outcome, rec.Complete)
	}
}

// TestEveryFaultIsFound is the gate's proof that it can fail: faults are planted
// in each kind of cluster, and found, named and bounded. On a real cluster that
// takes a quarter of an hour: here are some, all are in TestFullEveryFaultIsFound.
func TestEveryFaultIsFound(t *testing.T) {
	onEachBed(t, func(t *testing.T, b bed) { faultsAreFound(t, b, b.brief) })
}

// TestFullEveryFaultIsFound plants on a real cluster all that can be planted there.
func TestFullEveryFaultIsFound(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		if b.brief == nil {
			t.Log("all of them are in TestEveryFaultIsFound")
			return
		}
		faultsAreFound(t, b, nil)
	})
}

// faultsAreFound plants the faults of these names, or all.
func faultsAreFound(t *testing.T, b bed, only []string) {
	args := []string{"prove", "--driver", b.driver, "--out", filepath.Join(evidence, "proofs", strings.ReplaceAll(t.Name(), "/", "-")), "-o", "json"}
	want, wantClean := b.faults, 1
	if only != nil {
		args = append(args, "--only", strings.Join(only, ","))
		want, wantClean = len(only), 0
	}
	o := rehearse(t.Context(), t, args...)
	var proof record.Proof
	if err := json.Unmarshal([]byte(o.stdout), &proof); err != nil {
		t.Fatalf("exit code %d, standard output is no proof: %v\n%s", o.code, err, o.stdout)
	}
	if o.code != 0 || proof.Driver != b.driver || proof.Partial != (only != nil) {
		t.Errorf("exit code %d, driver %s, partial %v; want a proof in which nothing was missed", o.code, proof.Driver, proof.Partial)
	}
	clean := 0
	for _, row := range proof.Rows {
		if row.Clean {
			clean++
		}
		if !row.Found {
			t.Errorf("%s: %s", row.Fault, strings.Join(row.WhyNot, " "))
		}
	}
	if clean < wantClean || len(proof.Rows)-clean < want {
		t.Errorf("%d faults and %d clean runs, want at least %d and %d", len(proof.Rows)-clean, clean, want, wantClean)
	}
	if b.docker {
		checkNothingLeft(t)
	}
}
