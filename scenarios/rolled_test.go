package scenarios

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parsed reads one scenario whose fields are given in flow style.
func parsed(t *testing.T, fields string) (*Scenario, []string) {
	t.Helper()
	versions := "versions: {from: v1.34.4, to: v1.35.4}, "
	if strings.HasPrefix(fields, "versions:") {
		versions = ""
	}
	f, err := Parse("f", []byte("apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, "+versions+fields+"}]"))
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return nil, invalid.Errs
	}
	if err != nil {
		t.Fatal(err)
	}
	return &f.Scenarios[0], nil
}

func TestDefaultsOfDriversThatRollThemselves(t *testing.T) {
	kops, errs := parsed(t, "cluster: {driver: kops, controlPlanes: 3, kops: {stateStore: s3://state, zones: [eu-west-1a]}}, canary: {image: i}")
	if errs != nil {
		t.Fatal(errs)
	}
	eks, errs := parsed(t, "cluster: {driver: eks, eks: {existing: staging}}, canary: {image: i}")
	if errs != nil {
		t.Fatal(errs)
	}
	type defaults struct {
		Network, Strategy, API string
		Components             []string
	}
	of := func(s *Scenario) defaults {
		return defaults{s.Cluster.Network, s.Upgrade.Strategy, s.Thresholds.APIAvailability.String(), s.Checks.SystemComponents}
	}
	if diff := cmp.Diff(defaults{"default", "replace", "99.5%", []string{"cilium", "coredns", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}}, of(kops)); diff != "" {
		t.Errorf("kops (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(defaults{"default", "replace", "99.5%", []string{"aws-node", "coredns", "kube-proxy"}}, of(eks)); diff != "" {
		t.Errorf("eks (-want +got):\n%s", diff)
	}
	if s, errs := parsed(t, "cluster: {driver: eks, eks: {existing: staging}}, canary: {image: i}, thresholds: {apiAvailability: 'off'}"); errs != nil || !s.Thresholds.APIAvailability.Off {
		t.Errorf("a threshold that is given was changed: %v", errs)
	}
}

func TestWhatDriversThatRollThemselvesRefuse(t *testing.T) {
	const (
		kops = "cluster: {driver: kops, kops: {stateStore: s3://state, zones: [a]}}, canary: {image: i}"
		eks  = "cluster: {driver: eks, eks: {existing: staging}}, canary: {image: i}"
		made = "cluster: {driver: eks, eks: {subnets: [a, b], clusterRole: 'arn:c', nodeRole: 'arn:n'}}, canary: {image: i}"
	)
	for name, tc := range map[string]struct {
		fields string
		want   []string
	}{
		"kops":                {kops + ", upgrade: {strategy: replace, interval: auto}, workloads: [{name: a, replicas: 1}]", nil},
		"kops, annotations":   {"cluster: {driver: kops, kops: {stateStore: s3://state, zones: [a]}}, canary: {image: i, serviceAnnotations: {a: b}}", nil},
		"kops, networking":    {"cluster: {driver: kops, kops: {stateStore: s3://state, zones: [a], networking: calico}}, canary: {image: i}", nil},
		"kops, flannel":       {"cluster: {driver: kops, network: flannel, kops: {stateStore: s3://state, zones: [a]}}, canary: {image: i}", nil},
		"eks, a cluster made": {made + ", upgrade: {interval: auto}, workloads: [{name: a, replicas: 1}]", nil},
		"an image": {"cluster: {driver: kops, kops: {stateStore: s3://state, zones: [a]}}", []string{
			"scenarios[0].canary.image: missing: an image of cmd/canary that the cluster's nodes can pull: they cannot take one from this machine",
		}},
		"kops, two networks": {"cluster: {driver: kops, network: flannel, kops: {stateStore: s3://state, zones: [a], networking: calico}}, canary: {image: i}", []string{
			`scenarios[0].cluster.network: "flannel" is not accepted: cluster.kops.networking says calico: leave one of the two out`,
		}},
		"kops, a manifest and what it says": {"cluster: {driver: kops, network: flannel, kops: {stateStore: s3://state, manifest: m, zones: [a], controlPlaneSize: b, nodeSize: c, image: d, topology: public, dns: none, networkCIDR: e, networking: f, adminAccess: [g]}}, canary: {image: i}", []string{
			"scenarios[0].cluster.kops.zones: the manifest says it: leave it out, or change it there",
			"scenarios[0].cluster.kops.controlPlaneSize: the manifest says it: leave it out, or change it there",
			"scenarios[0].cluster.kops.nodeSize: the manifest says it: leave it out, or change it there",
			"scenarios[0].cluster.kops.image: the manifest says it: leave it out, or change it there",
			"scenarios[0].cluster.kops.topology: the manifest says it: leave it out, or change it there",
			"scenarios[0].cluster.kops.dns: the manifest says it: leave it out, or change it there",
			"scenarios[0].cluster.kops.networkCIDR: the manifest says it: leave it out, or change it there",
			"scenarios[0].cluster.kops.networking: the manifest says it: leave it out, or change it there",
			"scenarios[0].cluster.kops.adminAccess: the manifest says it: leave it out, or change it there",
			`scenarios[0].cluster.network: "flannel" is not accepted: the manifest says which network the cluster has: leave it out`,
		}},
		"kops, the roll": {kops + ", upgrade: {strategy: in-place, maxUnavailable: 2, maxSurge: 1, extraWorkers: 1, onStall: force, rollback: {after: 50%}}", []string{
			`scenarios[0].upgrade.strategy: "in-place" is not accepted: the driver kops lets kops replace the machines in its own way: leave it out, or give replace`,
			"scenarios[0].upgrade.maxUnavailable: 2 is not accepted: kops reads it from spec.rollingUpdate of the cluster or the instance group: leave it out, and set it in cluster.kops.manifest",
			"scenarios[0].upgrade.maxSurge: 1 is not accepted: kops reads it from spec.rollingUpdate of the cluster or the instance group: leave it out, and set it in cluster.kops.manifest",
			"scenarios[0].upgrade.extraWorkers: 1 is not accepted: kops adds no machines for the time of a roll but its own surge: leave it out",
			`scenarios[0].upgrade.onStall: "force" is not accepted: kops drains by itself and deletes no pod past its budget: leave it out; cluster.kops.ignoreDrainErrors goes on with a node that could not be drained`,
			"scenarios[0].upgrade.rollback: kops rolls machines forwards only: leave it out, or rehearse the way back on kind",
		}},
		"eks, the roll": {eks + ", upgrade: {strategy: pool-migration, interval: auto, drainTimeout: 5m, postDrainDelay: 0s, maxUnavailable: 2}, workloads: [{name: a, replicas: 1}]", []string{
			`scenarios[0].upgrade.drainTimeout: "5m0s" is not accepted: EKS drains by itself and gives up after about fifteen minutes, which no option changes: leave it out`,
			`scenarios[0].upgrade.postDrainDelay: "0s" is not accepted: EKS ends a machine as soon as it is drained: leave it out`,
			`scenarios[0].upgrade.strategy: "pool-migration" is not accepted: the driver eks lets EKS replace the machines in its own way: leave it out, or give replace`,
			"scenarios[0].upgrade.maxUnavailable: 2 is not accepted: EKS reads it from the node group: leave it out, and give cluster.eks.maxUnavailable or maxUnavailablePercentage, and updateStrategy",
			`scenarios[0].upgrade.interval: "auto" is not accepted: a search upgrades again and again, and a cluster that is there already is not made anew: leave it out, and give an interval`,
			"scenarios[0].workloads: 1 is not accepted: an existing cluster has its own: only rehearse's own namespace is touched there",
		}},
		"eks, back":         {eks + ", upgrade: {rollback: {onFailure: true}}", nil},
		"eks, a drill":      {eks + ", upgrade: {rollback: {after: 100%}}", nil},
		"eks, half a drill": {eks + ", upgrade: {rollback: {after: 50%}}", []string{`scenarios[0].upgrade.rollback.after: "50%" is not accepted: EKS takes node groups back as a whole, once all of them are done: give 100%`}},
		"eks, cancel": {"cluster: {driver: eks, eks: {existing: staging, cancelOnInterrupt: true}}, canary: {image: i}", []string{
			"scenarios[0].cluster.eks.cancelOnInterrupt: true is not accepted: EKS cancels no upgrade: CancelUpdate is granted for version rollbacks of clusters in auto mode alone, which this driver does not roll; leave it out",
		}},
		"eks, the cluster": {"cluster: {driver: eks, controlPlanes: 3, network: flannel, eks: {existing: staging}}, canary: {image: i}, upgrade: {strategy: command, command: [x]}", []string{
			`scenarios[0].upgrade.strategy: "command" is not accepted: only for the driver existing`,
			"scenarios[0].cluster.controlPlanes: 3 is not accepted: EKS runs the control plane itself: leave it out",
			`scenarios[0].cluster.network: "flannel" is not accepted: EKS brings its own network: leave it out, or give default`,
		}},
		"eks, a patch": {"versions: {from: v1.35.1, to: v1.35.4}, " + eks, []string{
			`scenarios[0].versions: "v1.35.4" is not accepted: EKS chooses the patch itself, so there is no upgrade within 1.35: give the next minor`,
		}},
		"unknown words are told once": {kops + ", upgrade: {strategy: fast, onStall: panic}", []string{
			`scenarios[0].upgrade.strategy: "fast" is unknown; accepted: in-place, replace, pool-migration, command`,
			`scenarios[0].upgrade.onStall: "panic" is unknown; accepted: fail, delete-pod, force`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := parsed(t, tc.fields)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKopsNetworkingGoesBeforeTheClustersNetwork(t *testing.T) {
	for want, c := range map[string]Cluster{
		"cilium": {Network: NetworkDefault, Kops: &Kops{}}, "flannel": {Network: NetworkFlannel, Kops: &Kops{}},
		"calico": {Network: NetworkDefault, Kops: &Kops{Networking: "calico"}}, "kubenet": {Network: NetworkFlannel, Kops: &Kops{Networking: "kubenet"}},
	} {
		if got := c.KopsNetworking(); got != want {
			t.Errorf("%+v: got %s, want %s", c, got, want)
		}
	}
}
