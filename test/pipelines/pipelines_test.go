// Package pipelines tests the pipelines in examples/pipelines: that they say the
// same, and that what they say can be done.
package pipelines

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// stage is one stage of the Jenkinsfile with its shell commands.
type stage struct {
	name, command string
	optional      bool
}

var (
	stageHead = regexp.MustCompile(`^\s*stage\('([^']+)'\) \{$`)
	shell     = regexp.MustCompile(`\bsh '([^']+)'`)
	block     = regexp.MustCompile(`^\s*([a-zA-Z]+) \{`)
	section   = regexp.MustCompile(`^  ([a-zA-Z]+) (?:\{|any)`)
)

func jenkinsStages(t *testing.T) []stage {
	t.Helper()
	var out []stage
	for _, line := range strings.Split(read(t, "examples/pipelines/Jenkinsfile"), "\n") {
		if m := stageHead.FindStringSubmatch(line); m != nil {
			out = append(out, stage{name: m[1]})
		}
		if strings.Contains(line, "when {") {
			out[len(out)-1].optional = true
		}
		for _, m := range shell.FindAllStringSubmatch(line, -1) {
			s := &out[len(out)-1]
			if s.command != "" {
				t.Fatalf("stage %s has two commands", s.name)
			}
			s.command = m[1]
		}
	}
	return out
}

// Jenkins knows these sections and directives of a declarative pipeline; a
// misspelt one is found only when the job runs.
var known = []string{"pipeline", "agent", "options", "triggers", "parameters", "environment", "stages", "steps", "when", "expression", "post", "always"}

func TestJenkinsfile(t *testing.T) {
	text := read(t, "examples/pipelines/Jenkinsfile")
	var top []string
	for _, line := range strings.Split(text, "\n") {
		if m := block.FindStringSubmatch(line); m != nil && !slices.Contains(known, m[1]) {
			t.Errorf("Jenkins knows no block %s", m[1])
		}
		if m := section.FindStringSubmatch(line); m != nil {
			top = append(top, m[1])
		}
	}
	if diff := cmp.Diff([]string{"agent", "options", "triggers", "parameters", "environment", "stages", "post"}, top); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	for _, want := range []string{"cron('H 3 1 * *')", "junit ", "publishHTML(", "archiveArtifacts "} {
		if !strings.Contains(text, want) {
			t.Errorf("the Jenkinsfile lacks %s", want)
		}
	}
	want := []stage{{"Build", "make build", false}, {"Prove", "make prove", true}, {"Rehearse", "make monthly", false}, {"Gate", "make gate", false}}
	if diff := cmp.Diff(want, jenkinsStages(t), cmp.AllowUnexported(stage{})); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
}

// The three pipelines call the same targets in the same order, and there are such
// targets.
func TestSameTargets(t *testing.T) {
	makefile := read(t, "Makefile")
	want := []string{"make build", "make monthly", "make gate"}
	var jenkins []string
	for _, s := range jenkinsStages(t) {
		if !s.optional {
			jenkins = append(jenkins, s.command)
		}
		if target := strings.TrimPrefix(s.command, "make "); !strings.Contains(makefile, "\n"+target+": ") {
			t.Errorf("the Makefile has no target %s", target)
		}
	}
	if diff := cmp.Diff(want, jenkins); diff != "" {
		t.Errorf("Jenkins (-want +got):\n%s", diff)
	}

	var calls []string
	for _, s := range readGitHub(t).Jobs["rehearse"].Steps {
		if strings.HasPrefix(s.Run, "make ") {
			calls = append(calls, strings.TrimSpace(s.Run))
		}
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("GitHub (-want +got):\n%s", diff)
	}

	gitlab := readGitLab(t)
	calls = slices.Concat(gitlab.Rehearse.Script, gitlab.Gate.Script)
	if diff := cmp.Diff([]string{"make build", "make monthly", "make build", "make gate"}, calls); diff != "" {
		t.Errorf("GitLab (-want +got):\n%s", diff)
	}
}

const short = `
apiVersion: rehearse/v1alpha1
scenarios:
- name: short
  cluster: {driver: sim, controlPlanes: 1, workers: 2}
  versions: {from: v1.30.1, to: v1.30.2}
  canary: {replicas: 2, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 10s}
  load: {rate: 50, warmup: 1s, baseline: 5s, settle: 1s}
  upgrade: {controlPlaneInterval: 0s, nodeInterval: 0s, postDrainDelay: 0s, validationInterval: 200ms}
  thresholds: {p50Increase: off, p99Increase: off}
`

// faults are those of the shortest rehearsals, of which none depends on time.
const faults = "nothing-changes,bare-pod"

// The stages of the Jenkinsfile are run as Jenkins would, through the same make
// targets: on the embedded cluster, and in a month without a new version.
func TestStages(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"my scenarios.yaml": short, "versions.txt": "v1.34.4\nv1.35.4\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, outOfAll(t))
	// run returns what the commands of a stage printed, and the exit code of the
	// recipe: make's own is 2 whatever failed.
	run := func(command string, env ...string) (text, code string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), append([]string{
			"OUT=" + out, "SCENARIOS=" + filepath.Join(dir, "my scenarios.yaml"), "VERSIONS=" + filepath.Join(dir, "versions.txt"),
			"TAKE=newest", "NOTIFY_LINK=https://ci.example/7", "REHEARSE_NOTIFY_URL=", "MAKEFLAGS=", "MAKELEVEL=",
		}, env...)...)
		var b bytes.Buffer
		cmd.Stdout, cmd.Stderr = &b, &b
		code = "0"
		if err := cmd.Run(); err != nil {
			code = err.Error()
			if m := regexp.MustCompile(`make: \*\*\* \[[^]]*\] Error (\d+)`).FindStringSubmatch(b.String()); m != nil {
				code = m[1]
			}
		}
		return b.String(), code
	}
	codes := map[string]string{}
	for _, s := range jenkinsStages(t) {
		text, code := run(s.command, "FROM=v1.34.4", "GATE_FLAGS=--allow-simulated --from v1.34.4 --to v1.35.4", "PROVE_FLAGS=--only "+faults)
		codes[s.name] = code
		// A machine that is busy with other tests may end INCONCLUSIVE, never else.
		if code != "0" && code != "2" {
			t.Fatalf("stage %s: %s ended with %s:\n%s", s.name, s.command, code, text)
		}
		if s.name != "Prove" {
			continue
		}
		if !strings.Contains(text, "2 of 2 planted faults found, on sim, ") {
			t.Errorf("stage Prove said:\n%s", text)
		}
		// The gate takes the newest run of OUT, which a planted fault must never be.
		if left, err := filepath.Glob(filepath.Join(out, "*")); err != nil || len(left) > 0 {
			t.Errorf("stage Prove left %q in OUT (%v)", left, err)
		}
	}
	if codes["Build"] != "0" || codes["Prove"] != "0" || codes["Gate"] != codes["Rehearse"] {
		t.Errorf("codes %v: the gate must be proven, and as open as the rehearsal was good", codes)
	}
	checkPublished(t, dir)
	if text, code := run("make gate"); code != "1" && code != "2" || !strings.Contains(text, "✗ simulated: ") {
		t.Errorf("the gate let a simulated run pass, %s:\n%s", code, text)
	}

	out = filepath.Join(dir, "none")
	if text, code := run("make monthly", "FROM=v1.35.4"); code != "0" || !strings.Contains(text, "Nothing to do.") {
		t.Errorf("without a new version: %s\n%s", code, text)
	}
	if text, code := run("make gate"); code != "0" || text != "Nothing was rehearsed: there is nothing to gate.\n" {
		t.Errorf("gate without a rehearsal: %s\n%s", code, text)
	}
	if text, code := run("make monthly", "FROM=", "KUBECONFIG_PRODUCTION="); code == "0" || !strings.Contains(text, "name the kubeconfig of production, or give its version as FROM") {
		t.Errorf("without production: %s\n%s", code, text)
	}
}
