//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestFullResume kills a run while its first worker is upgraded, and goes on with
// it in another process. An embedded cluster ends with its process, and the
// command that would go on says so.
func TestFullResume(t *testing.T) { full(t, resume) }

func resume(t *testing.T, b bed) {
	b = b.on("resume", 3)
	dir := killedRun(t, b, "Upgrade worker 1 of 2")
	before, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !b.docker {
		o := rehearse(t.Context(), t, "run", "--resume", dir)
		if o.code != 3 || !strings.Contains(o.stderr, "cannot go on with") {
			t.Errorf("exit code %d, want 3 and the reason:\n%s", o.code, o.stderr)
		}
		after, err := os.ReadFile(filepath.Join(dir, "run.json"))
		if err != nil || string(after) != string(before) {
			t.Errorf("the record was changed all the same (%v)", err)
		}
		return
	}
	if left := containers(t); len(left) < b.nodes {
		t.Fatalf("the killed run left %v, want its cluster", left)
	}
	o := rehearse(t.Context(), t, "run", "--resume", dir, "--keep-cluster")
	o.dir = dir
	del := deleteOnce(t, o.stderr)
	// What was not seen is more than the longest outage that the scenario allows.
	if o.code != 2 || !strings.Contains(o.stdout, "INCONCLUSIVE") {
		t.Errorf("exit code %d, want 2 (INCONCLUSIVE: nobody watched for a while)\n%s", o.code, o.stdout)
	}
	rec := load(t, dir)
	if n := len(rec.Run.Interruptions); n != 1 || rec.Run.Outcome != record.OutcomePassed || !rec.Complete {
		t.Errorf("%d interruptions, outcome %s, complete %v; want one, and a run that went to its end", n, rec.Run.Outcome, rec.Complete)
	}
	// The control plane was through when the process was killed.
	planes := map[string]int{}
	for _, e := range events(rec, timeline.KindUpgradeStart, "control-plane") {
		planes[e.Detail["what"]]++
	}
	for what, n := range planes {
		if n != 1 {
			t.Errorf("the control plane's %s was upgraded %d times", what, n)
		}
	}
	for i, s := range rec.Run.Steps {
		if s.Number != i+1 || s.Outcome != record.OutcomePassed {
			t.Errorf("step %d of the record is number %d, %s", i+1, s.Number, s.Outcome)
		}
	}
	checkServed(t, rec)
	checkKeptNodes(t.Context(), t, o, b.nodes)
	del()
	checkNothingLeft(t)
}

// killedRun begins to rehearse a bed's scenario and ends the process, with no
// chance to do anything about it, when it has said that and a while has passed.
func killedRun(t *testing.T, b bed, said string) (dir string) {
	t.Helper()
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
	killed := false
	for buf := make([]byte, 4096); ; {
		n, err := stderr.Read(buf)
		seen.Write(buf[:n])
		t.Output().Write(buf[:n])
		if !killed && strings.Contains(seen.String(), said) {
			killed = true
			time.Sleep(b.intoUpgrade)
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	if !killed {
		t.Fatalf("the run ended (%v) without saying %q", err, said)
	}
	return runDir(t, out, b.scenario)
}
