package step

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func serve(env *Env, v string) {
	d, _ := env.client().Discovery().(*fakediscovery.FakeDiscovery)
	d.FakedServerVersion = &version.Info{GitVersion: v}
}

func shell(script string, timeout time.Duration) Command {
	return Command{Args: []string{"sh", "-c", script}, From: "v1.34.4", To: "v1.35.4", Kubeconfig: "k", Context: "c", Timeout: timeout}
}

// namespaces is a driver that remembers what it was asked for.
type namespaces struct {
	env   *Env
	calls []string
}

func (d *namespaces) Create(context.Context, cluster.Spec) (*cluster.Cluster, error) {
	d.calls = append(d.calls, "create")
	return d.env.Cluster, nil
}

func (d *namespaces) Delete(context.Context, cluster.Spec) error {
	d.calls = append(d.calls, "delete")
	return nil
}

func (*namespaces) DeleteCommand(cluster.Spec) string { return "kubectl delete namespace -l a=b" }

// TestConnectIsNotGoneOnWith says what to do instead, and still lets a run that
// is over remove what it made.
func TestConnectIsNotGoneOnWith(t *testing.T) {
	d := &namespaces{}
	env, _ := newEnv(d)
	d.env, env.Spec.RunID = env, "abc123"
	s := Connect{Kubeconfig: "k", Version: "v1.34.4", Timeout: time.Minute}
	err := s.Restore(t.Context(), env)
	const want = "a run on an existing cluster cannot be gone on with: its command may have done part of the upgrade, and is not run twice; bring the cluster to one version with your own tool, remove what the run left there, set versions to what the cluster runs, and rehearse anew"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	left := env.Cleanup.Release()
	if len(left) != 1 || left[0].What != "namespaces of run abc123 in the cluster of kubeconfig k" || left[0].How != "kubectl delete namespace -l a=b" {
		t.Errorf("left %+v", left)
	}
	env.Undoing = true
	if err := s.Restore(t.Context(), env); err != nil {
		t.Error(err)
	}
	if err := env.Cleanup.Run(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
	serve(env, "v1.34.4")
	if err := s.Redo(t.Context(), env); err != nil {
		t.Error(err)
	}
	if got := strings.Join(d.calls, " "); got != "delete delete create" {
		t.Errorf("calls %s", got)
	}
}

func TestCommandUpgrades(t *testing.T) {
	env, events := newEnv(driver{}, node("a", "v1.35.4-gke.10", false, true))
	serve(env, "v1.35.4-gke.11")
	var out bytes.Buffer
	ctx := cluster.WithLog(t.Context(), env.Log, &out)
	if err := shell(`echo "$REHEARSE_FROM $REHEARSE_TO $REHEARSE_KUBECONFIG $REHEARSE_CONTEXT"; echo oops >&2`, time.Minute).Run(ctx, env); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"+ sh -c", "v1.34.4 v1.35.4 k c\n", "oops\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log without %q:\n%s", want, out.String())
		}
	}
	if got := events.String(); strings.Count(got, `"upgrade-start"`) != 1 || strings.Count(got, `"upgrade-end"`) != 1 || strings.Contains(got, `"error"`) {
		t.Errorf("events:\n%s", got)
	}
	if len(env.Run.Findings) != 0 {
		t.Errorf("findings %+v", env.Run.Findings)
	}
}

// TestCommandThatDoesNothing is what upgrade tests that test nothing look like.
func TestCommandThatDoesNothing(t *testing.T) {
	cordoned := node("b", "v1.35.4", false, true)
	cordoned.Spec.Unschedulable = true
	env, _ := newEnv(driver{}, node("a", "v1.34.4", false, true), cordoned, node("c", "v1.35.4", false, false))
	serve(env, "v1.34.4")
	err := shell("true", 500*time.Millisecond).Run(t.Context(), env)
	const state = "the API server runs v1.34.4; node a runs v1.34.4; node b is cordoned; node c is not Ready: KubeletNotReady: container runtime is down"
	if err == nil || !strings.Contains(err.Error(), "the command ended without an error, and the cluster is not at v1.35.4: "+state) || !strings.Contains(err.Error(), "not done after 500ms") {
		t.Errorf("error %v", err)
	}
	if f := env.Run.Findings; len(f) != 1 || f[0].ID != "left-behind" || f[0].Cause != "the upgrade to v1.35.4 ended before it was done: "+state {
		t.Errorf("findings %+v", f)
	}
}

func TestCommandThatFails(t *testing.T) {
	env, events := newEnv(driver{}, node("a", "v1.34.4", false, true))
	serve(env, "v1.35.4")
	err := shell("echo no quota >&2; exit 7", time.Minute).Run(t.Context(), env)
	if err == nil || !strings.Contains(err.Error(), "upgrade.command: sh -c") || !strings.Contains(err.Error(), "exit status 7\n  no quota") {
		t.Errorf("error %v", err)
	}
	if f := env.Run.Findings; len(f) != 1 || !strings.Contains(f[0].Cause, "node a runs v1.34.4") || strings.Contains(f[0].Cause, "API server") {
		t.Errorf("findings %+v", f)
	}
	if !strings.Contains(events.String(), "exit status 7") {
		t.Errorf("events:\n%s", events.String())
	}
}

// TestCommandIsAskedToEnd lets a command end in order when the run is
// interrupted, and still says what it left.
func TestCommandIsAskedToEnd(t *testing.T) {
	env, _ := newEnv(driver{}, node("a", "v1.34.4", false, true))
	serve(env, "v1.34.4")
	began := filepath.Join(t.TempDir(), "began")
	var out bytes.Buffer
	ctx, cancel := context.WithCancelCause(cluster.WithLog(t.Context(), env.Log, &out))
	interrupted := errors.New("interrupted")
	go func() {
		for !exists(began) {
			if pause.For(ctx, 10*time.Millisecond) != nil {
				return
			}
		}
		cancel(interrupted)
	}()
	err := shell(`trap 'echo unlocking; exit 1' TERM; touch `+began+`; while :; do sleep 0.05; done`, time.Minute).Run(ctx, env)
	if !errors.Is(err, interrupted) || !strings.Contains(out.String(), "unlocking\n") {
		t.Errorf("error %v, log:\n%s", err, out.String())
	}
	if len(env.Run.Findings) != 1 {
		t.Errorf("findings %+v", env.Run.Findings)
	}
}
