package mirror

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/scenarios"
)

func digest() string { return "sha256:" + strings.Repeat("0", 64) }

func simple(v string, planes, workers int) *Facts {
	return &Facts{Format: FactsFormat, Read: now(), Facts: []Fact{
		{Name: FactVersion, Value: v, Certainty: Observed, Evidence: "/version"},
		{Name: FactControlPlanes, Value: fmt.Sprint(planes), Certainty: Observed, Evidence: "labels"},
		{Name: FactWorkers, Value: fmt.Sprint(workers), Certainty: Observed, Evidence: "labels"},
		{Name: FactNetwork, Value: "flannel", Certainty: Observed, Evidence: "DaemonSet"},
	}}
}

func TestMake(t *testing.T) {
	for _, c := range []struct {
		name            string
		facts           *Facts
		want            Want
		planes, workers int
		hops            []string
		err             string
	}{
		{"as it is", simple("v1.34.4", 1, 4), Want{Driver: "kind", To: "v1.35.1"}, 1, 4, []string{"v1.34.4", "v1.35.1"}, ""},
		{"next minor", simple("v1.34.4+k3s1", 3, 4), Want{Driver: "kind"}, 3, 4, []string{"v1.34.4", "v1.35.0"}, ""},
		{"hops", simple("v1.33.4-gke.10", 5, 4), Want{Driver: "sim", To: "1.36.2"}, 3, 4, []string{"v1.33.4", "v1.34.0", "v1.35.0", "v1.36.2"}, ""},
		{"many workers", simple("v1.34.4", 2, 60), Want{Driver: "kind", To: "v1.34.5"}, 3, 10, []string{"v1.34.4", "v1.34.5"}, ""},
		{"as many as asked for", simple("v1.34.4", 2, 60), Want{Driver: "kind", To: "v1.34.5", Workers: 30}, 3, 30, []string{"v1.34.4", "v1.34.5"}, ""},
		{"sim holds more", simple("v1.34.4", 2, 600), Want{Driver: "sim", To: "v1.34.5"}, 3, 100, []string{"v1.34.4", "v1.34.5"}, ""},
		{"no workers", simple("v1.34.4", 1, 0), Want{Driver: "sim", To: "v1.34.5"}, 1, 1, []string{"v1.34.4", "v1.34.5"}, ""},
		{"back", simple("v1.34.4", 1, 1), Want{Driver: "sim", To: "v1.33.5"}, 0, 0, nil, "--to v1.33.5 is older than production's v1.34.4, and a control plane cannot go back: name a newer one"},
		{"nonsense", simple("v1.34.4", 1, 1), Want{Driver: "sim", To: "latest"}, 0, 0, nil, `--to "latest": want the form v1.35.4`},
		{"no version", simple("dev", 1, 1), Want{Driver: "sim"}, 0, 0, nil, `the cluster says that its version is "dev": want the form v1.35.4`},
		{"driver", simple("v1.34.4", 1, 1), Want{Driver: "aks"}, 0, 0, nil, `driver "aks" is unknown; accepted: kind, sim, kops, eks, existing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Name = "x"
			m, err := Make(c.facts, digest(), c.want)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("error %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := m.Scenario
			hops := append([]string{s.Versions.From}, s.Versions.Hops()...)
			if diff := cmp.Diff(c.hops, hops); diff != "" || s.Cluster.ControlPlanes != c.planes || s.Cluster.Workers != c.workers {
				t.Errorf("%d control planes, %d workers, versions:\n%s", s.Cluster.ControlPlanes, s.Cluster.Workers, diff)
			}
			if _, err := scenarios.Parse("x", m.YAML()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStandInsAreBounded leaves out what a small cluster cannot hold, and what
// a scenario may not name.
func TestStandInsAreBounded(t *testing.T) {
	f := simple("v1.34.4", 1, 2)
	add := func(namespace, name string, replicas int) {
		f.Workloads = append(f.Workloads, Workload{Namespace: namespace, Name: name, Kind: "Deployment", Replicas: replicas, MaxUnavailable: new(1), Evidence: "so\nit is"})
	}
	add("shop", "huge", 41)
	add("shop", "big", 30)
	add("shop", "web.v1", 2)
	add("shop", "web-v1", 2)
	add("rehearse", "canary", 2)
	add("shop", "last", 9)
	m, err := Make(f, digest(), Want{Name: "x", Driver: "kind"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range m.Scenario.Workloads {
		got = append(got, fmt.Sprintf("%s/%s %d", w.Namespace, w.Name, w.Replicas))
	}
	if diff := cmp.Diff([]string{"shop/big 30", "shop/web-v1 2"}, got); diff != "" {
		t.Errorf("stand-ins (-want +got):\n%s", diff)
	}
	if got := m.Notes["workloads"]; got != "4 more are left out: at most 20 stand-ins and 20 pods a worker" {
		t.Errorf("note %q", got)
	}
	if _, err := scenarios.Parse("x", m.YAML()); err != nil {
		t.Error(err)
	}
}

// TestHostileFactsStayInComments gives a cluster whose objects have names that
// would end a comment or a string.
func TestHostileFactsStayInComments(t *testing.T) {
	f := simple("v1.34.4", 1, 2)
	f.Facts[3] = Fact{Name: FactNetwork, Value: "x\n  workers: 99\u2028# \u0085", Certainty: Observed, Evidence: "a\nb: c"}
	f.Facts = append(f.Facts, Fact{Name: AddonPrefix + "a\nname: \"", Value: "\"\\\r\n- b", Certainty: Observed, Evidence: "\x00\nz: y"})
	m, err := Make(f, digest(), Want{Name: "x", Driver: "kind"})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := scenarios.Parse("x", m.YAML())
	if err != nil {
		t.Fatal(err)
	}
	if got := parsed.Scenarios[0].Cluster.Workers; got != 2 {
		t.Errorf("%d workers", got)
	}
	if diff := cmp.Diff(m.Scenario.Mirror.Uncovered, parsed.Scenarios[0].Mirror.Uncovered); diff != "" {
		t.Errorf("uncovered (-made +parsed):\n%s", diff)
	}
}

func TestCompare(t *testing.T) {
	v, objects := eks()
	production := read(t, "i-00", v, objects)
	m, err := Make(production, digest(), Want{Name: "x", Driver: "kind", To: "v1.35.1"})
	if err != nil {
		t.Fatal(err)
	}
	v, objects = kubeadm()
	objects = append(objects, deployment("shop", "api", "pause:3", 4, app("api")), budget("shop", "api", "api", nil, new(intstr.FromInt32(3))),
		deployment("shop", "db", "pause:3", 2, app("db")), budget("shop", "db", "db", new(intstr.FromInt32(1)), nil))
	built := read(t, "w1", v, objects)
	results := map[string]Difference{}
	for _, d := range Compare(production, built, &m.Scenario) {
		results[d.Fact] = d
	}
	for fact, want := range map[string]string{
		FactVersion: Same, FactControlPlanes: NotKnown, FactWorkers: Differs, FactNetwork: NotCovered, FactKubeProxy: NotCovered, FactRBAC: Same,
		FactInstanceTypes: NotKnown, AddonPrefix + "coredns": NotCovered, AddonPrefix + "aws-node": NotCovered,
		"stand-in shop/api": Same, "stand-in shop/db": Differs, "stand-in shop/web-v2": Differs,
	} {
		if got := results[fact]; got.Result != want {
			t.Errorf("%s: %+v, want %s", fact, got, want)
		}
	}
	if d := results[FactWorkers]; d.Why != "the scenario declares 6" || d.Mirror != "2" {
		t.Errorf("workers %+v", d)
	}
	built.Facts[0].Value = "v1.35.1"
	if d := Compare(production, built, &m.Scenario)[0]; d.Result != NotCovered || d.Why != "the mirror was upgraded already" {
		t.Errorf("upgraded %+v", d)
	}
	built.Facts[0].Value = "v1.33.1"
	if d := Compare(production, built, &m.Scenario)[0]; d.Result != Differs {
		t.Errorf("another version %+v", d)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                        "facts of format 0: this rehearse reads format 1; read production again with rehearse mirror --facts",
		`{"format":1,"secret":"x"}`: `no facts file: json: unknown field "secret"`,
		`{"format":1} {}`:           "no facts file: something follows the facts",
		`{"format":1,"facts":[{"name":"a","value":"b","certainty":"sure"}]}`:    `facts[0], a: certainty "sure" is unknown; accepted: observed, inferred, unknown`,
		`{"format":1,"facts":[{"name":"a","value":"b","certainty":"unknown"}]}`: `facts[0], a: a fact has a value exactly where it is not unknown`,
	} {
		if _, err := Decode([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	file, _, err := simple("v1.34.4", 1, 2).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`{"format":1,"facts":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		facts, err := Decode(b)
		if err != nil {
			return
		}
		m, err := Make(facts, digest(), Want{Name: "x", Driver: "kind"})
		if err != nil {
			return
		}
		if _, err := scenarios.Parse("x", m.YAML()); err != nil && !strings.Contains(err.Error(), "versions") {
			t.Errorf("%v\n%s", err, m.YAML())
		}
	})
}
