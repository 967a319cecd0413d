//go:build e2e

// Package e2e rehearses real upgrades of real clusters and checks, by other
// means than rehearse's own, that what the record says is what happened. It
// needs Docker and node images; `make e2e` provides both.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/env"

	"github.com/kube-rehearse/rehearse/harness/record"
)

var (
	testenv  env.Environment
	binary   string // the rehearse under test
	evidence string // where run directories are kept: in $ARTIFACTS, or a temporary directory
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	testenv = env.New()
	dir, err := os.MkdirTemp("", "rehearse-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	evidence = dir
	if kept := os.Getenv("ARTIFACTS"); kept != "" {
		// Beside what an earlier call left there.
		evidence = filepath.Join(kept, "e2e-"+time.Now().UTC().Format("20060102T150405Z"))
	}
	binary = filepath.Join(dir, "rehearse")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/rehearse")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: build: %v\n%s", err, out)
		return 1
	}
	return testenv.Run(m)
}

// bed is a driver that the same assertions are made of. Where the embedded
// cluster fails one that a real cluster keeps, the embedded cluster is wrong.
type bed struct {
	driver string
	// scenario of this package's testdata
	scenario string
	// docker tells that the cluster is in Docker, and outlives a run that is
	// asked to keep it.
	docker bool
	// nodes of the scenario.
	nodes int
	// faults that can be planted there, at least, and brief are those that every
	// run of CI plants, where all would take too long.
	faults int
	brief  []string
	// intoUpgrade is how long after its beginning kubeadm is at work.
	intoUpgrade time.Duration
}

var beds = []bed{
	{driver: "sim", scenario: "sim", nodes: 3, faults: 29, intoUpgrade: 3 * time.Second},
	{driver: "kind", scenario: "kind", docker: true, nodes: 3, faults: 5, brief: []string{"single-replica", "blocking-budget"}, intoUpgrade: 15 * time.Second},
}

// onEachBed runs the test once a driver.
func onEachBed(t *testing.T, test func(t *testing.T, b bed)) {
	for _, b := range beds {
		t.Run(b.driver, func(t *testing.T) { test(t, b) })
	}
}

// full runs one of the long tests once a driver, beside other long tests on
// embedded clusters; real clusters have the machine to themselves.
func full(t *testing.T, test func(t *testing.T, b bed)) {
	t.Parallel()
	for _, b := range beds {
		t.Run(b.driver, func(t *testing.T) {
			if b.docker {
				realCluster.Lock()
				t.Cleanup(realCluster.Unlock) // after the test's own, which delete the cluster
			}
			test(t, b)
		})
	}
}

var realCluster sync.Mutex

// outcome is what one call of rehearse left.
type outcome struct {
	code   int
	stdout string
	stderr string
	dir    string // the run directory
}

// rehearse runs the command line and shows its progress in the test's output.
func rehearse(ctx context.Context, t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout = &stdout
	cmd.Stderr = io.MultiWriter(&stderr, t.Output())
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("rehearse %s: %v", strings.Join(args, " "), err)
	}
	return outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// scenarioArgs are the arguments that run a bed's scenario into a directory of
// the test's own, which is returned too.
func scenarioArgs(t *testing.T, b bed) (args []string, out string) {
	t.Helper()
	out = filepath.Join(evidence, strings.ReplaceAll(t.Name(), "/", "-"))
	return []string{"run", "-f", "testdata/scenarios.yaml", "--scenario", b.scenario, "--out", out}, out
}

// runScenario rehearses a bed's scenario.
func runScenario(ctx context.Context, t *testing.T, b bed, args ...string) outcome {
	t.Helper()
	run, out := scenarioArgs(t, b)
	o := rehearse(ctx, t, append(run, args...)...)
	t.Logf("exit code %d", o.code)
	o.dir = runDir(t, out, b.scenario)
	return o
}

// runDir is the directory of the only run of a scenario in out.
func runDir(t *testing.T, out, scenario string) string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(out, scenario+"-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("run directories %v (%v), want one", dirs, err)
	}
	return dirs[0]
}

func load(t *testing.T, dir string) *record.Record {
	t.Helper()
	r, err := record.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lost counts the requests of a lane that failed or were never sent in a phase.
func lost(r *record.Record, lane record.LaneData, phase string) (failed, unsent, due uint64) {
	p, ok := r.Phase(phase)
	if !ok {
		return 0, 0, 0
	}
	for i := range lane.Windows {
		w := &lane.Windows[i]
		if at := w.Second * 1e9; at >= p.Start && at < p.End {
			failed += w.Failed()
			unsent += w.Counts[record.Unsent]
			due += w.Due()
		}
	}
	return failed, unsent, due
}

// containers lists what Docker holds of rehearse: nodes, balancers, twins.
func containers(t *testing.T) []string {
	t.Helper()
	out := dockerLines(t, "ps", "-a", "--format", `{{.Names}}`, "--filter", "label=io.rehearse.run")
	for _, name := range dockerLines(t, "ps", "-a", "--format", `{{.Names}}`, "--filter", "label=io.x-k8s.kind.cluster") {
		if strings.HasPrefix(name, "rehearse-") {
			out = append(out, name)
		}
	}
	return out
}

func networks(t *testing.T) []string {
	t.Helper()
	return dockerLines(t, "network", "ls", "--format", `{{.Name}}`, "--filter", "label=io.rehearse.run")
}

func dockerLines(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).Output()
	if err != nil {
		t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return strings.Fields(string(out))
}
