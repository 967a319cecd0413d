package kops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// bed is a driver whose kops is the script in testdata.
type bed struct {
	t    *testing.T
	dir  string
	d    *Driver
	spec cluster.Spec
	c    *cluster.Cluster
	log  bytes.Buffer
}

const ours = `{"metadata":{"name":"t.example.com","creationTimestamp":"2026-11-21T15:58:23Z"},"spec":{"cloudLabels":{"io.rehearse.run":"ab12cd"},"kubernetesVersion":"1.34.4"}}`

func newBed(t *testing.T, change func(*Options), nodes ...runtime.Object) *bed {
	t.Helper()
	script, err := filepath.Abs("testdata/kops")
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, dir: t.TempDir(), spec: cluster.Spec{RunID: "ab12cd", Name: "rehearse-x", Version: "v1.34.4", ControlPlanes: 3, Workers: 3, Network: "default"}}
	t.Setenv("FAKE", b.dir)
	b.c = &cluster.Cluster{Spec: b.spec, Client: fake.NewClientset(nodes...)}
	o := Options{
		Path: script, StateStore: "s3://kops-state", Name: "t.example.com", Zones: []string{"us-east-1a", "us-east-1b", "us-east-1c"}, CanaryImage: "registry.example/canary:1",
		Connect: func(_ cluster.Spec, kubeconfig []byte) (*cluster.Cluster, error) {
			if string(kubeconfig) != "fake\n" {
				return nil, errors.New("not the kubeconfig that kops exported: " + string(kubeconfig))
			}
			return b.c, nil
		},
	}
	if change != nil {
		change(&o)
	}
	b.d = New(o)
	b.put("version.stdout", "1.35.0\n")
	b.put("get-clusters.stdout", ours)
	t.Cleanup(func() { _ = b.d.forget() })
	return b
}

func (b *bed) put(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// golden lets kops answer what the real one printed; see output/testdata.
func (b *bed) golden(key, name, rc string) {
	b.t.Helper()
	for _, stream := range []string{".stdout", ".stderr"} {
		text, err := os.ReadFile(filepath.Join("output", "testdata", name+stream))
		if err != nil {
			b.t.Fatal(err)
		}
		b.put(key+stream, string(text))
	}
	b.put(key+".rc", rc)
}

func (b *bed) ctx() context.Context {
	return cluster.WithLog(b.t.Context(), slog.New(slog.DiscardHandler), &b.log)
}

// calls are the command lines, without the state store that all have.
func (b *bed) calls() []string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, "calls"))
	if err != nil {
		b.t.Fatal(err)
	}
	s := strings.ReplaceAll(string(text), " --name t.example.com --state s3://kops-state", "")
	if b.d.dir != "" {
		s = strings.ReplaceAll(s, b.d.dir, "DIR")
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

func node(name, version string, controlPlane bool) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	if controlPlane {
		n.Labels[cloud.LabelControlPlane] = ""
	}
	n.Status.NodeInfo.KubeletVersion = version
	return n
}

var options = cluster.RollOptions{
	ControlPlaneInterval: 10 * time.Minute, DrainTimeout: 15 * time.Minute, PostDrainDelay: 5 * time.Second, ValidationTimeout: 15 * time.Minute, Validations: 2,
}

const rollFlags = " --control-plane-interval=10m0s --node-interval=0s --drain-timeout=15m0s --post-drain-delay=5s --validation-timeout=15m0s --validate-count=2 --fail-on-drain-error=true --yes"

func TestFiveStages(t *testing.T) {
	b := newBed(t, nil, node("cp", "v1.35.4", true), node("w", "v1.35.4", false))
	b.golden("rolling-update-cluster.roles", "rolling-update", "0")
	b.golden("rolling-update-cluster", "rolling-update", "0")
	kinds := map[string]int{}
	o := options
	o.Progress = func(e timeline.Event) { kinds[e.Kind]++ }
	if err := b.d.RollControlPlane(b.ctx(), b.c, "v1.35.4", o); err != nil {
		t.Fatal(err)
	}
	if err := b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", o); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"get clusters -o json", "version --short",
		"edit cluster --set spec.kubernetesVersion=1.35.4",
		"update cluster --create-kube-config=false --instance-group-roles=control-plane,apiserver",
		"update cluster --create-kube-config=false --instance-group-roles=control-plane,apiserver --yes",
		"rolling-update cluster --instance-group-roles=control-plane,apiserver" + rollFlags,
		"get clusters -o json", "version --short",
		"update cluster --create-kube-config=false --yes",
		"rolling-update cluster" + rollFlags,
		"update cluster --create-kube-config=false --prune --yes",
	}
	if diff := cmp.Diff(want, b.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	// The golden log has six instances, three of them surged; it is played twice.
	wantKinds := map[string]int{
		timeline.KindTaint: 12, timeline.KindDetach: 6, timeline.KindUpgradeStart: 12, timeline.KindCordon: 12, timeline.KindDrainStart: 12, timeline.KindDrainEnd: 12,
		timeline.KindDeregister: 24, timeline.KindTerminate: 12, timeline.KindWait: 30, timeline.KindValidation: 60, timeline.KindUpgradeEnd: 12, timeline.KindRollEnd: 2,
		// The script's own lines, which kops never printed.
		timeline.KindFailure: 2,
	}
	if diff := cmp.Diff(wantKinds, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestStagesOfOlderKops(t *testing.T) {
	b := newBed(t, nil, node("cp", "v1.30.4", true), node("w", "v1.30.4", false))
	b.put("version.stdout", "1.30.1\n")
	if err := b.d.RollControlPlane(b.ctx(), b.c, "v1.30.4", options); err != nil {
		t.Fatal(err)
	}
	if err := b.d.RollWorkers(b.ctx(), b.c, "v1.30.4", options); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"get clusters -o json", "version --short",
		"edit cluster --set spec.kubernetesVersion=1.30.4",
		"update cluster --create-kube-config=false", "update cluster --create-kube-config=false --yes",
		"rolling-update cluster --instance-group-roles=control-plane,apiserver" + rollFlags,
		"get clusters -o json", "version --short",
		"rolling-update cluster" + rollFlags,
	}
	if diff := cmp.Diff(want, b.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestABlockedDrainIsNamedWithWhatIsLeft(t *testing.T) {
	b := newBed(t, nil, node("cp", "v1.35.4", true))
	b.golden("rolling-update-cluster", "drain-blocked-by-pdb", "1")
	var refused []string
	o := options
	o.Progress = func(e timeline.Event) {
		if e.Kind == timeline.KindEvictRefused {
			refused = append(refused, e.Subject+" on "+e.Detail["node"])
		}
	}
	err := b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", o)
	var roll *cluster.RollError
	if !errors.As(err, &roll) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`roll the workers: failed to drain node "i-000eb2f2fd6609bc8": error draining node: error when evicting pods/"web-68fc8469f5-b5w94" -n "default": global timeout reached: 18s`,
		"; left behind: detached instance i-000eb2f2fd6609bc8 (aws ec2 terminate-instances --instance-ids i-000eb2f2fd6609bc8); cordoned node i-000eb2f2fd6609bc8 (kubectl uncordon i-000eb2f2fd6609bc8); " +
			"tainted nodes nodes-us-east-1a (1) (kubectl taint nodes -l kops.k8s.io/instancegroup=nodes-us-east-1a kops.k8s.io/scheduled-for-update-)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if len(refused) != 4 || refused[0] != "pod/default/web-68fc8469f5-b5w94 on i-000eb2f2fd6609bc8" {
		t.Errorf("refused: %q", refused)
	}
	if calls := b.calls(); !strings.HasPrefix(calls[len(calls)-2], "rolling-update") || calls[len(calls)-1] != "get instances -o json" {
		t.Errorf("something else was called after the failure: %q", calls)
	}
	if !strings.Contains(b.log.String(), "evicting pod default/web-68fc8469f5-b5w94") {
		t.Error("the step's log lacks what kops printed")
	}
}

// kops says nothing of what a roll before this one has detached, cordoned and
// tainted.
func TestLeftByAnEarlierRoll(t *testing.T) {
	w := node("i-1", "v1.34.4", false)
	w.Labels["kops.k8s.io/instancegroup"] = "nodes-us-east-1b"
	w.Spec.Unschedulable = true
	w.Spec.Taints = []corev1.Taint{{Key: "kops.k8s.io/scheduled-for-update", Effect: corev1.TaintEffectPreferNoSchedule}}
	b := newBed(t, nil, node("cp", "v1.35.4", true), w)
	b.golden("rolling-update-cluster", "drain-blocked-by-pdb", "1")
	b.put("get-instances.stdout", `[{"id":"i-000eb2f2fd6609bc8","nodeName":"i-000eb2f2fd6609bc8","status":"Detached","instanceGroup":"nodes-us-east-1a.t.example.com"},`+
		`{"id":"i-1","status":"Detached","instanceGroup":"nodes-us-east-1b.t.example.com"},{"id":"i-2","status":"NeedsUpdate","instanceGroup":"nodes-us-east-1b.t.example.com"}]`)
	told := func() []string {
		var roll *cluster.RollError
		if err := b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", options); !errors.As(err, &roll) {
			t.Fatalf("got %v", err)
		}
		var all []string
		for _, l := range roll.Left {
			all = append(all, l.Kind+" "+l.Name)
		}
		return all
	}
	want := []string{"detached instance i-000eb2f2fd6609bc8", "detached instance i-1", "cordoned node i-1", "cordoned node i-000eb2f2fd6609bc8", "tainted nodes nodes-us-east-1b (1)", "tainted nodes nodes-us-east-1a (1)"}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	// What cannot be listed takes nothing from what the roll has said.
	b.put("get-instances.stdout", "no JSON")
	want = []string{"cordoned node i-1", "detached instance i-000eb2f2fd6609bc8", "cordoned node i-000eb2f2fd6609bc8", "tainted nodes nodes-us-east-1b (1)", "tainted nodes nodes-us-east-1a (1)"}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestARollThatLandedNothingIsAnError(t *testing.T) {
	b := newBed(t, nil, node("cp-a", "v1.35.4", true), node("cp-b", "v1.34.4", true), node("w", "v1.34.4", false))
	err := b.d.RollControlPlane(b.ctx(), b.c, "v1.35.4", options)
	if want := "the roll to v1.35.4 ended without an error, and 1 of 2 nodes (control plane) have not that version: cp-b runs v1.34.4"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	err = b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", options)
	if err == nil || !strings.Contains(err.Error(), "1 of 1 nodes (worker) have not that version: w runs v1.34.4") {
		t.Errorf("got %v", err)
	}
}

func TestAKilledKopsLeavesAReport(t *testing.T) {
	b := newBed(t, nil)
	b.golden("rolling-update-cluster", "node-did-not-join", "1")
	b.put("rolling-update-cluster.hang", "")
	ctx, cancel := context.WithCancelCause(b.ctx())
	o := options
	o.Progress = func(e timeline.Event) {
		if e.Kind == timeline.KindRollEnd {
			cancel(errors.New("interrupted"))
		}
	}
	err := b.d.RollWorkers(ctx, b.c, "v1.35.4", o)
	if err == nil || !strings.Contains(err.Error(), "interrupted") || !strings.Contains(err.Error(), "left behind: detached instance i-000caca8b382656e0 (aws ec2 terminate-instances --instance-ids i-000caca8b382656e0)") {
		t.Errorf("got %v", err)
	}
}

func TestEveryCallHasATimeout(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Timeouts.Query = 50 * time.Millisecond })
	b.put("version.hang", "")
	_, err := b.d.Preflight(b.ctx(), b.spec, "v1.35.4")
	if err == nil || !strings.Contains(err.Error(), "kops did not end within 50ms and was killed") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheRunsOwnClusterIsTouched(t *testing.T) {
	for label, doc := range map[string]string{
		"production":  `{"metadata":{"name":"t.example.com"},"spec":{}}`,
		"another run": `{"metadata":{"name":"t.example.com"},"spec":{"cloudLabels":{"io.rehearse.run":"ffffff"}}}`,
	} {
		t.Run(label, func(t *testing.T) {
			b := newBed(t, nil)
			b.put("get-clusters.stdout", doc)
			for what, err := range map[string]error{
				"delete": b.d.Delete(b.ctx(), b.spec), "roll": b.d.RollControlPlane(b.ctx(), b.c, "v1.35.4", options), "workers": b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", options),
			} {
				if !errors.Is(err, errNotOurs) || !strings.Contains(err.Error(), "so it is left alone") {
					t.Errorf("%s: %v", what, err)
				}
			}
			for _, c := range b.calls() {
				if c != "get clusters -o json" {
					t.Errorf("called %s", c)
				}
			}
			// A spec without an id owns nothing.
			s := b.spec
			s.RunID = ""
			if err := b.d.Delete(b.ctx(), s); !errors.Is(err, errNotOurs) {
				t.Errorf("without an id: %v", err)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	finding := func(id, object, cause, remedy string) record.Finding {
		return record.Finding{ID: id, Severity: record.SeverityBlock, Object: object, Cause: cause, Remedy: remedy}
	}
	none := func(b *bed) {
		b.put("get-clusters.stdout", "")
		b.put("get-clusters.stderr", `Error: cluster not found "t.example.com"`)
		b.put("get-clusters.rc", "1")
	}
	fails := func(text string) func(*bed) {
		return func(b *bed) {
			none(b)
			b.put("get-clusters.stderr", "Error: "+text)
		}
	}
	for name, tc := range map[string]struct {
		change  func(*Options)
		prepare func(*bed)
		want    []record.Finding
	}{
		"all is well": {nil, none, nil},
		"no kops": {func(o *Options) { o.Path = "/nowhere/kops" }, none, []record.Finding{
			finding("kops-missing", "kops", "kops was not found at /nowhere/kops", "install it (https://kops.sigs.k8s.io/getting_started/install/) or name it in cluster.kops.path"),
		}},
		"kops too old for the target": {nil, func(b *bed) { none(b); b.put("version.stdout", "1.34.1\n") }, []record.Finding{
			finding("kops-version", "kops", "kops 1.34.1 is too old for Kubernetes v1.35.4: it supports none newer than 1.34", "install kops 1.35 (https://github.com/kubernetes/kops/releases) and name it in cluster.kops.path"),
		}},
		"kops too new for the source": {nil, func(b *bed) { none(b); b.put("version.stdout", "1.41.0-alpha.1\n") }, []record.Finding{
			finding("kops-version", "kops", "kops 1.41.0-alpha.1 is too new for Kubernetes v1.34.4: it supports none older than 1.35", "install kops 1.35 (https://github.com/kubernetes/kops/releases) and name it in cluster.kops.path"),
		}},
		"cluster exists": {nil, func(*bed) {}, []record.Finding{
			finding("cluster-exists", "cluster/t.example.com", "the state store holds a cluster of this name already", "give cluster.kops.name another name, or delete that cluster if it is not used: SCRIPT delete cluster --yes"),
		}},
		"missing bucket": {nil, fails("operation error S3: ListObjectsV2, https response error StatusCode: 404, NoSuchBucket: "), []record.Finding{
			finding("state-store", "s3://kops-state", "the bucket of the state store does not exist", "create it (aws s3api create-bucket), turn on versioning, or correct cluster.kops.stateStore"),
		}},
		"no credentials": {nil, fails("get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found"), []record.Finding{
			finding("state-store", "s3://kops-state", "no AWS credentials were found", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"),
		}},
		"expired": {nil, fails("api error ExpiredToken: The provided token has expired."), []record.Finding{
			finding("state-store", "s3://kops-state", "the AWS credentials have expired", "renew them (aws sso login, or a new session token); a rehearsal needs them for its whole length"),
		}},
		"wrong region": {nil, fails("api error PermanentRedirect: The bucket you are attempting to access must be addressed using the specified endpoint"), []record.Finding{
			finding("state-store", "s3://kops-state", "the bucket of the state store is in another region", "set S3_REGION or AWS_REGION to the region in which it was made"),
		}},
		"throttled": {nil, fails("api error SlowDown: Please reduce your request rate"), []record.Finding{
			finding("state-store", "s3://kops-state", "AWS throttles the account", "wait and start again, or ask for a higher request rate"),
		}},
		"nothing given": {func(o *Options) {
			o.StateStore, o.Zones, o.CanaryImage, o.SSHPublicKey = "kops-state", nil, "", "/nowhere/id.pub"
		}, none, []record.Finding{
			finding("kops-options", "cluster.kops.stateStore", `"kops-state" is no state store`, "give a bucket as s3://BUCKET, versioned and not public"),
			finding("kops-options", "cluster.kops.zones", "no availability zone is given, and no manifest", "name the zones, such as [eu-west-1a, eu-west-1b, eu-west-1c]"),
			finding("kops-options", "canary.image", "nodes in AWS cannot take the canary's image from this machine", "push it to a registry that the nodes can pull from and name it"),
			finding("kops-options", "cluster.kops.sshPublicKey", "stat /nowhere/id.pub: no such file or directory", "correct the path, or leave it out"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, tc.change)
			tc.prepare(b)
			got, err := b.d.Preflight(b.ctx(), b.spec, "v1.35.4")
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].Remedy = strings.ReplaceAll(strings.ReplaceAll(got[i].Remedy, b.d.o.Path, "SCRIPT"), " --name t.example.com --state s3://kops-state", "")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCreateFromFlags(t *testing.T) {
	b := newBed(t, func(o *Options) { o.NodeSize, o.AdminAccess, o.DNS = "m6i.large", []string{"203.0.113.0/24"}, "none" })
	ok, err := os.ReadFile("output/testdata/validate-ok.json")
	if err != nil {
		t.Fatal(err)
	}
	b.put("validate-cluster.stdout", string(ok))
	c, err := b.d.Create(b.ctx(), b.spec)
	if err != nil || c != b.c {
		t.Fatalf("%v, %v", c, err)
	}
	want := []string{
		"create cluster --cloud aws --kubernetes-version 1.34.4 --zones us-east-1a,us-east-1b,us-east-1c --control-plane-count 3 --node-count 3 --node-size m6i.large --networking cilium --dns none " +
			"--admin-access 203.0.113.0/24 --authorization RBAC --cloud-labels io.rehearse.run=ab12cd",
		"update cluster --create-kube-config=false", "update cluster --create-kube-config=false --yes",
		"export kubeconfig --admin=72h --kubeconfig DIR/kubeconfig",
		"validate cluster --wait 20m0s --count 2 --kubeconfig DIR/kubeconfig -o json",
	}
	if diff := cmp.Diff(want, b.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	info, err := os.Stat(b.d.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the credentials: %v, %v", info, err)
	}
}

func TestCreateNamesWhatKeepsAClusterFromBeingHealthy(t *testing.T) {
	b := newBed(t, nil)
	bad, err := os.ReadFile("output/testdata/validate-wait-concatenated.json")
	if err != nil {
		t.Fatal(err)
	}
	b.put("validate-cluster.stdout", string(bad))
	b.put("validate-cluster.rc", "1")
	const want = `cluster t.example.com did not become healthy: Node i-0001a4d6347bf1606: control-plane node "i-0001a4d6347bf1606" is missing kube-scheduler pod (instance group control-plane-us-east-1c): `
	if _, err := b.d.Create(b.ctx(), b.spec); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestDelete(t *testing.T) {
	t.Run("all of it", func(t *testing.T) {
		b := newBed(t, nil)
		if err := b.d.Delete(b.ctx(), b.spec); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"get clusters -o json", "delete cluster --yes"}, b.calls()); diff != "" {
			t.Error(diff)
		}
		if b.d.dir != "" {
			t.Error("the credentials are still there")
		}
	})
	t.Run("gone already", func(t *testing.T) {
		b := newBed(t, nil)
		b.put("get-clusters.stderr", `Error: cluster not found "t.example.com"`)
		b.put("get-clusters.rc", "1")
		if err := b.d.Delete(b.ctx(), b.spec); err != nil {
			t.Error(err)
		}
	})
	t.Run("half", func(t *testing.T) {
		b := newBed(t, nil)
		preview, err := os.ReadFile("output/testdata/delete-preview.stdout")
		if err != nil {
			t.Fatal(err)
		}
		b.put("delete-cluster.dry.stdout", string(preview))
		b.put("delete-cluster.rc", "1")
		err = b.d.Delete(b.ctx(), b.spec)
		var left *cluster.RollError
		if !errors.As(err, &left) || len(left.Left) != 36 {
			t.Fatalf("got %v", err)
		}
		if got := left.Left[35]; got.Kind != "vpc" || got.Name != "vpc-1" || !strings.HasSuffix(got.Delete, "delete cluster --name t.example.com --state s3://kops-state --yes") {
			t.Errorf("got %+v", got)
		}
	})
}

func TestLeftovers(t *testing.T) {
	b := newBed(t, nil)
	b.put("get-clusters.stdout", `[`+ours+`,{"metadata":{"name":"production.example.com"},"spec":{}}]`)
	got, err := b.d.Leftovers(b.ctx())
	if err != nil || len(got) != 1 || got[0].Name != "t.example.com" || got[0].RunID != "ab12cd" || got[0].Created.Year() != 2026 {
		t.Errorf("%+v, %v", got, err)
	}
	b.put("get-clusters.stdout", "")
	b.put("get-clusters.stderr", "Error: no clusters found")
	b.put("get-clusters.rc", "1")
	if got, err := b.d.Leftovers(b.ctx()); err != nil || got != nil {
		t.Errorf("an empty store: %+v, %v", got, err)
	}
}

// TestNoSecretIsTold plants credentials where kops finds them, and looks for
// them in everything that the driver tells and writes.
func TestNoSecretIsTold(t *testing.T) {
	const key, token = "planted-secret-key-0001", "planted-session-token-0002"
	t.Setenv("AWS_SECRET_ACCESS_KEY", key)
	t.Setenv("AWS_SESSION_TOKEN", token)
	b := newBed(t, nil, node("cp", "v1.35.4", true))
	b.golden("rolling-update-cluster", "terminate-denied-cloudonly", "1")
	var told strings.Builder
	o := options
	o.Progress = func(e timeline.Event) {
		told.WriteString(e.Kind + e.Subject + strings.Join(slices.Collect(maps.Values(e.Detail)), " "))
	}
	ctx := cluster.WithLog(t.Context(), slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug})), &told)
	findings, err := b.d.Preflight(ctx, b.spec, "v1.35.4")
	fmt.Fprintln(&told, findings, err, b.d.RollWorkers(ctx, b.c, "v1.35.4", o), b.d.Delete(ctx, b.spec), b.calls())
	if !strings.Contains(told.String(), "UnauthorizedOperation") {
		t.Errorf("kops was not heard:\n%s", told.String())
	}
	for _, secret := range []string{key, token} {
		if strings.Contains(told.String(), secret) {
			t.Errorf("%q was told:\n%s", secret, told.String())
		}
	}
}
