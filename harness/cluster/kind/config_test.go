package kind

import (
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/test/golden"
)

func TestKindConfig(t *testing.T) {
	for _, tc := range []struct {
		golden        string
		version       cluster.Version
		planes, works int
		machine       machine
	}{
		{"kind-plain.yaml", "v1.34.4", 1, 2, machine{flannel: true}},
		{"kind-restricted.yaml", "v1.34.4", 3, 3, machine{flannel: true, cgroupV1: true, noResourceCapability: true}},
		// Its kubelet does not know the field, and runs on cgroup v1 without.
		{"kind-1.30.yaml", "v1.30.14", 1, 0, machine{flannel: true, cgroupV1: true}},
	} {
		t.Run(tc.golden, func(t *testing.T) {
			s := spec()
			s.Version, s.ControlPlanes, s.Workers = tc.version, tc.planes, tc.works
			c, err := kindConfig(testName, s, "rehearse/node:"+s.Version.String(), tc.machine)
			if err != nil {
				t.Fatal(err)
			}
			got, err := renderConfig(c)
			if err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, tc.golden, got)
		})
	}
}

func TestKindConfigRefuses(t *testing.T) {
	for _, tc := range []struct {
		change func(*cluster.Spec)
		want   string
	}{
		{func(s *cluster.Spec) { s.ControlPlanes = 0 }, "0 control planes: want at least 1"},
		{func(s *cluster.Spec) { s.ControlPlanes = 2 },
			"2 control planes: want an odd number, an even one survives no more failures than one fewer"},
		{func(s *cluster.Spec) { s.Network = "calico" }, `network "calico": want flannel or default`},
		{func(s *cluster.Spec) { s.Network = "flannel" }, "network flannel: node image kindest/node:v1.34.4 does not bring it; " +
			"build one that does with `rehearse images build --from-source --kubernetes v1.34.4`, or ask for network default"},
	} {
		s := spec()
		tc.change(&s)
		_, err := kindConfig(testName, s, "kindest/node:v1.34.4", machine{})
		if err == nil || err.Error() != tc.want {
			t.Errorf("\n got %v\nwant %s", err, tc.want)
		}
	}
}

func TestClusterName(t *testing.T) {
	long := strings.Repeat("x", 40)
	for _, tc := range []struct{ name, runID, want, err string }{
		{"rehearse-a", "1", "rehearse-a", ""},
		{"a", "1", "rehearse-a", ""},
		{"", "1", "", "cluster without a name"},
		{"a", "", "", "cluster rehearse-a: no run id to mark it with"},
		{"A_b", "1", "", `cluster name "rehearse-A_b": want lower-case letters, digits and dashes`},
		{long, "1", "", `cluster name "rehearse-` + long + `" has 49 bytes: want at most 48, so that nodes named after it get a valid hostname`},
	} {
		got, err := clusterName(cluster.Spec{Name: tc.name, RunID: tc.runID})
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got != tc.want || message != tc.err {
			t.Errorf("%q: got %q, %q; want %q, %q", tc.name, got, message, tc.want, tc.err)
		}
	}
}

func TestBoundingSet(t *testing.T) {
	for _, tc := range []struct {
		status string
		lacks  bool
		err    string
	}{
		{"Name:\tcat\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\n", false, ""},
		{"CapBnd:\t00000000a80425fb\n", true, ""},
		{"Name:\tcat\n", false, "read the capability bounding set: /proc/self/status has no CapBnd line"},
		{"CapBnd:\tmany\n", false, `read the capability bounding set: strconv.ParseUint: parsing "many": invalid syntax`},
	} {
		set, err := boundingSet(tc.status)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if message != tc.err || err == nil && (set&(1<<capSysResource) == 0) != tc.lacks {
			t.Errorf("%q: got %x, %q", tc.status, set, message)
		}
	}
}

func TestBalancerConfig(t *testing.T) {
	b := Balancer{}.withDefaults()
	got, err := b.config("/readyz", []server{{"worker", "172.20.0.3:30080"}, {"worker2", "172.20.0.4:30080"}})
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "haproxy.cfg", string(got))

	b = Balancer{Interval: 8500 * time.Millisecond, Unhealthy: 2, Healthy: 5}.withDefaults()
	got, err = b.config("/healthz", []server{{"a", "b:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"default-server check inter 8500ms fall 2 rise 5\n", "uri /healthz ver"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if _, err := b.config("/", nil); err == nil || err.Error() != "a balancer without a server" {
		t.Errorf("no servers: %v", err)
	}
}

func TestDeleteCommand(t *testing.T) {
	got := New(Options{}).DeleteCommand(cluster.Spec{Name: "rehearse-x-4f2a91", RunID: "4f2a91"})
	want := "docker rm -f -v $(docker ps -aq --filter label=io.x-k8s.kind.cluster=rehearse-x-4f2a91) $(docker ps -aq --filter label=io.rehearse.run=4f2a91); docker network rm $(docker network ls -q --filter label=io.rehearse.run=4f2a91)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
