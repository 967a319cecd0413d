package eks

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

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
