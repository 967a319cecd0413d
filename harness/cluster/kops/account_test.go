package kops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// roomy is an account in which a cluster can be made, and afterwards upgraded.
func roomy() *fakeaws.AWS {
	a := fakeaws.New()
	a.Region = "us-east-1"
	a.S3["kops-state"] = &fakeaws.Bucket{Versioned: true, BlocksPublic: true}
	a.Quotas["ec2/L-1216C47A"], a.Quotas["vpc/L-F678F1CE"], a.Quotas["ec2/L-0263D0A3"], a.Quotas["vpc/L-FE5A380F"] = 32, 5, 5, 5
	zones := []string{"us-east-1a", "us-east-1b", "us-east-1c"}
	a.EC2 = fakeaws.EC2{
		VPCs:    []fakeaws.VPC{{ID: "vpc-1", State: "available"}},
		Subnets: []fakeaws.Subnet{{ID: "subnet-a", VPC: "vpc-1", Zone: "us-east-1a", State: "available", Free: 100}},
		Types: []fakeaws.InstanceType{
			{Name: "t3.medium", VCPUs: 2, Architectures: []string{"x86_64"}, ENA: "required", Zones: zones},
			{Name: "m6i.large", VCPUs: 2, Architectures: []string{"x86_64"}, ENA: "required", Zones: zones},
			{Name: "m6i.2xlarge", VCPUs: 8, Architectures: []string{"x86_64"}, ENA: "required", Zones: zones[:2]},
		},
		Images:    []fakeaws.Image{{ID: "ami-arm", State: "available", Architecture: "arm64", ENA: true}},
		Instances: []fakeaws.Instance{{ID: "i-cp", Type: "t3.medium", State: "running", VPC: "vpc-1", Subnet: "subnet-a"}, {ID: "i-w", Type: "t3.medium", State: "running", VPC: "vpc-1", Subnet: "subnet-a"}},
		Groups: []fakeaws.ScalingGroup{
			{Name: "control-plane-a.masters.t.example.com", Desired: 1, Instances: []fakeaws.GroupInstance{{ID: "i-cp", State: "InService", Health: "Healthy"}}},
			{Name: "nodes-a.t.example.com", Desired: 1, Instances: []fakeaws.GroupInstance{{ID: "i-w", State: "InService", Health: "Healthy"}}},
		},
		Balancers: []fakeaws.Balancer{{Name: "api-t-example-com-kntd1r", State: "active", Listeners: []int{443}, Targets: []fakeaws.Target{{ID: "i-cp", Health: "healthy"}}}, {Name: "api-other-abcdef", State: "failed"}},
	}
	return a
}

// texts are findings in one line each.
func texts(all []record.Finding) []string {
	var out []string
	for _, f := range all {
		out = append(out, f.Severity+" "+f.ID+" "+f.Object+": "+f.Cause)
	}
	return out
}

func TestPreflightLooksAtTheAccount(t *testing.T) {
	public, err := os.ReadFile("testdata/get-all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(t.TempDir(), "private.yaml")
	if err := os.WriteFile(private, []byte(strings.Replace(string(public), "type: Public\n    zone", "type: Private\n    zone", 2)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Options)
		spoil  func(*fakeaws.AWS)
		want   []string
		err    string
	}{
		"all is well": {},
		"no bucket": {nil, func(a *fakeaws.AWS) { delete(a.S3, "kops-state") }, []string{
			"block bucket-missing bucket/kops-state: it does not exist",
		}, ""},
		// kops finds a bucket wherever it is.
		"a bucket of another region":       {nil, func(a *fakeaws.AWS) { a.S3["kops-state"].Region = "eu-west-1" }, nil, ""},
		"an open one of another region":    {nil, func(a *fakeaws.AWS) { a.S3["kops-state"].Region, a.S3["kops-state"].BlocksPublic = "eu-west-1", false }, []string{"warn bucket-open bucket/kops-state: nothing keeps it from being made public"}, ""},
		"a type that a zone does not have": {func(o *Options) { o.NodeSize = "m6i.2xlarge" }, func(a *fakeaws.AWS) { a.Quotas["ec2/L-1216C47A"] = 64 }, []string{"block type-not-offered instance-type/m6i.2xlarge: it is not offered in zone us-east-1c; it is in us-east-1a, us-east-1b"}, ""},
		"an image of another architecture": {func(o *Options) { o.NodeSize, o.Image = "m6i.large", "ami-arm" }, nil, []string{"block image-architecture image/ami-arm: it is for arm64, m6i.large is x86_64"}, ""},
		// Two machines run; three and three and one for the surge are to come.
		"vCPUs": {nil, func(a *fakeaws.AWS) { a.Quotas["ec2/L-1216C47A"] = 17 }, []string{"block quota quota/ec2/L-1216C47A: 17 virtual CPUs of on-demand standard instances are allowed, 4 are used and the upgrade adds 14"}, ""},
		"VPCs":  {nil, func(a *fakeaws.AWS) { a.EC2.VPCs = make([]fakeaws.VPC, 5) }, []string{"block quota quota/vpc/L-F678F1CE: 5 VPCs in a region are allowed, 5 are used and the upgrade adds 1"}, ""},
		// Three addresses are taken; of six NAT gateways one is gone, and two are elsewhere.
		"private subnets": {func(o *Options) { o.Topology = "private" }, func(a *fakeaws.AWS) {
			a.EC2.Addresses = []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}
			a.EC2.Subnets = append(a.EC2.Subnets, fakeaws.Subnet{ID: "subnet-b", Zone: "us-east-1b", State: "available"})
			nat := func(id, subnet, state string) fakeaws.NAT { return fakeaws.NAT{ID: id, Subnet: subnet, State: state} }
			a.EC2.NATs = []fakeaws.NAT{nat("nat-1", "subnet-b", "available"), nat("nat-2", "subnet-b", "pending"), nat("nat-3", "subnet-b", "deleting"), nat("nat-4", "subnet-b", "deleted"), nat("nat-5", "subnet-a", "available"), nat("nat-6", "subnet-a", "available")}
			a.Quotas["vpc/L-FE5A380F"], a.Denied = 3, []string{"ec2:CreateNatGateway"}
		}, []string{
			"block quota quota/ec2/L-0263D0A3: 5 Elastic IPs in a region are allowed, 3 are used and the upgrade adds 3",
			"block quota quota/vpc/L-FE5A380F: 3 NAT gateways in zone us-east-1b are allowed, 3 are used and the upgrade adds 1",
			"block permissions arn:aws:iam::000000000000:user/rehearse: it may not do: ec2:CreateNatGateway",
		}, ""},
		"public subnets": {func(o *Options) { o.Topology = "public" }, func(a *fakeaws.AWS) {
			a.EC2.Addresses, a.Quotas["vpc/L-FE5A380F"] = make([]string, 5), 0
		}, nil, ""},
		"a manifest with private subnets": {func(o *Options) { o.Manifest, o.Zones = private, nil }, func(a *fakeaws.AWS) { a.EC2.Addresses = make([]string, 4) }, []string{
			"block quota quota/ec2/L-0263D0A3: 5 Elastic IPs in a region are allowed, 4 are used and the upgrade adds 2",
		}, ""},
		"permissions": {nil, func(a *fakeaws.AWS) { a.Denied = []string{"ec2:CreateVpc"} }, []string{"block permissions arn:aws:iam::000000000000:user/rehearse: it may not do: ec2:CreateVpc"}, ""},
		"expired": {nil, func(a *fakeaws.AWS) {
			a.Fail("sts:GetCallerIdentity", fakeaws.Fault{Status: 403, Code: "ExpiredToken", Times: -1})
		}, nil,
			"ask AWS whose credentials these are (sts:GetCallerIdentity): the credentials have expired; renew them (aws sso login, or a new session token) and start again: a rehearsal needs them for its whole length"},
		"what could not be seen": {nil, func(a *fakeaws.AWS) {
			a.Fail("ec2:DescribeInstances", fakeaws.Fault{Status: 403, Code: "UnauthorizedOperation", Message: "You are not authorized", Times: -1})
			a.Denied = []string{"ec2:CreateVpc"}
		}, []string{"block permissions arn:aws:iam::000000000000:user/rehearse: it may not do: ec2:CreateVpc"},
			"ec2:DescribeInstances: the credentials have no permission for it: You are not authorized; grant the action named to the role, or use another one"},
		"a manifest": {func(o *Options) { o.Manifest, o.Zones = "testdata/get-all.yaml", nil }, func(a *fakeaws.AWS) { a.Quotas["ec2/L-1216C47A"] = 17 }, []string{
			"block quota quota/ec2/L-1216C47A: 17 virtual CPUs of on-demand standard instances are allowed, 4 are used and the upgrade adds 14",
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := roomy()
			if tc.spoil != nil {
				tc.spoil(a)
			}
			b := newBed(t, func(o *Options) {
				o.Clients = aws.FromConfig(a.Config())
				if tc.change != nil {
					tc.change(o)
				}
			})
			b.put("get-clusters.stdout", "")
			b.put("get-clusters.stderr", `Error: cluster not found "t.example.com"`)
			b.put("get-clusters.rc", "1")
			got, err := b.d.Preflight(b.ctx(), b.spec, "v1.35.4")
			if diff := cmp.Diff(tc.want, texts(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
				t.Errorf("got  %v\nwant %s", err, tc.err)
			}
			for _, c := range a.Calls() {
				_, op, _ := strings.Cut(c, ":")
				if !strings.HasPrefix(op, "Describe") && !strings.HasPrefix(op, "Get") && !strings.HasPrefix(op, "Head") && !strings.HasPrefix(op, "Simulate") {
					t.Errorf("a check called %s", c)
				}
			}
		})
	}
}

func TestExamineLooksAtWhatKopsMade(t *testing.T) {
	machine := func(name string, plane bool, group string) *corev1.Node {
		n := node(name, "v1.34.4", plane)
		n.Spec.ProviderID, n.Labels["kops.k8s.io/instancegroup"] = "aws:///us-east-1a/"+name, group
		return n
	}
	for name, tc := range map[string]struct {
		spoil func(*fakeaws.AWS)
		want  []string
	}{
		"all is well": {func(*fakeaws.AWS) {}, nil},
		"a control plane without traffic": {func(a *fakeaws.AWS) { a.EC2.Balancers[0].Targets[0].ID = "i-w" }, []string{
			"block member-missing target-group/api-t-example-com-kntd1r-tg: i-cp of the control planes gets no traffic: fewer are left than it seems while one is upgraded",
			"block member-strange target-group/api-t-example-com-kntd1r-tg: i-w gets the API's traffic and is no control plane",
		}},
		"a machine at fault":   {func(a *fakeaws.AWS) { a.EC2.Instances[1].System = "impaired" }, []string{"block status-check instance/i-w: its system status check says impaired"}},
		"a group that is gone": {func(a *fakeaws.AWS) { a.EC2.Groups = a.EC2.Groups[:1] }, []string{"block group-missing scaling-group/nodes-a.t.example.com: it does not exist in this region"}},
		"no addresses": {func(a *fakeaws.AWS) { a.EC2.Subnets[0].Free = 2 }, []string{
			"warn subnet-full subnet/subnet-a: it has 2 free addresses, 3 are wanted", "block subnets-full subnets: 0 of 1 subnets have 3 free addresses or more, 1 are needed",
		}},
		"no VPC": {func(a *fakeaws.AWS) { a.EC2.VPCs[0].State = "pending" }, []string{"block vpc-state vpc/vpc-1: its state is pending"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := roomy()
			tc.spoil(a)
			b := newBed(t, func(o *Options) { o.Clients = aws.FromConfig(a.Config()) }, machine("i-cp", true, "control-plane-a"), machine("i-w", false, "nodes-a"))
			got, err := b.d.Examine(b.ctx(), b.c, "v1.35.4")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, texts(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
	b := newBed(t, nil)
	if got, err := b.d.Examine(b.ctx(), b.c, "v1.35.4"); got != nil || err != nil {
		t.Errorf("without clients: %v, %v", got, err)
	}
	b = newBed(t, func(o *Options) { o.Clients = aws.FromConfig(roomy().Config()) }, node("cp", "v1.34.4", true))
	if _, err := b.d.Examine(b.ctx(), b.c, "v1.35.4"); err == nil || err.Error() != "no node tells which machine it is (spec.providerID)" {
		t.Errorf("got %v", err)
	}
}

func TestRegion(t *testing.T) {
	for _, tc := range []struct {
		zones          []string
		manifest, want string
	}{
		{[]string{"eu-west-1a"}, "", "eu-west-1"}, {[]string{"us-gov-west-1b"}, "", "us-gov-west-1"}, {[]string{"us-west-2-lax-1a"}, "", "us-west-2"},
		{nil, "testdata/get-all.yaml", "us-east-1"}, {nil, "", ""}, {[]string{"somewhere"}, "", ""},
	} {
		if got, err := Region(tc.zones, tc.manifest); err != nil || got != tc.want {
			t.Errorf("%v: got %q, %v", tc, got, err)
		}
	}
	if _, err := Region(nil, filepath.Join(t.TempDir(), "none.yaml")); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

func TestNetworkingGoesBeforeTheNetworkOfTheSpec(t *testing.T) {
	for want, o := range map[string]struct{ networking, network string }{
		"cilium": {"", "default"}, "flannel": {"", "flannel"}, "calico": {"calico", "default"}, "kubenet": {"kubenet", "flannel"},
	} {
		args := strings.Join(New(Options{Networking: o.networking}).createArgs("n", cluster.Spec{Version: "v1.34.4", Network: o.network}), " ")
		if !strings.Contains(args, " --networking "+want+" ") {
			t.Errorf("%+v: %s", o, args)
		}
	}
}
