package kind

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answer is what the fake docker does for command lines that match a pattern
// of the shell. The first that matches counts; one that none matches succeeds
// and prints nothing.
type answer struct {
	match  string
	stdout string
	stderr string
	exit   int
	// after is text of an earlier call without which the answer is not given;
	// such answers come before all others.
	after string
	// turn is the one call of those that match, from 1, that is answered so; 0 is
	// all of them.
	turn int
}

// fakeDocker is a docker client that answers from a table and remembers what
// it was asked, at the same boundary at which the real one stands.
type fakeDocker struct {
	t   *testing.T
	dir string
}

func newFakeDocker(t *testing.T, answers ...answer) *fakeDocker {
	t.Helper()
	f := &fakeDocker{t: t, dir: t.TempDir()}
	var script strings.Builder
	fmt.Fprintf(&script, "#!/bin/sh\nprintf '%%s\\n' \"$*\" >>%s/calls\n", f.dir)
	for i, a := range answers {
		f.write(fmt.Sprintf("out%d", i), a.stdout)
		f.write(fmt.Sprintf("err%d", i), a.stderr)
		if a.after != "" {
			fmt.Fprintf(&script, "if grep -qF -- '%s' %s/calls; then case \"$*\" in %s) cat %s/out%d; cat %s/err%d >&2; exit %d;; esac; fi\n",
				a.after, f.dir, a.match, f.dir, i, f.dir, i, a.exit)
		}
	}
	var turns strings.Builder
	for i, a := range answers {
		if a.turn == 0 {
			continue
		}
		fmt.Fprintf(&script, "case \"$*\" in %[1]s) echo >>%[2]s/turns%[3]d;; esac\n", a.match, f.dir, i)
		fmt.Fprintf(&turns, "case \"$*\" in %[1]s) if [ $(wc -l <%[2]s/turns%[3]d) -eq %[4]d ]; then cat %[2]s/out%[3]d; cat %[2]s/err%[3]d >&2; exit %[5]d; fi;; esac\n",
			a.match, f.dir, i, a.turn, a.exit)
	}
	script.WriteString(turns.String())
	fmt.Fprintf(&script, "case \"$*\" in\n")
	for i, a := range answers {
		if a.after != "" || a.turn != 0 {
			continue
		}
		fmt.Fprintf(&script, "%s) cat %s/out%d; cat %s/err%d >&2; exit %d;;\n", a.match, f.dir, i, f.dir, i, a.exit)
	}
	fmt.Fprintf(&script, "\"exec --interactive \"*|target) cat >/dev/null;;\n")
	fmt.Fprintf(&script, "\"cp - \"*) cat >%s/copied;;\nesac\n", f.dir)
	f.write("docker", script.String())
	if err := os.Chmod(filepath.Join(f.dir, "docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fakeDocker) write(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// calls are the command lines so far, in order.
func (f *fakeDocker) calls() []string {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// with returns those calls that contain the text.
func (f *fakeDocker) with(text string) []string {
	var out []string
	for _, c := range f.calls() {
		if strings.Contains(c, text) {
			out = append(out, c)
		}
	}
	return out
}

func (f *fakeDocker) client() *docker.Client {
	return &docker.Client{Binary: filepath.Join(f.dir, "docker")}
}

// fakeImages has every image already.
type fakeImages struct{}

func (fakeImages) Node(_ context.Context, v cluster.Version) (string, error) {
	return "rehearse/node:" + v.String(), nil
}
func (fakeImages) Balancer(context.Context) (string, error) { return "kindest/haproxy:v1", nil }

// fakeKind creates what create says.
type fakeKind struct {
	mu         sync.Mutex
	create     func() error
	names      []string
	network    string // as the environment said while Create ran
	kubeconfig string
}

func (k *fakeKind) Create(name string, _ ...kindcluster.CreateOption) error {
	k.mu.Lock()
	k.names = append(k.names, name)
	k.network = os.Getenv(networkVariable)
	k.mu.Unlock()
	return k.create()
}

func (k *fakeKind) KubeConfig(string, bool) (string, error) { return k.kubeconfig, nil }

func newDriver(f *fakeDocker, k *fakeKind) *Driver {
	d := New(Options{Docker: f.client(), Images: fakeImages{}})
	d.newProvider = func(kindLogger) provider { return k }
	d.settlePoll = time.Millisecond
	return d
}

func spec() cluster.Spec {
	return cluster.Spec{RunID: "4f2a91", Name: "rehearse-test-4f2a91", Version: "v1.34.4", ControlPlanes: 1, Workers: 2, Network: "flannel"}
}

const testName = "rehearse-test-4f2a91"

// inspected is what `docker container inspect` prints for containers.
func inspected(containers ...string) string { return "[" + strings.Join(containers, ",") + "]" }

func nodeJSON(name, role, ip string) string {
	return fmt.Sprintf(`{"Id":"id-%s","Name":"/%s","State":{"Status":"running"},
		"Config":{"Labels":{"io.x-k8s.kind.cluster":%q,"io.x-k8s.kind.role":%q}},
		"NetworkSettings":{"Networks":{%q:{"IPAddress":%q}},"Ports":{"6443/tcp":[{"HostIp":"127.0.0.1","HostPort":"4%s"}]}}}`,
		name, name, testName, role, testName, ip, strings.ReplaceAll(ip, ".", "")[3:])
}

// threeNodes answers questions for the nodes of a cluster of three.
func threeNodes() []answer {
	return []answer{
		{match: `"ps "*"--filter label=io.x-k8s.kind.cluster=` + testName + `"*`, stdout: "a\nb\nc\n"},
		{match: `"container inspect a b c"`, stdout: inspected(
			nodeJSON(testName+"-worker", "worker", "172.20.0.3"),
			nodeJSON(testName+"-control-plane", "control-plane", "172.20.0.2"),
			nodeJSON(testName+"-worker2", "worker", "172.20.0.4"))},
	}
}

func theCluster() *cluster.Cluster { return &cluster.Cluster{Spec: spec()} }
