package kind

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

func TestExposeBalancesOverTheWorkers(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `"container inspect ` + testName + `-balancer"`, stdout: `[{"Name":"/b","State":{"Status":"exited"}}]`},
		answer{match: `"logs "*`, stdout: "cannot bind\n"})...)
	_, err := newDriver(f, nil).Expose(t.Context(), theCluster(), cluster.Service{Namespace: "rehearse", Name: "canary", NodePort: 30080, HealthPath: "/readyz"})
	want := "expose service rehearse/canary: balancer " + testName + `-balancer is "exited" and publishes no port; it printed: cannot bind`
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	created := "create --name " + testName + "-balancer --hostname " + testName + "-balancer --label io.rehearse.run=4f2a91 --label io.rehearse.role=balancer " +
		"--label io.rehearse.node-port=30080 --network " + testName + " --cpu-shares 4096 --publish 127.0.0.1::8080/tcp --publish 127.0.0.1::9999/tcp --entrypoint haproxy kindest/haproxy:v1 -W -db -f /usr/local/etc/haproxy/haproxy.cfg"
	if diff := cmp.Diff([]string{created}, f.with("create --name")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	copied, err := os.ReadFile(filepath.Join(f.dir, "copied"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"server worker 172.20.0.3:30080\n", "server worker2 172.20.0.4:30080\n"} {
		if !strings.Contains(string(copied), want) {
			t.Errorf("the configuration lacks %q", want)
		}
	}
	if strings.Contains(string(copied), "172.20.0.2") {
		t.Error("the control plane is among the servers")
	}
}
