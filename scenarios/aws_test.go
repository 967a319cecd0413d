package scenarios

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestClustersInAWS(t *testing.T) {
	kops := Kops{StateStore: "s3://state", Zones: []string{"eu-west-1a"}}
	eks := EKS{Existing: "payments"}
	made := EKS{Subnets: []string{"subnet-a", "subnet-b"}, ClusterRole: "arn:aws:iam::1:role/c", NodeRole: "arn:aws:iam::1:role/n", MaxUnavailablePercentage: 33, UpdateStrategy: "MINIMAL"}
	for name, tc := range map[string]struct {
		c    Cluster
		want []string
	}{
		"kops":              {Cluster{Driver: DriverKops, Kops: &kops}, nil},
		"kops, a manifest":  {Cluster{Driver: DriverKops, Kops: &Kops{StateStore: "s3://state/mirrors", Manifest: "all.yaml", Name: "m.k8s.local"}}, nil},
		"eks":               {Cluster{Driver: DriverEKS, EKS: &eks}, nil},
		"eks, made":         {Cluster{Driver: DriverEKS, EKS: &made}, nil},
		"neither":           {Cluster{Driver: DriverKind}, nil},
		"nothing for kops":  {Cluster{Driver: DriverKops}, []string{`cluster.kops: Required value: the driver kops needs a stateStore, and zones or a manifest`}},
		"nothing for eks":   {Cluster{Driver: DriverEKS}, []string{`cluster.eks: Required value: the driver eks needs the name of an existing cluster, or subnets and roles to make one`}},
		"for other drivers": {Cluster{Driver: DriverKind, Kops: &kops, EKS: &eks}, []string{`cluster.kops: Forbidden: only the driver kops reads it`, `cluster.eks: Forbidden: only the driver eks reads it`}},
		"kops, all wrong": {Cluster{Driver: DriverKops, Kops: &Kops{StateStore: "state", Name: "mirror", Topology: "secret", DNS: "gossip"}}, []string{
			`cluster.kops.stateStore: Invalid value: "state": a bucket as s3://BUCKET`,
			`cluster.kops.name: Invalid value: "mirror": a name with its domain, such as mirror.k8s.local or mirror.example.com`,
			`cluster.kops.zones: Required value: name availability zones, or a manifest`,
			`cluster.kops.topology: Unsupported value: "secret": supported values: "public", "private"`,
			`cluster.kops.dns: Unsupported value: "gossip": supported values: "public", "private", "none"`,
		}},
		"eks, all wrong": {Cluster{Driver: DriverEKS, EKS: &EKS{Subnets: []string{"a"}, NodeRole: "n", MaxUnavailable: 200, MaxUnavailablePercentage: 1, UpdateStrategy: "FAST", LaunchTemplates: map[string]string{"b": "", "a": ""}}}, []string{
			`cluster.eks.subnets: Required value: at least two, in different zones; or name a cluster in existing`,
			`cluster.eks.clusterRole: Invalid value: "": the ARN of a role`,
			`cluster.eks.nodeRole: Invalid value: "n": the ARN of a role`,
			`cluster.eks.maxUnavailablePercentage: Invalid value: 1: give one of maxUnavailable and maxUnavailablePercentage`,
			`cluster.eks.maxUnavailable: Invalid value: 200: 0 to 100`,
			`cluster.eks.updateStrategy: Unsupported value: "FAST": supported values: "DEFAULT", "MINIMAL"`,
			`cluster.eks.launchTemplates[a]: Required value: the version of the launch template of node group a`,
			`cluster.eks.launchTemplates[b]: Required value: the version of the launch template of node group b`,
		}},
		"eks, both": {Cluster{Driver: DriverEKS, EKS: &EKS{Existing: "x", ClusterRole: "arn:r"}}, []string{`cluster.eks.existing: Invalid value: "x": give either a cluster that exists, or subnets, clusterRole and nodeRole to make one`}},
	} {
		var got []string
		for _, e := range tc.c.validateAWS(field.NewPath("cluster")) {
			got = append(got, e.Error())
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
