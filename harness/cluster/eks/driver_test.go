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
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
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

func TestPreflight(t *testing.T) {
	find := func(id, severity, object, cause, remedy string) record.Finding {
		return record.Finding{ID: id, Severity: severity, Object: object, Cause: cause, Remedy: remedy}
	}
	const refresh = "aws eks start-insights-refresh --region eu-west-1 --cluster-name payments, and start again"
	for name, tc := range map[string]struct {
		options func(*Options)
		prepare func(*bed)
		want    []record.Finding
	}{
		"all is well": {},
		"insights": {nil, func(b *bed) {
			c := b.a.EKS.Clusters["payments"]
			old := time.Now().Add(-50 * time.Hour)
			c.Insights = []fakeaws.Insight{
				{ID: "i1", Name: "Kubelet version skew", Status: "PASSING", Version: "1.35", Refreshed: old},
				{ID: "i2", Name: "Deprecated APIs", Status: "ERROR", Reason: "Deprecated API usage detected within last 30 days", Version: "1.35", Refreshed: time.Now(), Recommendation: "Update manifests", Resources: []string{"/apis/x/v1beta1"}},
				{ID: "i3", Name: "Add-on compatibility", Status: "WARNING", Reason: "older than recommended", Version: "1.35", Refreshed: time.Now()},
				{ID: "i4", Name: "Cluster health", Status: "UNKNOWN", Reason: "could not look", Version: "1.35", Refreshed: time.Now()},
				{ID: "i5", Name: "Deprecated APIs", Status: "ERROR", Version: "1.36", Refreshed: time.Now()},
			}
		}, []record.Finding{
			find("insight-old", "warn", "insight/Kubelet version skew", "EKS looked 50h0m0s ago: what was done since is not in it", refresh),
			find("insight", "block", "insight/Deprecated APIs", "ERROR: Deprecated API usage detected within last 30 days (/apis/x/v1beta1)", "Update manifests"),
			find("insight", "warn", "insight/Add-on compatibility", "WARNING: older than recommended", "look at it in the console of EKS"),
			find("insight", "warn", "insight/Cluster health", "UNKNOWN: could not look", "look at it in the console of EKS"),
		}},
		"no insights": {nil, func(b *bed) { b.a.EKS.Clusters["payments"].Insights = nil }, []record.Finding{
			find("insights-none", "warn", "cluster/payments", "EKS has no insights on the upgrade to 1.35: it may not have looked yet", refresh),
		}},
		"groups": {nil, func(b *bed) {
			g := b.a.EKS.Clusters["payments"].Groups
			g["apps"].Version, g["apps"].Status = "1.33", "DEGRADED"
			g["batch"].AMIType, g["batch"].Issues = "CUSTOM", []fakeaws.UpdateError{{Code: "Ec2LaunchTemplateNotFound", Message: "it is gone"}}
		}, []record.Finding{
			find("groups-behind", "block", "cluster", "its control plane is at 1.34, and apps is at 1.33: EKS moves a control plane on only when its managed groups match; update them first", "aws eks update-nodegroup-version for each of them"),
			find("group-state", "block", "nodegroup/apps", "its state is DEGRADED", "bring it to ACTIVE first: EKS refuses to update it"),
			find("group-health", "warn", "nodegroup/batch", "Ec2LaunchTemplateNotFound: it is gone", "mend it first, or the update may end with it"),
			find("custom-image", "block", "nodegroup/batch", "it has an image of its own, which EKS cannot replace", "make a version of its launch template with an image for the target and name it in cluster.eks.launchTemplates"),
		}},
		"subnets": {nil, func(b *bed) { b.a.EC2.Subnets[0].Free = 4 }, []record.Finding{
			find("subnet-full", "warn", "subnet/subnet-a", "it has 4 free addresses, 5 are wanted", "free addresses (unused network interfaces, old balancers) or add a subnet"),
			find("subnets-full", "block", "subnets", "1 of 2 subnets have 5 free addresses or more, 2 are needed", "free addresses, or add subnets"),
		}},
		"not there": {func(o *Options) { o.Existing = "other" }, nil, []record.Finding{
			find("cluster-missing", "block", "cluster/other", "region eu-west-1 has no EKS cluster of this name", "check name, region and account"),
		}},
		"too many machines": {nil, func(b *bed) { b.a.EKS.Clusters["payments"].Groups["apps"].Desired = 9 }, []record.Finding{
			find("workers", "block", "cluster/payments", "its managed groups want 10 machines, the scenario says 3 workers: the roll would not be given the time that it needs", "set cluster.workers to 10"),
		}},
		"permissions": {nil, func(b *bed) { b.a.Denied = []string{"eks:UpdateClusterVersion", "eks:UpdateAddon"} }, []record.Finding{
			find("permissions", "block", "arn:aws:iam::000000000000:user/rehearse", "it may not do: eks:UpdateClusterVersion, eks:UpdateAddon", "grant these actions: the roll would stop at the first of them"),
		}},
		// Two machines of eight CPUs for each of two zones.
		"quota for the surge": {nil, func(b *bed) {
			b.a.EC2.Types = []fakeaws.InstanceType{{Name: "m6i.2xlarge", VCPUs: 8}, {Name: "t3.medium", VCPUs: 2}, {Name: "p4d.24xlarge", VCPUs: 96}}
			b.a.EC2.Instances = []fakeaws.Instance{{ID: "i-1", Type: "m6i.2xlarge", State: "running"}, {ID: "i-2", Type: "m6i.2xlarge", State: "running", Cores: 4, Threads: 2}, {ID: "i-3", Type: "m6i.2xlarge", State: "stopped"}, {ID: "i-4", Type: "p4d.24xlarge", State: "running"}}
			b.a.Quotas["ec2/L-1216C47A"] = 40
			g := b.a.EKS.Clusters["payments"].Groups["apps"]
			g.Types, g.Subnets = []string{"m6i.2xlarge"}, []string{"subnet-a", "subnet-b"}
		}, []record.Finding{
			find("quota", "block", "quota/ec2/L-1216C47A", "40 virtual CPUs of on-demand standard instances are allowed, 16 are used and the upgrade adds 32", "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A --desired-value 48"),
		}},
		"no surge, no quota": {func(o *Options) { o.Strategy = "MINIMAL" }, func(b *bed) {
			b.a.EC2.Types = []fakeaws.InstanceType{{Name: "t3.medium", VCPUs: 2}}
		}, nil},
		"a scaling group that starts nothing": {nil, func(b *bed) {
			b.a.EKS.Clusters["payments"].Groups["apps"].ScalingGroup = "eks-apps-1"
			b.a.EC2.Groups = []fakeaws.ScalingGroup{{Name: "eks-apps-1", Desired: 0, Suspended: []string{"Launch"}}}
		}, []record.Finding{
			find("group-suspended", "block", "scaling-group/eks-apps-1", "its process Launch is suspended, so no machine is replaced", "aws autoscaling resume-processes --auto-scaling-group-name eks-apps-1 --scaling-processes Launch"),
		}},
		"the namespace is used": {nil, func(b *bed) {
			if err := cloud.Claim(context.Background(), b.client, "rehearse", "ffffff"); err != nil {
				panic(err)
			}
		}, []record.Finding{
			find("namespace-left", "block", "namespace/rehearse", "run ffffff left it behind, or is under way", "aws eks update-kubeconfig --region eu-west-1 --name payments && kubectl delete namespace -l io.rehearse.run=ffffff"),
		}},
		"version": {nil, func(b *bed) { b.spec.Version = "v1.33.4" }, []record.Finding{
			find("cluster-version", "block", "cluster/payments", "it runs 1.34, the scenario starts from 1.33", "correct versions.from"),
		}},
		"options": {func(o *Options) {
			*o = Options{Clients: o.Clients, Strategy: "FAST", Force: true, MaxUnavailable: 1, MaxUnavailPC: 1}
		}, nil, []record.Finding{
			find("eks-options", "block", "canary.image", "nodes in AWS cannot take the canary's image from this machine", "push it to a registry that the nodes can pull from and name it"),
			find("eks-options", "block", "cluster.eks.maxUnavailable", "both a number and a percentage are given", "give one of the two"),
			find("eks-options", "block", "cluster.eks.strategy", `"FAST" is unknown`, "use DEFAULT, which surges, or MINIMAL, which removes first"),
			find("eks-options", "block", "cluster.eks.subnets", "0 subnets are given", "name at least two, in different zones, or name a cluster in cluster.eks.existing"),
			find("eks-options", "block", "cluster.eks.clusterRole", "a cluster needs the ARNs of two roles, clusterRole and nodeRole", "make them with the policies that docs/guides/eks.md lists, or name a cluster in cluster.eks.existing"),
			find("eks-force", "warn", "cluster.eks.force", "EKS will delete pods that a budget keeps from being evicted, so a blocked drain will not show", "leave it out unless production is upgraded with it too"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, tc.options)
				if tc.prepare != nil {
					tc.prepare(b)
				}
				got, err := b.d.Preflight(b.ctx(t), b.spec, "v1.35.4")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("findings (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestBadInputIsExplainedBeforeAnythingIsMade(t *testing.T) {
	for name, tc := range map[string]struct {
		operation string
		fault     fakeaws.Fault
		want      string
	}{
		"expired":    {"sts:GetCallerIdentity", fakeaws.Fault{Code: "ExpiredToken", Times: -1}, "ask AWS whose credentials these are (sts:GetCallerIdentity): the credentials have expired; renew them (aws sso login, or a new session token) and start again: a rehearsal needs them for its whole length"},
		"rejected":   {"sts:GetCallerIdentity", fakeaws.Fault{Status: 403, Code: "InvalidClientTokenId", Times: -1}, "ask AWS whose credentials these are (sts:GetCallerIdentity): AWS does not accept the credentials; check the access key and the account it belongs to, and this machine's clock"},
		"throttled":  {"eks:DescribeCluster", fakeaws.Fault{Status: 429, Code: "ThrottlingException", Times: -1}, "eks:DescribeCluster payments: AWS throttles the account; wait and start again, or ask for a higher request rate; other automation in the account counts too"},
		"permission": {"eks:ListNodegroups", fakeaws.Fault{Status: 403, Code: "AccessDeniedException", Message: "User: arn:aws:iam::0:user/x is not authorized to perform: eks:ListNodegroups", Times: -1}, "eks:ListNodegroups payments: the credentials have no permission for it: User: arn:aws:iam::0:user/x is not authorized to perform: eks:ListNodegroups; grant the action named to the role, or use another one"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, nil)
				b.a.Fail(tc.operation, tc.fault)
				_, err := b.d.Preflight(b.ctx(t), b.spec, "v1.35.4")
				if err == nil || err.Error() != tc.want {
					t.Errorf("got  %v\nwant %s", err, tc.want)
				}
				for _, c := range b.a.Calls() {
					if _, verb, _ := strings.Cut(c, ":"); !strings.HasPrefix(verb, "Describe") && !strings.HasPrefix(verb, "List") && !strings.HasPrefix(verb, "Get") {
						t.Errorf("called %s", c)
					}
				}
			})
		})
	}
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
