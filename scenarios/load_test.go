package scenarios

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// doc is a valid file around one scenario's fields.
func doc(fields string) string {
	return "apiVersion: rehearse/v1alpha1\nscenarios:\n- name: s\n  versions: {from: v1.34.4, to: v1.35.4}\n" + fields
}

func TestBadScenarios(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"unknown key at the top", "apiVersion: rehearse/v1alpha1\nscenario: []\nscenarios: [{name: s, versions: {from: v1.34.4, to: v1.35.4}}]",
			"f.yaml: scenario: unknown key; accepted: apiVersion, scenarios"},
		{"unknown key inside", doc("  load: {ratee: 3}"),
			"f.yaml: scenarios[0].load.ratee: unknown key; accepted: rate, lanes, timeout, warmup, baseline, settle, agents, agentsKubeconfig, agentsContext, agentImage, agentsInTarget"},
		{"key given twice", doc("  name: t"),
			"f.yaml: line 5: key \"name\" already set in map"},
		{"two keys given twice", doc("  name: t\n  versions: {}"),
			"f.yaml: line 5: key \"name\" already set in map\nf.yaml: line 6: key \"versions\" already set in map"},
		{"two documents", doc("") + "--- # more\n" + doc(""),
			"f.yaml: line 5: a second document begins, which would not be read: put all scenarios into one list"},
		{"not YAML", "a: b: c",
			"f.yaml: mapping values are not allowed in this context"},
		{"wrong type", "apiVersion: rehearse/v1alpha1\nscenarios: 3",
			"f.yaml: scenarios: a number was given, want a list"},
		{"a mapping for the list", "apiVersion: rehearse/v1alpha1\nscenarios: {name: s}",
			"f.yaml: scenarios: a mapping was given, want a list"},
		{"types wrong in several scenarios", doc("  load: {rate: fast}\n- null\n- 3\n- name: t\n  versions: {from: v1.34.4, to: v1.35.4}\n  canary: {replicas: 1.5}\n  load: {lanes: new}\n- name: u\n  versions: {from: v1.34.4, to: v1.35.4}\n  upgrade: {rollback: {onFailure: [yes]}}"),
			"f.yaml: scenarios[0].load.rate: a string was given, want a number\n" +
				"f.yaml: scenarios[1]: nothing was given, want a mapping: an entry of the list is empty\n" +
				"f.yaml: scenarios[2]: a number was given, want a mapping\n" +
				"f.yaml: scenarios[3].canary.replicas: 1.5 was given, want a whole number\n" +
				"f.yaml: scenarios[4].upgrade.rollback.onFailure: a list was given, want true or false"},
		{"no scenario", "apiVersion: rehearse/v1alpha1\nscenarios: []",
			"f.yaml: scenarios: missing: name at least one scenario"},
		{"file format of another version", strings.Replace(doc(""), "v1alpha1", "v2", 1),
			"f.yaml: apiVersion: \"rehearse/v2\" is unknown; accepted: rehearse/v1alpha1"},
		{"unknown driver", doc("  cluster: {driver: kindd}"),
			"f.yaml: scenarios[0].cluster.driver: \"kindd\" is unknown; accepted: sim, kind, kops, eks, existing"},
		{"even control planes", doc("  cluster: {controlPlanes: 2}"),
			"f.yaml: scenarios[0].cluster.controlPlanes: 2 is not accepted: 1 or 3: etcd keeps a quorum only with an odd number"},
		{"explicit zero is not a default", doc("  cluster: {workers: 0}"),
			"f.yaml: scenarios[0].cluster.workers: 0 is not accepted: 1 to 100"},
		{"unknown lane", doc("  load: {lanes: [new, http9]}"),
			"f.yaml: scenarios[0].load.lanes[1]: \"http9\" is unknown; accepted: new, reused, http2, cached-dns, stream"},
		{"lane twice", doc("  load: {lanes: [new, new]}"),
			"f.yaml: scenarios[0].load.lanes[1]: \"new\" stands there twice"},
		{"no lane", doc("  load: {lanes: []}"),
			"f.yaml: scenarios[0].load.lanes: missing: name at least one of: new, reused, http2, cached-dns, stream"},
		{"stream cannot show a short outage", doc("  load: {lanes: [new, stream]}\n  thresholds: {longestOutage: 250ms}"),
			"f.yaml: scenarios[0].load.lanes[1]: \"stream\" is not accepted: its 10 lines a second show no outage shorter than 500ms, and scenarios[0].thresholds.longestOutage allows 250ms: allow more, or leave the lane out"},
		{"unknown strategy", doc("  upgrade: {strategy: big-bang}"),
			"f.yaml: scenarios[0].upgrade.strategy: \"big-bang\" is unknown; accepted: in-place, replace, pool-migration, command"},
		{"surge in place", doc("  upgrade: {strategy: in-place, maxSurge: 1}"),
			"f.yaml: scenarios[0].upgrade.maxSurge: 1 is not accepted: in-place keeps its workers and replaces none: use extraWorkers for capacity during the roll"},
		{"surge of a migration", doc("  upgrade: {strategy: pool-migration, maxSurge: 1}"),
			"f.yaml: scenarios[0].upgrade.maxSurge: 1 is not accepted: pool-migration joins its whole new pool first: leave it out, or use the strategy replace"},
		{"batches of a migration", doc("  upgrade: {strategy: pool-migration, maxUnavailable: 2}"),
			"f.yaml: scenarios[0].upgrade.maxUnavailable: 2 is not accepted: pool-migration drains one old worker at a time: leave it out, or use the strategy replace"},
		{"extra workers of a migration", doc("  upgrade: {strategy: pool-migration, extraWorkers: 1}"),
			"f.yaml: scenarios[0].upgrade.extraWorkers: 1 is not accepted: pool-migration has twice its workers during the roll already: leave it out"},
		{"nothing may go", doc("  upgrade: {strategy: replace, maxUnavailable: 0}"),
			"f.yaml: scenarios[0].upgrade.maxUnavailable: 0 is not accepted: without maxSurge either no worker could ever be replaced: give maxSurge: 1, or allow 1 unavailable"},
		{"nothing may go in place", doc("  upgrade: {maxUnavailable: 0}"),
			"f.yaml: scenarios[0].upgrade.maxUnavailable: 0 is not accepted: 1 to 3, the number of workers"},
		{"more unavailable than there are", doc("  upgrade: {maxUnavailable: 4}"),
			"f.yaml: scenarios[0].upgrade.maxUnavailable: 4 is not accepted: 1 to 3, the number of workers"},
		{"negative extra workers", doc("  upgrade: {extraWorkers: -1}"),
			"f.yaml: scenarios[0].upgrade.extraWorkers: -1 is not accepted: 0 to 100"},
		{"rollback twice", doc("  upgrade: {rollback: {after: 50%, onFailure: true}}"),
			"f.yaml: scenarios[0].upgrade.rollback: give exactly one of after, such as 50%, and onFailure: true"},
		{"rollback after nothing", doc("  upgrade: {rollback: {after: 0%}}"),
			"f.yaml: scenarios[0].upgrade.rollback.after: \"0%\" is not accepted: a share of the workers above 0%, at most 100%"},
		{"bad duration", doc("  load: {timeout: 5 s}"),
			"f.yaml: scenarios[0].load.timeout: \"5 s\" is not accepted: a duration such as 90s, 15m or 1h30m"},
		{"duration without a unit", doc("  load: {baseline: 60}"),
			"f.yaml: scenarios[0].load.baseline: 60 is not accepted: a duration such as 90s, 15m or 1h30m"},
		{"negative duration", doc("  upgrade: {nodeInterval: -1s}"),
			"f.yaml: scenarios[0].upgrade.nodeInterval: \"-1s\" is not accepted: a duration such as 90s, 15m or 1h30m"},
		{"downgrade", "apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: {from: v1.35.4, to: v1.34.4}}]",
			"f.yaml: scenarios[0].versions.to: \"v1.34.4\" is not accepted: a downgrade from v1.35.4: Kubernetes cannot lower a control plane's version"},
		{"two minors at once", "apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: {from: v1.33.6, to: v1.35.4}}]",
			"f.yaml: scenarios[0].versions.to: \"v1.35.4\" is not accepted: more than one minor version above v1.33.6: give every hop, as in versions: [v1.33.6, v1.34.x, ..., v1.35.4]"},
		{"a hop of two minors", "apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: [v1.32.2, v1.33.6, v1.35.4]}]",
			"f.yaml: scenarios[0].versions.to: \"v1.35.4\" is not accepted: more than one minor version above v1.33.6: give every hop, as in versions: [v1.33.6, v1.34.x, ..., v1.35.4]"},
		{"a hop that goes nowhere", "apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: [v1.33.6, v1.33.6, v1.34.4]}]",
			"f.yaml: scenarios[0].versions.via[0]: \"v1.33.6\" is not accepted: the hop before it goes to this version already: leave one out"},
		{"a hop back", "apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: [v1.33.6, v1.34.4, v1.34.2]}]",
			"f.yaml: scenarios[0].versions.to: \"v1.34.2\" is not accepted: a downgrade from v1.34.4: Kubernetes cannot lower a control plane's version"},
		{"one version", "apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: [v1.33.6]}]",
			"f.yaml: scenarios[0].versions.to: missing: a full version such as v1.35.4"},
		{"version without patch", "apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: {from: v1.34, to: v1.35.4}}]",
			"f.yaml: scenarios[0].versions.from: \"v1.34\" is not accepted: a full version such as v1.35.4"},
		{"no versions", "apiVersion: rehearse/v1alpha1\nscenarios: [{name: s}]",
			"f.yaml: scenarios[0].versions.from: missing: a full version such as v1.35.4\nf.yaml: scenarios[0].versions.to: missing: a full version such as v1.35.4"},
		{"name that no cluster can bear", strings.Replace(doc(""), "name: s", "name: My_Cluster", 1),
			"f.yaml: scenarios[0].name: \"My_Cluster\" is not accepted: lower-case letters, digits and '-' only, beginning and ending with a letter or digit"},
		{"name twice", doc("- name: s\n  versions: {from: v1.34.4, to: v1.35.4}"),
			"f.yaml: scenarios[1].name: \"s\" stands there twice"},
		{"a stall's action that is none", doc("  upgrade: {onStall: wait}"),
			"f.yaml: scenarios[0].upgrade.onStall: \"wait\" is unknown; accepted: fail, delete-pod, force"},
		{"an action after the drain's end", doc("  upgrade: {onStall: force, drainTimeout: 3m}"),
			"f.yaml: scenarios[0].upgrade.stallTimeout: \"5m0s\" is not accepted: less than scenarios[0].upgrade.drainTimeout, 3m0s: the drain would be over before force is done"},
		{"empty budget", doc("  canary: {podDisruptionBudget: {}}"),
			"f.yaml: scenarios[0].canary.podDisruptionBudget: give exactly one of maxUnavailable and minAvailable"},
		{"share above one", doc("  thresholds: {successRate: 101%}"),
			"f.yaml: scenarios[0].thresholds.successRate: \"101%\" is not accepted: at most 100%"},
		{"share that is none", doc("  thresholds: {p50Increase: lots}"),
			"f.yaml: scenarios[0].thresholds.p50Increase: \"lots\" is not accepted: a share such as \"99.9%\" or 0.999, or \"off\" to report without judging"},
		{"percentage without its unit", doc("  thresholds: {p99Increase: 25}"),
			"f.yaml: scenarios[0].thresholds.p99Increase: 25 is not accepted: above 1 the unit must be there: 25%, or 2500% if that is meant"},
		{"percentage in quotes without its unit", doc("  thresholds: {successRate: '99.9'}"),
			"f.yaml: scenarios[0].thresholds.successRate: \"99.9\" is not accepted: above 1 the unit must be there: 99.9%, or 9990% if that is meant"},
		{"rate too low", doc("  load: {rate: 0.5}"),
			"f.yaml: scenarios[0].load.rate: 0.5 is not accepted: 1 to 100000 requests a second on each lane"},
		{"everything at once", doc("  cluster: {driver: x, workers: -1, zones: 3}\n  load: {lanes: [http9]}"),
			"f.yaml: scenarios[0].cluster.zones: unknown key; accepted: driver, kops, eks, controlPlanes, workers, network, kubeconfig, context\n" +
				"f.yaml: scenarios[0].cluster.driver: \"x\" is unknown; accepted: sim, kind, kops, eks, existing\n" +
				"f.yaml: scenarios[0].cluster.workers: -1 is not accepted: 1 to 100\n" +
				"f.yaml: scenarios[0].load.lanes[0]: \"http9\" is unknown; accepted: new, reused, http2, cached-dns, stream"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(tc.in))
			var invalid *InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("error %v, want an *InvalidError", err)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// What is no second document is none: marks around the only one, and its comments.
func TestOneDocumentBetweenMarks(t *testing.T) {
	for _, in := range []string{"---\n" + doc(""), "# mine\n---\n" + doc("") + "---\n", doc("") + "...\n", doc("") + "---\n# the end\n\n"} {
		if _, err := Parse("f.yaml", []byte(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestThresholdsOfTwoDocuments(t *testing.T) {
	_, err := ParseThresholds("t.yaml", []byte("thresholds: {longestOutage: 1s}\n---\nthresholds: {p99Increase: 15%}\n"), Thresholds{})
	want := "t.yaml: line 2: a second document begins, which would not be read: put all thresholds into one mapping"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := LoadFile("no-such.yaml")
	want := "no-such.yaml: cannot be read: no such file or directory; name a scenario file with -f"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDefaultsFillOnlyWhatIsLeftOut(t *testing.T) {
	f, err := Parse("f.yaml", []byte(doc("  cluster: {network: default}\n  canary: {shutdownDelay: 0s}\n  thresholds: {p99Increase: off, longestOutage: 3s}")))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Scenarios[0]
	if s.Canary.ShutdownDelay.Duration != 0 || s.Canary.GracePeriod.Duration != 10*time.Second {
		t.Errorf("shutdownDelay %s and gracePeriod %s, want the given 0s and the default 10s", s.Canary.ShutdownDelay, s.Canary.GracePeriod)
	}
	if !s.Thresholds.P99Increase.Off || s.Thresholds.LongestOutage.Duration != 3*time.Second || s.Thresholds.SuccessRate.Ratio != 0.999 {
		t.Errorf("thresholds %+v", s.Thresholds)
	}
	if s.Load.Rate != 200 || s.Cluster.Workers != 3 || s.Cluster.Driver != DriverSim {
		t.Errorf("defaults missing: %+v", s)
	}
	if diff := cmp.Diff([]string{"coredns", "kube-proxy", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}, s.Checks.SystemComponents); diff != "" {
		t.Errorf("components without flannel (-want +got):\n%s", diff)
	}
}

func TestBatchesOfTheStrategies(t *testing.T) {
	for upgrade, want := range map[string]int{
		"{}":                  1,
		"{maxUnavailable: 3}": 3,
		"{strategy: replace}": 1,
		"{strategy: replace, maxSurge: 1, maxUnavailable: 0}": 1,
		"{strategy: replace, maxSurge: 2}":                    3,
		"{strategy: pool-migration}":                          1,
		"{strategy: in-place, extraWorkers: 2}":               1,
	} {
		f, err := Parse("f.yaml", []byte(doc("  upgrade: "+upgrade)))
		if err != nil {
			t.Errorf("%s: %v", upgrade, err)
			continue
		}
		if got := f.Scenarios[0].Upgrade.Batch(); got != want {
			t.Errorf("%s: a batch of %d, want %d", upgrade, got, want)
		}
	}
}

func TestAPIAvailabilityIsJudgedWhereItCanBePromised(t *testing.T) {
	for fields, want := range map[string]Percent{
		"":                              {Off: true},
		"  cluster: {controlPlanes: 3}": {Ratio: 0.995},
		"  cluster: {controlPlanes: 3}\n  thresholds: {longestOutage: 2s}":    {Ratio: 0.995},
		"  cluster: {controlPlanes: 3}\n  thresholds: {apiAvailability: off}": {Off: true},
		"  cluster: {controlPlanes: 1}\n  thresholds: {apiAvailability: 98%}": {Ratio: 0.98},
	} {
		f, err := Parse("f.yaml", []byte(doc(fields)))
		if err != nil {
			t.Fatal(err)
		}
		s := f.Scenarios[0]
		if got := s.Thresholds.APIAvailability; got.Off != want.Off || !got.Off && got.Ratio != want.Ratio {
			t.Errorf("%q: %+v, want %+v", fields, got, want)
		}
		for _, c := range s.Criteria() {
			if c.ID == "api" && c.Required == want.Off {
				t.Errorf("%q: criterion api required %v", fields, c.Required)
			}
		}
	}
}

func TestShippedScenariosAreValidAndSurviveTheRecord(t *testing.T) {
	f, err := LoadFile("../scenarios.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Scenarios {
		b, err := s.Resolved()
		if err != nil {
			t.Fatal(err)
		}
		back, err := FromResolved(b)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		again, _ := back.Resolved()
		if string(b) != string(again) {
			t.Errorf("%s: resolved again gives\n%s\nwant\n%s", s.Name, again, b)
		}
	}
}

func TestPick(t *testing.T) {
	f := &File{Scenarios: []Scenario{{Name: "a"}, {Name: "b"}}}
	if s, err := f.Pick(""); err != nil || s.Name != "a" {
		t.Errorf("no name: got %v, %v, want the first", s, err)
	}
	if s, err := f.Pick("b"); err != nil || s.Name != "b" {
		t.Errorf("b: got %v, %v", s, err)
	}
	_, err := f.Pick("c")
	if want := `--scenario "c": no such scenario; the file has: a, b`; err == nil || err.Error() != want {
		t.Errorf("c: got %v, want %s", err, want)
	}
}

func TestThresholdsAnew(t *testing.T) {
	base := Default().Thresholds
	got, err := ParseThresholds("t.yaml", []byte("thresholds: {successRate: 99%}"), base)
	if err != nil {
		t.Fatal(err)
	}
	want := base
	want.SuccessRate = Pct(99)
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	_, err = ParseThresholds("t.yaml", []byte("thresholds: {sucessRate: 99%, longestOutage: soon}"), base)
	wantErr := "t.yaml: thresholds.sucessRate: unknown key; accepted: successRate, errorIncrease, longestOutage, p50Increase, p99Increase, latencyFloor, apiAvailability\n" +
		"t.yaml: thresholds.longestOutage: \"soon\" is not accepted: a duration such as 90s, 15m or 1h30m"
	if err == nil || err.Error() != wantErr {
		t.Errorf("got %v, want %s", err, wantErr)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(doc("  load: {rate: 3, lanes: [new]}")))
	f.Add([]byte("scenarios: [[]]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse("f.yaml", b)
		if (file == nil) == (err == nil) {
			t.Fatalf("file %v with error %v", file, err)
		}
	})
}

func TestVersionsAsAList(t *testing.T) {
	for in, want := range map[string]Versions{
		"[v1.34.4, v1.35.4]":                           {From: "v1.34.4", To: "v1.35.4"},
		"[v1.33.6, v1.34.4, v1.35.4]":                  {From: "v1.33.6", Via: []string{"v1.34.4"}, To: "v1.35.4"},
		"{from: v1.33.6, via: [v1.34.4], to: v1.35.4}": {From: "v1.33.6", Via: []string{"v1.34.4"}, To: "v1.35.4"},
	} {
		f, err := Parse("f.yaml", []byte("apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: "+in+"}]"))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, f.Scenarios[0].Versions); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
		resolved, err := f.Scenarios[0].Resolved()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := FromResolved(resolved); err != nil || cmp.Diff(want, again.Versions) != "" {
			t.Errorf("%s came back from the record as %+v, %v", in, again, err)
		}
	}
}
