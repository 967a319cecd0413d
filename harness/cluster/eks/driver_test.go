package eks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// bed is a driver on a fake AWS with a cluster of two groups at 1.34.
type bed struct {
	a      *fakeaws.AWS
	d      *Driver
	client *fake.Clientset
	spec   cluster.Spec
	log    bytes.Buffer
	events []string
}

func newBed(t *testing.T, change func(*Options)) *bed {
	t.Helper()
	b := &bed{a: fakeaws.New(), client: fake.NewClientset(), spec: cluster.Spec{RunID: "ab12cd", Name: "rehearse-x", Version: "v1.34.4", ControlPlanes: 1, Workers: 3}}
	subnets := []string{"subnet-a", "subnet-b"}
	b.a.EC2.Subnets = []fakeaws.Subnet{{ID: "subnet-a", VPC: "vpc-1", Zone: "eu-west-1a", State: "available", Free: 100}, {ID: "subnet-b", VPC: "vpc-1", Zone: "eu-west-1b", State: "available", Free: 100}}
	b.a.EKS.UpdateTakes, b.a.EKS.Makes = 9*time.Minute, 4*time.Minute
	b.a.EKS.FailUpdate = map[string]fakeaws.UpdateError{}
	b.a.EKS.Clusters["payments"] = &fakeaws.Cluster{
		Name: "payments", Version: "1.34", Subnets: subnets, VPC: "vpc-1",
		Groups: map[string]*fakeaws.Group{"apps": {Name: "apps", Version: "1.34", Desired: 2}, "batch": {Name: "batch", Version: "1.34", Desired: 1}},
		Addons: map[string]string{"coredns": "v1.11.4-eksbuild.1", "kube-proxy": "v1.34.0-eksbuild.1", "vpc-cni": "v1.20.0-eksbuild.1"},
		Insights: []fakeaws.Insight{
			{ID: "i1", Name: "Kubelet version skew", Status: "PASSING", Version: "1.35", Refreshed: time.Now().Add(-time.Hour)},
		},
	}
	b.a.EKS.AddonDefaults = map[string]string{"coredns/1.35": "v1.12.4-eksbuild.1", "kube-proxy/1.35": "v1.35.0-eksbuild.2", "vpc-cni/1.35": "v1.20.0-eksbuild.1"}
	b.server("v1.34.2-eks-3025e55")
	for _, n := range []string{"apps-1", "apps-2", "batch-1"} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}}
		node.Status.NodeInfo.KubeletVersion = "v1.34.2-eks-3025e55"
		if _, err := b.client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b.a.EKS.Done = func(what, to string) {
		runs := "v1.35.1-eks-7ab61a2"
		if to == "1.34" {
			runs = "v1.34.2-eks-3025e55"
		}
		if what == "cluster" {
			b.server(runs)
		}
		group, isGroup := strings.CutPrefix(what, "nodegroup/")
		nodes, err := b.client.CoreV1().Nodes().List(context.WithoutCancel(t.Context()), metav1.ListOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		for i := range nodes.Items {
			if n := &nodes.Items[i]; isGroup && strings.HasPrefix(n.Name, group+"-") {
				n.Status.NodeInfo.KubeletVersion = runs
				if _, err := b.client.CoreV1().Nodes().Update(context.WithoutCancel(t.Context()), n, metav1.UpdateOptions{}); err != nil {
					t.Error(err)
				}
			}
		}
	}
	o := Options{Clients: aws.FromConfig(b.a.Config()), Existing: "payments", CanaryImage: "registry.example/canary:1", Connect: func(s cluster.Spec, c *rest.Config) (*cluster.Cluster, error) {
		return &cluster.Cluster{Spec: s, Client: b.client, Config: c}, nil
	}}
	if change != nil {
		change(&o)
	}
	b.d = New(o)
	return b
}

func (b *bed) server(v string) {
	b.client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: v}
}

func (b *bed) ctx(t *testing.T) context.Context {
	return cluster.WithLog(t.Context(), slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})), &b.log)
}

// options note each event with the minute in which it was told.
func (b *bed) options() cluster.RollOptions {
	begun := time.Now()
	return cluster.RollOptions{Progress: func(e timeline.Event) {
		s := fmt.Sprintf("%dm %s %s %s", int(time.Since(begun).Minutes()), e.Kind, e.Subject, e.Detail["to"])
		if code := e.Detail["code"]; code != "" {
			s += " " + code
		}
		b.events = append(b.events, strings.TrimSpace(s))
	}}
}

func (b *bed) cluster() *cluster.Cluster { return &cluster.Cluster{Spec: b.spec, Client: b.client} }

func TestUpgradeOfControlPlaneAddonsAndGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, func(o *Options) { o.MaxUnavailPC, o.Strategy = 33, "MINIMAL" })
		o := b.options()
		o.NodeInterval = 5 * time.Minute
		if err := b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", o); err != nil {
			t.Fatal(err)
		}
		if err := b.d.RollWorkers(b.ctx(t), b.cluster(), "v1.35.4", o); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"0m upgrade-start control-plane/payments v1.35.4", "9m upgrade-end control-plane/payments v1.35.4",
			"9m upgrade-start addon/coredns v1.12.4-eksbuild.1", "18m upgrade-end addon/coredns v1.12.4-eksbuild.1",
			"18m upgrade-start addon/kube-proxy v1.35.0-eksbuild.2", "27m upgrade-end addon/kube-proxy v1.35.0-eksbuild.2",
			"27m upgrade-start group/apps v1.35.4", "36m upgrade-end group/apps v1.35.4", // its configuration
			"36m upgrade-start group/apps v1.35.4", "45m upgrade-end group/apps v1.35.4", "45m wait group/apps",
			"50m upgrade-start group/batch v1.35.4", "59m upgrade-end group/batch v1.35.4",
			"59m upgrade-start group/batch v1.35.4", "68m upgrade-end group/batch v1.35.4", "68m wait group/batch",
		}
		if diff := cmp.Diff(want, b.events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		g := b.a.EKS.Clusters["payments"].Groups["apps"]
		if g.MaxPercent != 33 || g.Strategy != "MINIMAL" || g.Forced || g.Version != "1.35" {
			t.Errorf("group %+v", g)
		}
		// Gone on with, nothing is left to do.
		b.events = nil
		o.NodeInterval = 0
		if err := errors.Join(b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", o), b.d.RollWorkers(b.ctx(t), b.cluster(), "v1.35.4", o)); err != nil || b.events != nil {
			t.Errorf("%v, %q", err, b.events)
		}
	})
}

func TestEveryErrorCodeHasARemedy(t *testing.T) {
	for _, code := range types.ErrorCode("").Values() {
		if remedies[code] == "" {
			t.Errorf("%s has no remedy", code)
		}
	}
}

func TestAFailedGroupNamesCodeAndRemedy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		b.a.EKS.Clusters["payments"].Version, b.a.EKS.Clusters["payments"].Before = "1.35", "1.34"
		b.server("v1.35.1-eks-7ab61a2")
		b.a.EKS.Clusters["payments"].Groups["apps"].Issues = []fakeaws.UpdateError{{Code: "AccessDenied", Message: "the role may not"}}
		b.a.EKS.FailUpdate["nodegroup/apps"] = fakeaws.UpdateError{Code: "PodEvictionFailure", Message: "Reached max retries while trying to evict pods from nodes in node group apps", Resources: []string{"ip-10-0-0-1.ec2.internal"}}
		err := b.d.RollWorkers(b.ctx(t), b.cluster(), "v1.35.4", b.options())
		const want = "node group apps: EKS says failed (update u-3); PodEvictionFailure: Reached max retries while trying to evict pods from nodes in node group apps (ip-10-0-0-1.ec2.internal); " +
			"a disruption budget, or a pod that tolerates every taint, keeps its node: add a replica or loosen the budget. force deletes the pods instead, as an operator would at night; " +
			"group apps: AccessDenied: the role may not; left behind: node group apps with nodes of two versions (aws eks update-nodegroup-version --region eu-west-1 --cluster-name payments --nodegroup-name apps)"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if last := b.events[len(b.events)-1]; last != "27m upgrade-end group/apps v1.35.4 PodEvictionFailure" {
			t.Errorf("the last event is %q", last)
		}
	})
}

func TestGroupsMustMatchBeforeTheControlPlaneMoves(t *testing.T) {
	b := newBed(t, nil)
	b.a.EKS.Clusters["payments"].Groups["batch"].Version = "1.33"
	err := b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", b.options())
	const want = "cluster payments: its control plane is at 1.34, and batch is at 1.33: EKS moves a control plane on only when its managed groups match; update them first"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if slices.Contains(b.a.Calls(), "eks:UpdateClusterVersion") {
		t.Error("EKS was asked nevertheless")
	}
}

func TestThrottlingWhileAnUpdateIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		b.a.Fail("eks:DescribeUpdate", fakeaws.Fault{Status: 429, Code: "ThrottlingException", Message: "Rate exceeded", Times: 10})
		if err := b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", b.options()); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		b.a.Fail("eks:DescribeUpdate", fakeaws.Fault{Status: 429, Code: "ThrottlingException", Message: "Rate exceeded", Times: -1})
		err := b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", b.options())
		if err == nil || !strings.Contains(err.Error(), "control plane of payments: eks:DescribeUpdate u-1: AWS throttles the account; wait and start again") || !strings.Contains(err.Error(), "left behind: EKS update control plane of payments u-1 (EKS goes on with it") {
			t.Errorf("got %v", err)
		}
	})
}

// An interrupted update goes on, and is found and followed by the roll that comes
// after: EKS takes no second one, and cancels none of this kind.
func TestAnInterruptedUpdateIsFollowedByTheNextRoll(t *testing.T) {
	for _, tc := range []struct {
		what, left string
		roll       func(*bed) func(context.Context, *cluster.Cluster, cluster.Version, cluster.RollOptions) error
		after      time.Duration
		asked      string
	}{
		{"control plane of payments u-1", "--name payments --update-id u-1", func(b *bed) func(context.Context, *cluster.Cluster, cluster.Version, cluster.RollOptions) error {
			return b.d.RollControlPlane
		}, 2 * time.Minute, "eks:UpdateClusterVersion"},
		{"add-on kube-proxy u-3", "--name payments --addon-name kube-proxy --update-id u-3", func(b *bed) func(context.Context, *cluster.Cluster, cluster.Version, cluster.RollOptions) error {
			return b.d.RollWorkers
		}, 11 * time.Minute, "eks:UpdateAddon"},
		{"node group apps u-4", "--name payments --nodegroup-name apps --update-id u-4", func(b *bed) func(context.Context, *cluster.Cluster, cluster.Version, cluster.RollOptions) error {
			return b.d.RollWorkers
		}, 20 * time.Minute, "eks:UpdateNodegroupVersion"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, nil)
				if tc.asked != "eks:UpdateClusterVersion" {
					if err := b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", b.options()); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithCancelCause(b.ctx(t))
				time.AfterFunc(tc.after, func() { cancel(errors.New("interrupted")) })
				err := tc.roll(b)(ctx, b.cluster(), "v1.35.4", b.options())
				want := ": interrupted; left behind: EKS update " + tc.what + " (EKS goes on with it and cancels none of this kind; look with: aws eks describe-update --region eu-west-1 " + tc.left + ")"
				if err == nil || !strings.HasSuffix(err.Error(), want) {
					t.Fatalf("got  %v\nwant ...%s", err, want)
				}
				if err := tc.roll(b)(b.ctx(t), b.cluster(), "v1.35.4", b.options()); err != nil {
					t.Fatal(err)
				}
				asked := map[string]int{}
				for _, c := range b.a.Calls() {
					asked[c]++
				}
				// Each add-on that is old and each group is updated once, by both rolls together.
				once := map[string]int{"eks:UpdateClusterVersion": 1, "eks:UpdateAddon": 2, "eks:UpdateNodegroupVersion": 2}
				if asked[tc.asked] != once[tc.asked] || asked["eks:CancelUpdate"] != 0 {
					t.Errorf("%s %d times, want %d; CancelUpdate %d times", tc.asked, asked[tc.asked], once[tc.asked], asked["eks:CancelUpdate"])
				}
			})
		})
	}
}

func TestWhatEKSSaysIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		b.a.EKS.Done = nil
		err := b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", b.options())
		if want := "EKS says that the control plane of payments is at 1.35, and its API server runs v1.34.2-eks-3025e55"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		err = b.d.RollWorkers(b.ctx(t), b.cluster(), "v1.35.4", b.options())
		if err == nil || !strings.Contains(err.Error(), "3 of 3 nodes (worker) have not that version: apps-1 runs v1.34.2-eks-3025e55") {
			t.Errorf("got %v", err)
		}
	})
}

func TestMakeAndDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, func(o *Options) {
			o.Existing, o.Subnets, o.ClusterRole, o.NodeRole = "", []string{"subnet-a", "subnet-b"}, "arn:aws:iam::0:role/c", "arn:aws:iam::0:role/n"
			o.AMIType, o.Addons = "AL2023_ARM_64_STANDARD", map[string]string{"vpc-cni": "v1.19.0-eksbuild.1", "coredns": ""}
		})
		b.a.EKS.AddonDefaults["vpc-cni/1.34"] = "v1.20.0-eksbuild.1"
		got, err := b.d.Preflight(b.ctx(t), b.spec, "v1.35.4")
		const remedy = "aws eks describe-addon-versions --region eu-west-1 --addon-name %s --kubernetes-version 1.34 lists what there is; correct cluster.eks.addons"
		if diff := cmp.Diff([]record.Finding{
			{ID: "addon-version", Severity: "block", Object: "addon/coredns", Cause: "EKS has no version of it for Kubernetes 1.34", Remedy: fmt.Sprintf(remedy, "coredns")},
			{ID: "addon-version", Severity: "block", Object: "addon/vpc-cni", Cause: "EKS has no version v1.19.0-eksbuild.1 of it for Kubernetes 1.34", Remedy: fmt.Sprintf(remedy, "vpc-cni")},
		}, got); err != nil || diff != "" {
			t.Errorf("%v, findings (-want +got):\n%s", err, diff)
		}
		b.a.EKS.AddonDefaults["coredns/1.34"], b.a.EKS.AddonDefaults["vpc-cni/1.34"] = "v1.11.4-eksbuild.1", "v1.19.0-eksbuild.1"
		if got, err := b.d.Preflight(b.ctx(t), b.spec, "v1.35.4"); err != nil || got != nil {
			t.Fatalf("%+v, %v", got, err)
		}
		begun := time.Now()
		c, err := b.d.Create(b.ctx(t), b.spec)
		if err != nil || c.ControlPlane != "v1.34.2-eks-3025e55" || time.Since(begun) < 8*time.Minute {
			t.Fatalf("%+v after %s, %v", c, time.Since(begun), err)
		}
		made := b.a.EKS.Clusters["rehearse-x"]
		if made.Version != "1.34" || made.Tags[cluster.LabelRun] != "ab12cd" || made.Groups["workers"].Desired != 3 || made.Groups["workers"].AMIType != "AL2023_ARM_64_STANDARD" {
			t.Errorf("%+v", made)
		}
		if diff := cmp.Diff(map[string]string{"coredns": "", "vpc-cni": "v1.19.0-eksbuild.1"}, made.Addons); diff != "" {
			t.Errorf("add-ons (-want +got):\n%s", diff)
		}
		left, err := b.d.Leftovers(b.ctx(t))
		if err != nil || len(left) != 1 || left[0].Name != "rehearse-x" || left[0].RunID != "ab12cd" || !strings.Contains(left[0].Delete, "delete-cluster --region eu-west-1 --name rehearse-x") {
			t.Errorf("%+v, %v", left, err)
		}
		// Another run's is not this one's to delete.
		other := b.spec
		other.RunID = "ffffff"
		if err := b.d.Delete(b.ctx(t), other); err == nil || !strings.Contains(err.Error(), "it is left alone") {
			t.Errorf("another run: %v", err)
		}
		b.a.Fail("eks:DeleteCluster", fakeaws.Fault{Status: 403, Code: "AccessDeniedException", Message: "no", Times: 1})
		if err := b.d.Delete(b.ctx(t), b.spec); err == nil || !strings.Contains(err.Error(), "left behind: EKS cluster rehearse-x (aws eks delete-nodegroup") {
			t.Errorf("half: %v", err)
		}
		if err := errors.Join(b.d.Delete(b.ctx(t), b.spec), b.d.Delete(b.ctx(t), b.spec)); err != nil {
			t.Error(err)
		}
		if b.a.EKS.Clusters["rehearse-x"] != nil || b.a.EKS.Clusters["payments"] == nil {
			t.Error("the wrong cluster is gone")
		}
	})
}

func TestAClusterThatExistedIsNeverDeleted(t *testing.T) {
	b := newBed(t, nil)
	c, err := b.d.Create(b.ctx(t), b.spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.d.Delete(b.ctx(t), b.spec); err != nil {
		t.Error(err)
	}
	for _, call := range b.a.Calls() {
		if strings.HasPrefix(call, "eks:Delete") || strings.HasPrefix(call, "eks:Create") {
			t.Errorf("called %s", call)
		}
	}
	if c.Config == nil || c.Config.BearerToken != "" {
		t.Error("the token stands in the configuration")
	}
}

// TestNoSecretIsTold plants credentials and looks for them in everything that
// the driver says.
func TestNoSecretIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		var told strings.Builder
		for _, code := range []string{"", "ExpiredToken", "SignatureDoesNotMatch", "AccessDeniedException", "Weird"} {
			if code != "" {
				b.a.Fail("eks:DescribeCluster", fakeaws.Fault{Status: 403, Code: code, Message: "denied", Times: -1})
			}
			f, err := b.d.Preflight(b.ctx(t), b.spec, "v1.35.4")
			fmt.Fprintf(&told, "%+v %v\n", f, err)
			_, err = b.d.Create(b.ctx(t), b.spec)
			fmt.Fprintf(&told, "%v\n%+v\n", err, b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", b.options()))
		}
		fmt.Fprintln(&told, b.events, b.log.String())
		for _, secret := range []string{fakeaws.AccessKey, fakeaws.SecretKey, fakeaws.SessionToken, "k8s-aws-v1."} {
			if strings.Contains(told.String(), secret) {
				t.Errorf("%q was told:\n%s", secret, told.String())
			}
		}
		// The token itself is one of EKS', and names the cluster it is for.
		tok, err := (&tokens{cluster: "payments", sts: b.d.o.Clients.STS}).get(t.Context())
		if err != nil || !strings.HasPrefix(tok, "k8s-aws-v1.") {
			t.Errorf("%q, %v", tok, err)
		}
	})
}
