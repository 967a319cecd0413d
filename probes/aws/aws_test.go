package aws

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// healthy is an account in which every check passes.
func healthy() *fakeaws.AWS {
	a := fakeaws.New()
	a.EC2 = fakeaws.EC2{
		VPCs: []fakeaws.VPC{{ID: "vpc-1", State: "available"}},
		Subnets: []fakeaws.Subnet{
			{ID: "subnet-a", VPC: "vpc-1", Zone: "eu-west-1a", State: "available", Free: 200}, {ID: "subnet-b", VPC: "vpc-1", Zone: "eu-west-1b", State: "available", Free: 200},
			{ID: "subnet-c", VPC: "vpc-1", Zone: "eu-west-1c", State: "available", Free: 200},
		},
		Instances: []fakeaws.Instance{{ID: "i-1", State: "running"}, {ID: "i-2", State: "running"}, {ID: "i-3", State: "running"}},
		Types: []fakeaws.InstanceType{
			{Name: "m6i.large", Architectures: []string{"x86_64"}, ENA: "required", NVMe: "required", Zones: []string{"eu-west-1a", "eu-west-1b", "eu-west-1c"}, BootModes: []string{"legacy-bios", "uefi"}},
			{Name: "m6g.large", Architectures: []string{"arm64"}, ENA: "required", NVMe: "required", Zones: []string{"eu-west-1a"}, BootModes: []string{"uefi"}},
		},
		Images: []fakeaws.Image{{ID: "ami-1", State: "available", Architecture: "x86_64", ENA: true, BootMode: "uefi-preferred"}, {ID: "ami-old", State: "available", Architecture: "x86_64", BootMode: "legacy-bios"}},
		Groups: []fakeaws.ScalingGroup{
			{Name: "nodes-a", Min: 1, Max: 2, Desired: 1, Instances: []fakeaws.GroupInstance{{ID: "i-1", State: "InService", Health: "Healthy"}}},
			{Name: "nodes-b", Min: 1, Max: 2, Desired: 1, Instances: []fakeaws.GroupInstance{{ID: "i-2", State: "InService", Health: "Healthy"}}},
			{Name: "nodes-c", Min: 1, Max: 2, Desired: 1, Instances: []fakeaws.GroupInstance{{ID: "i-3", State: "InService", Health: "Healthy"}}},
		},
		Balancers: []fakeaws.Balancer{{Name: "api", State: "active", Listeners: []int{443}, Targets: []fakeaws.Target{{ID: "i-1", Health: "healthy"}, {ID: "i-2", Health: "healthy"}, {ID: "i-3", Health: "healthy"}}}},
	}
	a.S3["state"] = &fakeaws.Bucket{Versioned: true, BlocksPublic: true}
	a.Quotas["ec2/L-1216C47A"] = 64
	return a
}

var all = []string{"i-1", "i-2", "i-3"}

// checks are all checks of the package, with what they look for in healthy.
func checks(ctx context.Context, c *Clients) map[string]func() ([]record.Finding, error) {
	return map[string]func() ([]record.Finding, error){
		"balancer": func() ([]record.Finding, error) {
			return Balancer(ctx, c.Balancers, BalancerNeeds{Name: "api", Port: 443, Members: all})
		},
		"vpc": func() ([]record.Finding, error) { return VPC(ctx, c.EC2, "vpc-1") },
		"subnets": func() ([]record.Finding, error) {
			return Subnets(ctx, c.EC2, SubnetNeeds{IDs: []string{"subnet-a", "subnet-b", "subnet-c"}, Least: 2, Free: 5, Zones: []string{"eu-west-1a", "eu-west-1c"}})
		},
		"instances": func() ([]record.Finding, error) { return Instances(ctx, c.EC2, all) },
		"groups": func() ([]record.Finding, error) {
			return ScalingGroups(ctx, c.AutoScaling, []string{"nodes-a", "nodes-b", "nodes-c"})
		},
		"machines": func() ([]record.Finding, error) {
			return Machines(ctx, c.EC2, Machine{Type: "m6i.large", Image: "ami-1", Zones: []string{"eu-west-1a", "eu-west-1b"}})
		},
		"bucket": func() ([]record.Finding, error) { return Bucket(ctx, c.S3, "state") },
		"quotas": func() ([]record.Finding, error) { return Quotas(ctx, c.Quotas, []Quota{QuotaStandardVCPUs(60, 4)}) },
		"permissions": func() ([]record.Finding, error) {
			return Permissions(ctx, c.IAM, c.EC2, Identity{ARN: "arn:aws:sts::000000000000:assumed-role/deployer/session"}, KopsActions)
		},
	}
}

func TestAHealthyAccountHasNoFindings(t *testing.T) {
	a := healthy()
	for name, check := range checks(t.Context(), FromConfig(a.Config())) {
		if got, err := check(); err != nil || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, c := range a.Calls() {
		_, op, _ := strings.Cut(c, ":")
		if !strings.HasPrefix(op, "Describe") && !strings.HasPrefix(op, "Get") && !strings.HasPrefix(op, "Head") && !strings.HasPrefix(op, "Simulate") {
			t.Errorf("a check called %s", c)
		}
	}
}

// TestFindings breaks one thing at a time; each line is "severity id object:
// cause" of what is found.
func TestFindings(t *testing.T) {
	for name, tc := range map[string]struct {
		check string
		spoil func(*fakeaws.AWS)
		want  []string
	}{
		"balancer missing":      {"balancer", func(a *fakeaws.AWS) { a.EC2.Balancers = nil }, []string{"block balancer-missing balancer/api: the API's balancer does not exist in this region"}},
		"balancer provisioning": {"balancer", func(a *fakeaws.AWS) { a.EC2.Balancers[0].State = "provisioning" }, []string{"block balancer-state balancer/api: its state is provisioning"}},
		"no listener":           {"balancer", func(a *fakeaws.AWS) { a.EC2.Balancers[0].Listeners = []int{80} }, []string{"block listener-missing balancer/api: nothing listens on port 443"}},
		"a target is sick": {"balancer", func(a *fakeaws.AWS) {
			a.EC2.Balancers[0].Targets[1] = fakeaws.Target{ID: "i-2", Health: "unhealthy", Reason: "Health checks failed"}
		}, []string{"block target-unhealthy target-group/api-tg: i-2 is unhealthy: Health checks failed"}},
		"membership": {"balancer", func(a *fakeaws.AWS) { a.EC2.Balancers[0].Targets[2].ID = "i-9" }, []string{
			"block member-missing target-group/api-tg: i-3 of the control planes gets no traffic: fewer are left than it seems while one is upgraded",
			"block member-strange target-group/api-tg: i-9 gets the API's traffic and is no control plane",
		}},
		"balancer empty": {"balancer", func(a *fakeaws.AWS) { a.EC2.Balancers[0].Targets = nil }, []string{
			"block balancer-empty target-group/api-tg: no target is healthy: the API cannot be reached through it",
			"block member-missing target-group/api-tg: i-1, i-2, i-3 of the control planes gets no traffic: fewer are left than it seems while one is upgraded",
		}},
		"vpc missing":    {"vpc", func(a *fakeaws.AWS) { a.EC2.VPCs = nil }, []string{"block vpc-missing vpc/vpc-1: it does not exist in this region"}},
		"vpc pending":    {"vpc", func(a *fakeaws.AWS) { a.EC2.VPCs[0].State = "pending" }, []string{"block vpc-state vpc/vpc-1: its state is pending"}},
		"subnet missing": {"subnets", func(a *fakeaws.AWS) { a.EC2.Subnets = a.EC2.Subnets[:2] }, []string{"block subnet-missing subnets: one of subnet-a, subnet-b, subnet-c does not exist in this region: The subnet ID 'subnet-c' does not exist"}},
		"subnets full": {"subnets", func(a *fakeaws.AWS) { a.EC2.Subnets[0].Free, a.EC2.Subnets[1].Free = 4, 0 }, []string{
			"warn subnet-full subnet/subnet-a: it has 4 free addresses, 5 are wanted", "warn subnet-full subnet/subnet-b: it has 0 free addresses, 5 are wanted",
			"block subnets-full subnets: 1 of 3 subnets have 5 free addresses or more, 2 are needed",
		}},
		"subnets apart": {"subnets", func(a *fakeaws.AWS) { a.EC2.Subnets[0].VPC = "vpc-2" }, []string{"block subnets-apart subnets: they lie in 2 VPCs"}},
		"one zone": {"subnets", func(a *fakeaws.AWS) {
			for i := range a.EC2.Subnets {
				a.EC2.Subnets[i].Zone = "eu-west-1a"
			}
		}, []string{"block one-zone subnets: they all lie in one zone", "block zone-without-subnet zone/eu-west-1c: no subnet lies in it; there are some in eu-west-1a"}},
		"instance stopped": {"instances", func(a *fakeaws.AWS) { a.EC2.Instances[0].State = "stopped" }, []string{"block instance-state instance/i-1: it is stopped"}},
		"system check":     {"instances", func(a *fakeaws.AWS) { a.EC2.Instances[2].System = "impaired" }, []string{"block status-check instance/i-3: its system status check says impaired"}},
		"instance check":   {"instances", func(a *fakeaws.AWS) { a.EC2.Instances[2].Reachable = "initializing" }, []string{"block status-check instance/i-3: its instance status check says initializing"}},
		"instance missing": {"instances", func(a *fakeaws.AWS) { a.EC2.Instances = a.EC2.Instances[1:] }, []string{"block instance-missing instance/i-1: it does not exist in this region"}},
		"group missing":    {"groups", func(a *fakeaws.AWS) { a.EC2.Groups = a.EC2.Groups[:2] }, []string{"block group-missing scaling-group/nodes-c: it does not exist in this region"}},
		"group short":      {"groups", func(a *fakeaws.AWS) { a.EC2.Groups[1].Instances[0].State = "Pending" }, []string{"warn group-instance scaling-group/nodes-b: instance i-2 is Pending and Healthy", "block group-short scaling-group/nodes-b: 0 of 1 machines are in service"}},
		"group suspended":  {"groups", func(a *fakeaws.AWS) { a.EC2.Groups[0].Suspended = []string{"AZRebalance", "Launch"} }, []string{"block group-suspended scaling-group/nodes-a: its process Launch is suspended, so no machine is replaced"}},
		"type unknown":     {"machines", func(a *fakeaws.AWS) { a.EC2.Types = nil }, []string{"block type-unknown instance-type/m6i.large: this region does not have it"}},
		"type not offered": {"machines", func(a *fakeaws.AWS) { a.EC2.Types[0].Zones = []string{"eu-west-1a", "eu-west-1c"} }, []string{"block type-not-offered instance-type/m6i.large: it is not offered in zone eu-west-1b; it is in eu-west-1a, eu-west-1c"}},
		"image missing":    {"machines", func(a *fakeaws.AWS) { a.EC2.Images = nil }, []string{"block image-missing image/ami-1: it does not exist in this region, or is not shared with the account"}},
		"image withdrawn":  {"machines", func(a *fakeaws.AWS) { a.EC2.Images[0].State = "deregistered" }, []string{"block image-state image/ami-1: its state is deregistered"}},
		"architecture":     {"machines", func(a *fakeaws.AWS) { a.EC2.Images[0].Architecture = "arm64" }, []string{"block image-architecture image/ami-1: it is for arm64, m6i.large is x86_64"}},
		"ENA and NVMe":     {"machines", func(a *fakeaws.AWS) { a.EC2.Images[0].ENA = false }, []string{"block image-ena image/ami-1: it does not support enhanced networking (ENA), which m6i.large requires", "warn image-nvme image/ami-1: m6i.large shows volumes as NVMe, and the image is so old that it may lack the driver"}},
		"boot mode": {"machines", func(a *fakeaws.AWS) {
			a.EC2.Images[0].BootMode, a.EC2.Types[0].BootModes = "uefi", []string{"legacy-bios"}
		}, []string{"block image-boot image/ami-1: it boots by uefi, m6i.large by legacy-bios"}},
		"bucket missing":    {"bucket", func(a *fakeaws.AWS) { delete(a.S3, "state") }, []string{"block bucket-missing bucket/state: it does not exist"}},
		"bucket elsewhere":  {"bucket", func(a *fakeaws.AWS) { a.S3["state"].Region = "us-east-1" }, []string{"block bucket-region bucket/state: it is in another region"}},
		"no versions":       {"bucket", func(a *fakeaws.AWS) { a.S3["state"].Versioned = false }, []string{"warn bucket-versioning bucket/state: it keeps no versions, so a state that was overwritten is lost"}},
		"bucket public":     {"bucket", func(a *fakeaws.AWS) { a.S3["state"].Public, a.S3["state"].BlocksPublic = true, false }, []string{"block bucket-public bucket/state: its policy makes it public: anybody may read the cluster's keys"}},
		"bucket open":       {"bucket", func(a *fakeaws.AWS) { a.S3["state"].NoPublicSettings = true }, []string{"warn bucket-open bucket/state: nothing keeps it from being made public"}},
		"quota":             {"quotas", func(a *fakeaws.AWS) { a.Quotas["ec2/L-1216C47A"] = 63 }, []string{"block quota quota/ec2/L-1216C47A: 63 virtual CPUs of on-demand standard instances are allowed, 60 are used and the upgrade adds 4"}},
		"quota unknown":     {"quotas", func(a *fakeaws.AWS) { clear(a.Quotas) }, []string{"warn quota-unknown quota/ec2/L-1216C47A: the limit of virtual CPUs of on-demand standard instances could not be read: The request failed because the specified service quota does not exist"}},
		"permission denied": {"permissions", func(a *fakeaws.AWS) { a.Denied = []string{"autoscaling:DetachInstances", "iam:PassRole"} }, []string{"block permissions arn:aws:sts::000000000000:assumed-role/deployer/session: it may not do: autoscaling:DetachInstances, iam:PassRole"}},
		"no simulation": {"permissions", func(a *fakeaws.AWS) {
			a.Fail("iam:SimulatePrincipalPolicy", fakeaws.Fault{Status: 403, Code: "AccessDenied", Times: -1})
		}, []string{"info permissions-unknown arn:aws:sts::000000000000:assumed-role/deployer/session: the caller may not simulate its own permissions; a dry run of starting a machine is allowed, the rest is not known"}},
		"dry run denied": {"permissions", func(a *fakeaws.AWS) {
			a.Fail("iam:SimulatePrincipalPolicy", fakeaws.Fault{Status: 403, Code: "AccessDenied", Times: -1})
			a.Fail("ec2:RunInstances", fakeaws.Fault{Status: 403, Code: "UnauthorizedOperation", Message: "You are not authorized. Encoded authorization failure message: abcdef", Times: -1})
		}, []string{"block permissions arn:aws:sts::000000000000:assumed-role/deployer/session: it may not start a machine: You are not authorized"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := healthy()
			tc.spoil(a)
			found, err := checks(t.Context(), FromConfig(a.Config()))[tc.check]()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, f.Severity+" "+f.ID+" "+f.Object+": "+f.Cause)
				if f.Remedy == "" {
					t.Errorf("no remedy: %+v", f)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatCouldNotBeObservedIsAnError fails every call of every check in every
// way, and looks for the planted credentials in all that is told.
func TestWhatCouldNotBeObservedIsAnError(t *testing.T) {
	var told strings.Builder
	log := slog.New(slog.NewTextHandler(&told, nil))
	for code, want := range map[string]string{
		"ExpiredToken": "the credentials have expired", "AuthFailure": "AWS does not accept the credentials", "SignatureDoesNotMatch": "AWS does not accept the credentials",
		"RequestLimitExceeded": "AWS throttles the account", "OptInRequired": "this region is not enabled for the account", "Odd": "AWS answers Odd: " + "message",
	} {
		synctest.Test(t, func(t *testing.T) {
			a := healthy()
			for _, s := range []string{"ec2", "autoscaling", "elasticloadbalancing", "iam", "s3", "servicequotas", "sts"} {
				a.Fail(s+":*", fakeaws.Fault{Status: 400, Code: code, Message: "message", Times: -1})
			}
			c := FromConfig(a.Config())
			for name, check := range checks(t.Context(), c) {
				found, err := check()
				log.Info(name, "found", found, "error", err)
				// A bucket is asked with HEAD, whose answers have no body to tell a code.
				if name == "bucket" && err != nil {
					continue
				}
				if err == nil || !strings.Contains(err.Error(), want) || len(found) > 0 {
					t.Errorf("%s, %s: %v, %v", name, code, found, err)
				}
			}
			if _, err := WhoAmI(t.Context(), c.STS); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", code, err)
			}
		})
	}
	if told.Len() < 1000 {
		t.Error("nothing was told")
	}
	for _, secret := range []string{fakeaws.AccessKey, fakeaws.SecretKey, fakeaws.SessionToken} {
		if strings.Contains(told.String(), secret) {
			t.Errorf("%q was told", secret)
		}
	}
}

// clean takes away whatever this machine has of AWS.
func clean(t *testing.T) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			_ = os.Unsetenv(name)
		}
	}
	dir := t.TempDir()
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestConnect(t *testing.T) {
	clean(t)
	if _, err := Connect(t.Context(), Options{}); err == nil || err.Error() != "no AWS region: give the scenario's region, or set AWS_REGION" {
		t.Errorf("no region: %v", err)
	}
	if _, err := Connect(t.Context(), Options{Region: "eu-west-1", Profile: "absent"}); err == nil || !strings.Contains(err.Error(), "look at AWS_PROFILE and ~/.aws/config") {
		t.Errorf("no profile: %v", err)
	}
	c, err := Connect(t.Context(), Options{Region: "eu-west-1", Endpoint: "https://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = WhoAmI(t.Context(), c.STS)
	const want = "ask AWS whose credentials these are (sts:GetCallerIdentity): no AWS credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestCredentialsComeFromTheDefaultChain(t *testing.T) {
	clean(t)
	t.Setenv("AWS_ACCESS_KEY_ID", fakeaws.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", fakeaws.SecretKey)
	a := fakeaws.New()
	srv := serve(t, a)
	c, err := Connect(t.Context(), Options{Region: "eu-west-1", Endpoint: srv})
	if err != nil {
		t.Fatal(err)
	}
	who, err := WhoAmI(t.Context(), c.STS)
	if err != nil || who != (Identity{Account: "000000000000", ARN: "arn:aws:iam::000000000000:user/rehearse"}) {
		t.Errorf("%+v, %v", who, err)
	}
	c, err = Connect(t.Context(), Options{Region: "eu-west-1", Endpoint: "https://no-such-region.invalid", MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = WhoAmI(t.Context(), c.STS); err == nil || !strings.Contains(err.Error(), "check the region") && !strings.Contains(err.Error(), "check this machine's network") {
		t.Errorf("wrong region: %v", err)
	}
}

func TestPrincipal(t *testing.T) {
	for in, want := range map[string]string{
		"arn:aws:sts::1:assumed-role/deployer/session": "arn:aws:iam::1:role/deployer", "arn:aws:iam::1:user/x": "arn:aws:iam::1:user/x", "odd": "odd", "arn:aws-cn:sts::1:assumed-role/a/b": "arn:aws-cn:iam::1:role/a",
	} {
		if got := principal(Identity{ARN: in}); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestExplainKeepsNilAndTheContext(t *testing.T) {
	if Explain("x", nil) != nil {
		t.Error("nil became an error")
	}
	if err := Explain("x", fmt.Errorf("call: %w", context.Canceled)); err.Error() != "x: call: context canceled" {
		t.Errorf("got %v", err)
	}
	if err := Explain("x", fmt.Errorf("call: %w", io.ErrUnexpectedEOF)); err.Error() != "x: AWS was not reached: unexpected EOF; check this machine's network, proxy and clock" {
		t.Errorf("got %v", err)
	}
}

func serve(t *testing.T, a *fakeaws.AWS) string {
	t.Helper()
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	return srv.URL
}
