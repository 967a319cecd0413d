// Package arrows holds the directions in which the project's packages may
// depend on each other. docs/design.md draws them; this test keeps them.
package arrows

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kube-rehearse/rehearse"

// allowed lists, for each package or tree of packages (a trailing "/..."), the
// packages of ours that it may import. The longest matching key counts.
var allowed = map[string][]string{
	"scenarios":                {"harness/secret"},
	"harness/secret":           {},
	"harness/timeline":         {},
	"harness/command":          {"harness/secret"},
	"harness/pause":            {},
	"harness/english":          {},
	"harness/varint":           {},
	"harness/cleanup":          {},
	"harness/canary":           {},
	"harness/docker/...":       {"harness/command"},
	"harness/canary/...":       {"harness/canary"},
	"harness/record":           {"harness/timeline", "harness/varint"},
	"harness/cluster":          {"harness/record", "harness/timeline"},
	"harness/nodeimage/...":    {"harness/command", "harness/docker", "harness/cluster", "harness/nodeimage/..."},
	"harness/cluster/kind/...": {"harness/pause", "harness/cluster", "harness/record", "harness/docker", "harness/command", "harness/nodeimage", "harness/canary", "harness/cluster/kind/..."},
	"harness/cluster/sim/...":  {"harness/pause", "harness/cluster", "harness/record", "harness/canary", "harness/cluster/sim/..."},
	"harness/cluster/kops/...": {"harness/secret", "probes/aws", "harness/cluster", "harness/record", "harness/timeline", "harness/command", "harness/cluster/cloud", "harness/cluster/kops/..."},
	"harness/cluster/eks/...":  {"harness/pause", "harness/cluster", "harness/record", "harness/timeline", "harness/cluster/cloud", "harness/cluster/eks/...", "probes/aws"},
	"harness/cluster/existing": {"harness/pause", "harness/cluster", "harness/cluster/cloud", "harness/record", "harness/canary", "harness/command"},
	"harness/cluster/cloud":    {"harness/pause", "harness/cluster", "harness/record", "harness/canary"},
	"harness/load/...":         {"harness/record", "harness/varint", "harness/timeline", "harness/canary", "harness/load/..."},
	"harness/load/agentjob":    {"harness/pause", "harness/command", "harness/cluster", "harness/record", "harness/load/agent", "harness/load/fleet"},
	"harness/order":            {"harness/english", "harness/record", "harness/timeline"},
	"harness/judge/...":        {"harness/english", "scenarios", "harness/order", "harness/record", "harness/timeline", "harness/judge/..."},
	"probes/...":               {"harness/english", "harness/pause", "harness/record", "harness/timeline", "harness/canary/...", "probes/..."},
	"harness/step":             {"harness/secret", "harness/english", "harness/pause", "harness/forecast", "harness/command", "harness/order", "harness/cleanup", "harness/cluster", "harness/load/...", "harness/record", "harness/timeline", "harness/canary/...", "probes/..."},
	"harness":                  {"harness/pause", "harness/forecast", "probes/watch", "scenarios", "harness/step", "harness/canary/deploy", "harness/cleanup", "harness/cluster", "harness/load", "harness/load/agent", "harness/judge", "harness/record", "harness/timeline"},
	"harness/traces":           {"harness", "harness/judge", "harness/record", "harness/timeline"},
	"harness/metrics":          {"harness", "harness/step", "harness/judge", "harness/load", "harness/record", "harness/timeline", "probes/watch"},
	"harness/drivers":          {"scenarios", "harness/canary/deploy", "harness/cluster", "harness/cluster/...", "harness/nodeimage", "probes/aws"},
	"harness/history":          {"scenarios", "harness/judge", "harness/record", "harness/timeline"},
	"harness/forecast":         {"harness/english", "scenarios", "harness/record", "probes/preflight", "probes/system"},
	"harness/search":           {"harness/english", "harness/record", "harness/timeline"},
	"harness/gate":             {"scenarios", "harness/history", "harness/judge", "harness/record", "harness/timeline"},
	"harness/mirror":           {"scenarios"},
	"harness/mirror/fromkops":  {"harness/mirror", "harness/cluster", "harness/cluster/kops"},
	"harness/mirror/fromeks":   {"harness/mirror", "probes/aws", "scenarios"},
	"harness/notify":           {"harness/pause"},
	"harness/releases":         {"harness/pause", "harness/cluster"},
	"harness/monthly":          {"harness/pause", "harness/cluster", "harness/command", "harness/gate", "harness/judge", "harness/releases"},
	"harness/prove":            {"harness/judge", "harness/record", "harness/timeline"},
	"harness/prove/onkind":     {"harness/pause", "harness", "harness/prove", "harness/step", "harness/canary/deploy", "harness/cleanup", "harness/cluster", "harness/cluster/kind", "harness/docker", "harness/judge", "harness/record", "harness/timeline", "scenarios"},
	"harness/prove/onsim":      {"harness/pause", "harness", "harness/prove", "harness/step", "harness/cleanup", "harness/cluster", "harness/cluster/sim", "harness/judge", "harness/record", "harness/timeline", "scenarios"},
	"reports/...":              {"harness/english", "scenarios", "harness/judge", "harness/record", "harness/timeline", "reports/..."},
	"reports/serve":            {"harness/english", "scenarios", "harness/history", "harness/judge", "harness/record", "harness/timeline", "reports"},
	"cmd/canary":               {"harness/canary", "harness/load/agent"},
	"cmd/rehearse":             {"cmd/internal/cli"},
	"cmd/internal/cli":         {"..."},
	"examples/...":             {"scenarios", "harness", "harness/drivers", "reports"},
	"hack/...":                 {"..."},
	"test/...":                 {"..."},
	"test/buffer":              {},
	"test/chromium":            {},
	"test/golden":              {},
	"test/interruption":        {"harness/judge"},
	"test/recompute":           {"harness/judge", "harness/record", "reports", "scenarios"},
}

// withoutClientGo may never reach client-go, however indirectly: what judges and
// reports must work from the record alone.
var withoutClientGo = []string{"scenarios", "harness/timeline", "harness/record", "harness/order", "harness/english", "harness/judge", "harness/load", "harness/canary", "reports", "cmd/canary"}

type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,Deps", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		// What another process reads is unknown to the cache of test results: without
		// this a new import is not looked at.
		if _, err := os.ReadDir(p.Dir); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestArrows(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		name := local(p.ImportPath)
		may, ok := rule(name)
		if !ok {
			t.Errorf("package %s has no entry in the table of arrows: decide what it may import", name)
			continue
		}
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module+"/") {
				continue
			}
			checked++
			if !slices.ContainsFunc(may, func(pattern string) bool { return matches(pattern, local(imp)) }) {
				t.Errorf("%s imports %s; it may import: %s", name, local(imp), strings.Join(may, ", "))
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d imports were checked: is the module's name still %s?", checked, module)
	}
}

func TestClientGoStaysOut(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.ContainsFunc(withoutClientGo, func(root string) bool { return matches(root, local(p.ImportPath)) }) {
			continue
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "k8s.io/client-go") || strings.HasPrefix(dep, "k8s.io/api/") {
				t.Errorf("%s depends on %s", local(p.ImportPath), dep)
				break
			}
		}
	}
}

func local(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func rule(name string) ([]string, bool) {
	best, found := "", false
	for pattern := range allowed {
		if matches(pattern, name) && len(pattern) >= len(best) {
			best, found = pattern, true
		}
	}
	return allowed[best], found
}

func matches(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == tree || strings.HasPrefix(name, tree+"/")
	}
	return pattern == name
}
