package clouds

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/drain"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const golden = "../../harness/cluster/kops/output/testdata"

// fakeKops answers as the real kops did, and while it rolls it prints the log of
// a real roll, whose machines it replaces in the embedded cluster as it goes.
type fakeKops struct {
	*fleet
	spec  cluster.Spec
	to    cluster.Version
	calls []string
	log   []string // of a real roll
	names map[string]string
	// fail ends the roll of the workers at the first drain, as a budget does.
	fail bool
	// hang is called, once, in the drain of the second worker, which has been cordoned
	// and does not end before kops does.
	hang func()
	// gone are groups whose machine has been replaced, joined those whose next
	// machine is there: another roll says nothing of it.
	gone, joined map[string]bool
	before       map[string]bool // gone when the present roll began
}

func (k *fakeKops) run(ctx context.Context, c command.Cmd) error {
	verb := strings.Join(c.Args[1:3], " ")
	yes := false
	value := map[string]string{}
	for i, a := range c.Args {
		if name, v, ok := strings.Cut(a, "="); ok {
			value[name] = v
		} else if i+1 < len(c.Args) {
			value[a] = c.Args[i+1]
		}
		yes = yes || a == "--yes"
	}
	called := verb
	if yes {
		called += " --yes"
	}
	if roles := value["--instance-group-roles"]; roles != "" {
		called += " " + roles
	}
	k.calls = append(k.calls, called)
	out := c.Stdout
	switch called {
	case "version --short":
		fmt.Fprintln(out, "1.35.0")
	case "get clusters":
		if k.spec.RunID == "" {
			return k.refuse(c, `Error: cluster not found "mirror.k8s.local"`)
		}
		fmt.Fprintf(out, `[{"metadata":{"name":"mirror.k8s.local"},"spec":{"cloudLabels":{"io.rehearse.run":%q}}}]`, k.spec.RunID)
	case "create cluster":
		_, id, _ := strings.Cut(value["--cloud-labels"], "=")
		if id == "" {
			_, id, _ = strings.Cut(strings.Join(c.Args, " "), "io.rehearse.run=")
		}
		k.spec = cluster.Spec{RunID: id, Name: "mirror", Version: cluster.Version("v" + value["--kubernetes-version"]), ControlPlanes: 3, Workers: 3}
	case "update cluster --yes":
		if k.c == nil {
			return k.make(ctx, k.spec)
		}
	case "export kubeconfig":
		return os.WriteFile(value["--kubeconfig"], []byte("fake\n"), 0o600)
	case "validate cluster":
		b, err := os.ReadFile(filepath.Join(golden, "validate-ok.json"))
		if err != nil {
			return err
		}
		_, err = out.Write(b)
		return err
	case "edit cluster":
		k.to = cluster.Version("v" + strings.TrimPrefix(value["--set"], "spec.kubernetesVersion="))
	case "rolling-update cluster --yes control-plane,apiserver":
		return k.roll(ctx, c, true)
	case "rolling-update cluster --yes":
		return k.roll(ctx, c, false)
	case "delete cluster --yes":
		spec := k.spec
		k.spec = cluster.Spec{}
		return k.Delete(ctx, spec)
	case "update cluster", "update cluster control-plane,apiserver", "update cluster --yes control-plane,apiserver":
	default:
		return k.refuse(c, "Error: the script does not know "+called)
	}
	return nil
}

func (k *fakeKops) refuse(c command.Cmd, text string) error {
	fmt.Fprintln(c.Stderr, text)
	return &command.Error{Args: c.Args, ExitCode: 1, Output: text, Err: fmt.Errorf("exit status 1")}
}

// begin reads the real log and gives its machines names of the embedded cluster.
func (k *fakeKops) begin(ctx context.Context) error {
	if k.log != nil {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(golden, "rolling-update.stderr"))
	if err != nil {
		return err
	}
	k.log = strings.SplitAfter(string(b), "\n")
	planes, err := k.nodes(ctx, true)
	if err != nil {
		return err
	}
	workers, err := k.nodes(ctx, false)
	if err != nil {
		return err
	}
	k.names, k.gone, k.joined = map[string]string{}, map[string]bool{}, map[string]bool{}
	all := slices.Concat(planes, workers)
	for _, m := range draining.FindAllStringSubmatch(string(b), -1) {
		k.names[m[1]] = all[len(k.names)]
	}
	if len(k.names) != len(all) {
		return fmt.Errorf("the log has %d machines, the cluster %d", len(k.names), len(all))
	}
	return nil
}

var (
	draining = regexp.MustCompile(`Draining the node: "([^"]+)"`)
	stopping = regexp.MustCompile(`Stopping instance "([^"]+)"`)
	tainting = regexp.MustCompile(`Tainting 1 node in "([^"]+)" instancegroup`)
	joining  = regexp.MustCompile(`waiting for \S+ after detaching instance`)
)

// roll prints the part of the log that is of the roles, and does what it says.
func (k *fakeKops) roll(ctx context.Context, c command.Cmd, controlPlane bool) error {
	if err := k.begin(ctx); err != nil {
		return err
	}
	k.before = maps.Clone(k.gone)
	header, plane, group := true, true, ""
	for _, line := range k.log {
		if m := tainting.FindStringSubmatch(line); m != nil {
			group = m[1]
		}
		last := strings.Contains(line, "Completed")
		header = header && !strings.Contains(line, "instancegroups.go")
		plane = plane && !strings.Contains(line, `in "nodes-`)
		if !last && k.silent(group, line) {
			continue
		}
		if plane != controlPlane && !header && !last {
			continue
		}
		for real, ours := range k.names {
			line = strings.ReplaceAll(line, real, ours)
		}
		fmt.Fprint(c.Stderr, line)
		if err := k.do(ctx, c, line, group, controlPlane); err != nil {
			return err
		}
	}
	return nil
}

// silent tells that kops does not print a line, since an earlier roll has done
// what it tells.
func (k *fakeKops) silent(group, line string) bool {
	if k.joined[group] && draining.MatchString(line) {
		delete(k.joined, group)
	}
	return k.before[group] || k.joined[group]
}

func (k *fakeKops) do(ctx context.Context, c command.Cmd, line, group string, controlPlane bool) error {
	if m := draining.FindStringSubmatch(line); m != nil {
		if k.fail && !controlPlane {
			return k.refuse(c, fmt.Sprintf("Error: failed to drain node %q: error draining node: global timeout reached: 1s", m[1]))
		}
		if k.hang != nil && !controlPlane && len(k.gone) == 4 {
			return k.hung(ctx, c, m[1], group)
		}
		return k.drain(ctx, m[1], io.Discard)
	}
	if joining.MatchString(line) {
		return k.join(ctx, k.to)
	}
	if stopping.MatchString(line) {
		k.gone[group] = true
	}
	m := stopping.FindStringSubmatch(line)
	switch {
	case m == nil:
		return nil
	case controlPlane:
		return k.plane(ctx, m[1], k.to, false)
	}
	return k.RemoveNode(ctx, k.c, m[1])
}

// hung is a drain that lasts until kops is ended.
func (k *fakeKops) hung(ctx context.Context, c command.Cmd, node, group string) error {
	n, err := k.c.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := drain.RunCordonOrUncordon(&drain.Helper{Ctx: ctx, Client: k.c.Client}, n, true); err != nil {
		return err
	}
	k.joined[group] = true
	hang := k.hang
	k.hang = nil
	hang()
	<-ctx.Done()
	return &command.Error{Args: c.Args, ExitCode: -1, Err: context.Cause(ctx)}
}

// kopsDriver is the real driver; only what reaches the canary is the embedded
// cluster's, which has no cloud's balancers.
type kopsDriver struct {
	*kops.Driver
	fleet *fleet
}

// Expose implements cluster.Exposer.
func (d kopsDriver) Expose(ctx context.Context, c *cluster.Cluster, s cluster.Service) (cluster.Endpoint, error) {
	return d.fleet.Expose(ctx, c, s)
}

// CanaryImage implements cluster.CanaryImager.
func (d kopsDriver) CanaryImage(ctx context.Context, c *cluster.Cluster) (string, error) {
	if _, err := d.Driver.CanaryImage(ctx, c); err != nil {
		return "", err
	}
	return d.fleet.CanaryImage(ctx, c)
}

func newKops(t *testing.T) (*fakeKops, kopsDriver) {
	k := &fakeKops{fleet: newFleet(t)}
	return k, k.driver()
}

// driver is the driver of one process.
func (k *fakeKops) driver() kopsDriver {
	d := kops.New(kops.Options{
		StateStore: "s3://state", Name: "mirror.k8s.local", Zones: []string{"us-east-1a"}, CanaryImage: "registry.example/canary:1",
		Run: k.run, Connect: func(cluster.Spec, []byte) (*cluster.Cluster, error) { return k.c, nil },
	})
	return kopsDriver{d, k.fleet}
}

const kopsScenario = `
- name: kops
  cluster: {driver: kops, controlPlanes: 3, workers: 3, kops: {stateStore: s3://state, name: mirror.k8s.local, zones: [us-east-1a]}}
  versions: {from: v1.34.4, to: v1.35.4}
  upgrade: {interval: 0s, postDrainDelay: 0s, validationInterval: 200ms}`

func TestRehearsalOnKops(t *testing.T) {
	t.Parallel()
	k, d := newKops(t)
	res := rehearse(t, kopsScenario, d)
	check(t, res)
	same(t, "calls of kops", []string{
		"version --short", "get clusters", "get clusters",
		"create cluster", "update cluster", "update cluster --yes", "export kubeconfig", "validate cluster",
		"get clusters", "version --short", "edit cluster", "update cluster control-plane,apiserver", "update cluster --yes control-plane,apiserver", "rolling-update cluster --yes control-plane,apiserver",
		"get clusters", "version --short", "update cluster --yes", "rolling-update cluster --yes", "update cluster --yes",
		"get clusters", "delete cluster --yes",
	}, k.calls)
	n := kinds(res.Record)
	same(t, "events of the driver", map[string]int{
		timeline.KindTaint: 6, timeline.KindDetach: 3, timeline.KindUpgradeStart: 6, timeline.KindCordon: 6, timeline.KindDrainStart: 6, timeline.KindDrainEnd: 6,
		timeline.KindDeregister: 12, timeline.KindTerminate: 6, timeline.KindWait: 15, timeline.KindValidation: 30, timeline.KindUpgradeEnd: 6, timeline.KindRollEnd: 2,
	}, n)
	if v := res.Record.Run.Versions; v.Before != "v1.34.4" || v.After != "v1.35.4" {
		t.Errorf("versions %+v", v)
	}
	if got, want := explain(res.Verdict, "versions"), "pass: The API server and 6 of 6 nodes run v1.35.4 and are Ready; 3 of them took the place of 3 that are gone."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestABlockedDrainOnKopsIsNoGoWithWhatIsLeft ends as a budget ends the roll.
func TestABlockedDrainOnKopsIsNoGoWithWhatIsLeft(t *testing.T) {
	t.Parallel()
	k, d := newKops(t)
	k.fail = true
	res := rehearse(t, kopsScenario, d)
	if res.Err != nil || res.Verdict.Outcome != "NO-GO" {
		t.Errorf("verdict %s, error %v", res.Verdict.Outcome, res.Err)
	}
	var left []string
	for _, f := range res.Record.Run.Findings {
		if f.ID == "left-behind" {
			left = append(left, f.Object+": "+f.Remedy)
		}
	}
	same(t, "left behind", []string{
		"detached instance/mirror-worker: aws ec2 terminate-instances --instance-ids mirror-worker", "cordoned node/mirror-worker: kubectl uncordon mirror-worker",
		"tainted nodes/nodes-us-east-1a (1): kubectl taint nodes -l kops.k8s.io/instancegroup=nodes-us-east-1a kops.k8s.io/scheduled-for-update-",
	}, left)
	if last := k.calls[len(k.calls)-1]; last != "delete cluster --yes" {
		t.Errorf("the cluster is still there: the last call is %s", last)
	}
}
