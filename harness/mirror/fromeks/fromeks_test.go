package fromeks

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/mirror"
	"github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// account has one cluster of two groups and add-ons, of which one is configured
// with a secret.
func account() *fakeaws.AWS {
	a := fakeaws.New()
	for _, z := range []string{"a", "b", "c"} {
		a.EC2.Subnets = append(a.EC2.Subnets, fakeaws.Subnet{ID: "subnet-" + z, VPC: "vpc-1", Zone: "eu-west-1" + z, State: "available", Free: 100},
			fakeaws.Subnet{ID: "subnet-public-" + z, VPC: "vpc-1", Zone: "eu-west-1" + z, State: "available", Free: 100})
	}
	a.EKS.Clusters["payments"] = &fakeaws.Cluster{
		Name: "payments", Version: "1.34", Subnets: []string{"subnet-public-a", "subnet-public-b"}, VPC: "vpc-1", Role: "arn:aws:iam::0:role/cluster", ServiceCIDR: "172.20.0.0/16", KMSKey: "arn:key",
		Groups: map[string]*fakeaws.Group{
			"apps":  {Name: "apps", Version: "1.34", Desired: 4, Min: 2, Max: 9, Types: []string{"m6i.xlarge", "m5.xlarge"}, Role: "arn:aws:iam::0:role/nodes", Release: "1.34.2-20260101", Subnets: []string{"subnet-a", "subnet-b", "subnet-c"}, MaxPercent: 33, Strategy: "MINIMAL"},
			"batch": {Name: "batch", Version: "1.34", Desired: 2, Types: []string{"c6i.large"}, Role: "arn:aws:iam::0:role/nodes", Subnets: []string{"subnet-a"}, Capacity: "SPOT", LaunchTemplate: "lt-1"},
		},
		Addons:      map[string]string{"vpc-cni": "v1.20.0-eksbuild.1", "coredns": "v1.11.4-eksbuild.1", "aws-ebs-csi-driver": "v1.40.0-eksbuild.1"},
		AddonConfig: map[string]string{"coredns": `{"apiKey":"planted-in-an-add-on"}`},
	}
	return a
}

func read(t *testing.T, a *fakeaws.AWS) (*Source, error) {
	t.Helper()
	c := aws.FromConfig(aws.ReadOnly(a.Config()))
	return Read(t.Context(), c.EKS, c.EC2, c.Region, "payments")
}

func TestFactsAndBlock(t *testing.T) {
	a := account()
	s, err := read(t, a)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := s.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range facts {
		got = append(got, fmt.Sprintf("%s = %s %s", f.Name, f.Certainty, f.Value))
	}
	if diff := cmp.Diff([]string{
		"platform = observed EKS",
		"declared-version = observed 1.34 platform eks.9",
		"support = observed STANDARD",
		"vpc = observed vpc-1",
		"api-access = observed public from 0.0.0.0/0, private",
		"service-cidr = observed 172.20.0.0/16",
		"authentication = observed API",
		"subnets = observed subnet-a in eu-west-1a, subnet-b in eu-west-1b, subnet-c in eu-west-1c, subnet-public-a in eu-west-1a, subnet-public-b in eu-west-1b",
		"roles = observed of the cluster arn:aws:iam::0:role/cluster, of nodes arn:aws:iam::0:role/nodes",
		"node-group/apps = observed 4 of 2 to 9, m6i.xlarge or m5.xlarge, AL2023_x86_64_STANDARD 1.34.2-20260101, updated 33% at once, MINIMAL",
		"node-group/batch = observed 2 of 0 to 4, c6i.large, AL2023_x86_64_STANDARD, SPOT, launch template lt-1 version 1",
		"instance-types = inferred m5.xlarge ×4, m6i.xlarge ×4, c6i.large ×2",
		"eks-addon/aws-ebs-csi-driver = observed v1.40.0-eksbuild.1",
		"eks-addon/coredns = observed v1.11.4-eksbuild.1",
		"eks-addon/vpc-cni = observed v1.20.0-eksbuild.1",
		"ties = observed secrets encrypted with a key of KMS, launch templates, spot capacity, configuration of the add-ons coredns",
	}, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	for _, f := range facts {
		if strings.Contains(fmt.Sprint(f), "planted") || f.Evidence == "" {
			t.Errorf("%+v", f)
		}
	}
	if diff := cmp.Diff(&scenarios.EKS{
		Region: "eu-west-1", Profile: "prod", Subnets: []string{"subnet-a", "subnet-b", "subnet-c"}, ClusterRole: "arn:aws:iam::0:role/cluster", NodeRole: "arn:aws:iam::0:role/nodes",
		InstanceTypes: []string{"c6i.large", "m5.xlarge", "m6i.xlarge"}, AMIType: "AL2023_x86_64_STANDARD",
		Addons: map[string]string{"vpc-cni": "v1.20.0-eksbuild.1", "coredns": "v1.11.4-eksbuild.1", "aws-ebs-csi-driver": "v1.40.0-eksbuild.1"},
	}, s.Block("prod")); diff != "" {
		t.Errorf("block (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"apps", "batch"}, s.Groups()); diff != "" {
		t.Error(diff)
	}
}

// TestOnlyReads holds that no mutating action of AWS is called, and that none
// could be: the fake writes down each call that it gets.
func TestOnlyReads(t *testing.T) {
	a := account()
	s, err := read(t, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Facts(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := a.Calls()
	if len(calls) < 10 {
		t.Errorf("only %q were seen", calls)
	}
	for _, call := range calls {
		if _, operation, _ := strings.Cut(call, ":"); !strings.HasPrefix(operation, "Describe") && !strings.HasPrefix(operation, "List") {
			t.Errorf("called %s", call)
		}
	}
	c := aws.FromConfig(aws.ReadOnly(a.Config()))
	name := "payments"
	_, err = c.EKS.DeleteCluster(t.Context(), &eks.DeleteClusterInput{Name: &name})
	if err == nil || !strings.Contains(err.Error(), "DeleteCluster was refused: the account is only read") {
		t.Errorf("delete: %v", err)
	}
	if got := a.Calls(); len(got) != len(calls) {
		t.Errorf("%q left the process", got[len(calls):])
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		operation, code string
		status          int
		want            string
	}{
		"not there": {"eks:DescribeCluster", "ResourceNotFoundException", 404, "region eu-west-1 has no EKS cluster payments; check name, region and account"},
		"expired":   {"eks:*", "ExpiredTokenException", 403, "eks:DescribeCluster payments: the credentials have expired; renew them"},
		"groups":    {"eks:ListNodegroups", "AccessDeniedException", 403, "eks:ListNodegroups payments: the credentials have no permission for it"},
		"add-ons":   {"eks:DescribeAddon", "AccessDeniedException", 403, "eks:DescribeAddon aws-ebs-csi-driver: the credentials have no permission for it"},
	} {
		t.Run(name, func(t *testing.T) {
			a := account()
			a.Fail(c.operation, fakeaws.Fault{Status: c.status, Code: c.code, Message: "no", Times: -1})
			if _, err := read(t, a); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	// Without the right to see subnets the rest is there nevertheless.
	a := account()
	a.Fail("ec2:DescribeSubnets", fakeaws.Fault{Status: 403, Code: "UnauthorizedOperation", Message: "You are not authorized", Times: -1})
	s, err := read(t, a)
	if err != nil {
		t.Fatal(err)
	}
	facts, _ := s.Facts(t.Context())
	found := map[string]mirror.Fact{}
	for _, f := range facts {
		found[f.Name] = f
	}
	if f := found["subnet-zones"]; f.Certainty != mirror.Unknown || !strings.Contains(f.Evidence, "ec2:DescribeSubnets: the credentials have no permission for it") {
		t.Errorf("%+v", f)
	}
	if got := s.Block("").Subnets; len(got) != 3 {
		t.Errorf("subnets %q", got)
	}
}
