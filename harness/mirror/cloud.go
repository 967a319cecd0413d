package mirror

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// kopsCluster is a mirror that kops makes of production's own manifest: what the
// manifest says is as it is in production.
type kopsCluster struct {
	mirrored
	kops *scenarios.Kops
}

// kopsStorage are the drivers that kops installs by itself in AWS, since 1.22.
var kopsStorage = []string{"ebs.csi.aws.com"}

func (k kopsCluster) show(aspect string, p *Fact) (float64, string) {
	switch aspect {
	case aspectKubernetes:
		plain, vendor := upstream(p.Value)
		return upstreamCover(p.Value, plain, vendor)
	case aspectAddons:
		kops := map[string]bool{}
		for _, a := range k.f.addons() {
			kops[strings.TrimPrefix(a.Name, AddonPrefix)] = a.By == ByKops
		}
		cover, missing := k.addonsAmong(func(name string) bool { return kops[name] })
		return cover, "not in the mirror, since kops did not install them: " + strings.Join(missing, ", ")
	case aspectPlanes:
		return share(k.s.Cluster.ControlPlanes, number(*p)), fmt.Sprintf("%s in production, %d in the mirror", p.Value, k.s.Cluster.ControlPlanes)
	case aspectWorkers:
		return k.workers(p)
	case aspectWorkloads:
		return k.standIns()
	case aspectTypes, aspectSizes, aspectSystem:
		groups := k.f.workerGroups()
		have := min(len(groups), k.s.Cluster.Workers)
		return part(have, len(groups)), fmt.Sprintf("%s in production, machines of %d of %d groups in the mirror", p.Value, have, len(groups))
	case aspectZones:
		zones := len(counted(p.Value))
		have := min(zones, k.s.Cluster.Workers)
		return part(have, zones), fmt.Sprintf("workers in %d in production, in %d at most in the mirror", zones, have)
	case aspectBalancers:
		return oneBalancer(p)
	case aspectStorage:
		return among(p, kopsStorage)
	case aspectWebhooks, aspectTies:
		return 0, p.Value + " in production, none in the mirror"
	}
	return 1, "" // as the manifest has it
}

// eksCluster is a mirror that EKS makes: its own control plane and network, and
// one group of nodes in production's subnets.
type eksCluster struct {
	mirrored
	eks *scenarios.EKS
}

// eksWorkloads are the workloads that an add-on of EKS runs, where they are not
// called as it is.
var eksWorkloads = map[string][]string{
	"vpc-cni":                   {"aws-node"},
	"aws-ebs-csi-driver":        {"ebs-csi-controller", "ebs-csi-node", "ebs-csi-node-windows"},
	"aws-efs-csi-driver":        {"efs-csi-controller", "efs-csi-node"},
	"aws-fsx-csi-driver":        {"fsx-csi-controller", "fsx-csi-node"},
	"snapshot-controller":       {"snapshot-controller"},
	"eks-node-monitoring-agent": {"eks-node-monitoring-agent", "dcgm-server"},
}

// eksStorage are the drivers of storage that add-ons of EKS bring.
var eksStorage = map[string]string{"aws-ebs-csi-driver": "ebs.csi.aws.com", "aws-efs-csi-driver": "efs.csi.aws.com", "aws-fsx-csi-driver": "fsx.csi.aws.com"}

// alwaysInEKS are what a new cluster has without any add-on.
var alwaysInEKS = []string{"aws-node", "coredns", "kube-proxy"}

func (e eksCluster) show(aspect string, p *Fact) (float64, string) {
	fromEKS := e.f.Get(FactPlatform).Value == PlatformEKS
	both := func(mirror string) string { return fmt.Sprintf("%s in production, %s in the mirror", p.Value, mirror) }
	switch aspect {
	case aspectKubernetes:
		return pick(fromEKS, 1, 0.8), both("the build of EKS")
	case aspectNetwork:
		mode := e.f.Get(FactNetworkMode).Value
		switch {
		case p.Value != "aws-node":
			return 0, both("aws-node")
		case mode != "" && mode != awsDefaultMode:
			return 0.5, fmt.Sprintf("aws-node with %s in production, as it is by default in the mirror", mode)
		}
		return 1, ""
	case aspectProxy:
		return zeroUnless(p.Value == "iptables"), fmt.Sprintf("mode %s in production, iptables in the mirror", p.Value)
	case aspectAddons:
		have := slices.Clone(alwaysInEKS)
		for name := range e.eks.Addons {
			have = append(append(have, name), eksWorkloads[name]...)
		}
		cover, missing := e.addonsAmong(func(name string) bool { return slices.Contains(have, name) })
		return cover, "not in the mirror, since they are no add-ons of EKS: " + strings.Join(missing, ", ")
	case aspectGates, aspectRBAC:
		if fromEKS {
			return 1, ""
		}
		return zeroUnless(p.Value == "on" || p.Value == "none set"), both("as EKS has it")
	case aspectPlanes:
		if fromEKS {
			// Nobody but AWS sees them, in either cluster, and it runs them alike.
			*p = Fact{Name: p.Name, Certainty: Inferred, Evidence: p.Evidence}
			return 1, ""
		}
		return 0.5, both("EKS' own, out of sight,")
	case aspectWorkers:
		return e.workers(p)
	case aspectWorkloads:
		return e.standIns()
	case aspectKubelet:
		return pick(fromEKS && !e.f.launchTemplates(), 1, 0), both("as EKS has it by default")
	case aspectTypes, aspectSizes, aspectSystem:
		return e.machines(aspect, p)
	case aspectZones:
		if fromEKS {
			return 1, "" // the subnets are production's
		}
		return 0, both("those of the subnets")
	case aspectRuntime:
		return zeroUnless(containerd(p.Value)), both("containerd")
	case aspectBalancers:
		return oneBalancer(p)
	case aspectStorage:
		var have []string
		for name := range e.eks.Addons {
			have = append(have, eksStorage[name])
		}
		return among(p, have)
	}
	return 0, both("none")
}

// machines covers what a group's machines are like: the mirror has one group.
func (e eksCluster) machines(aspect string, p *Fact) (float64, string) {
	groups := e.f.workerGroups()
	missing := fmt.Sprintf("%s in production, one group of %s in the mirror", p.Value, orNone(e.eks.InstanceTypes))
	switch {
	case len(groups) == 0:
		return 0, missing
	case aspect == aspectSystem && e.f.launchTemplates():
		return 0, p.Value + " in production, with launch templates of its own; EKS' own image in the mirror"
	}
	return part(1, len(groups)), missing
}

func orNone(all []string) string {
	if len(all) == 0 {
		return "EKS' default"
	}
	return strings.Join(all, ", ")
}

// oneBalancer covers balancers half: the canary's is of the cloud too, and
// deregisters as all do; production's others are not made.
func oneBalancer(p *Fact) (float64, string) {
	if p.Value == "1" {
		return 1, ""
	}
	return 0.5, p.Value + " in production, one of the same cloud before the canary in the mirror"
}

// among covers a list of names by the share that the mirror has.
func among(p *Fact, have []string) (float64, string) {
	all := strings.Split(p.Value, ", ")
	var missing []string
	for _, name := range all {
		if !slices.Contains(have, name) {
			missing = append(missing, name)
		}
	}
	return part(len(all)-len(missing), len(all)), "not in the mirror: " + strings.Join(missing, ", ")
}

func pick(ok bool, yes, no float64) float64 {
	if ok {
		return yes
	}
	return no
}

// workerGroups are the facts about groups of workers that a source told.
func (f *Facts) workerGroups() []Fact {
	var all []Fact
	for _, x := range f.Facts {
		if strings.HasPrefix(x.Name, GroupPrefix) && !strings.HasPrefix(x.Value, "control plane") {
			all = append(all, x)
		}
	}
	return all
}

// launchTemplates tells whether a group has one of its own, and so may have an
// image and a kubelet of its own.
func (f *Facts) launchTemplates() bool {
	return slices.ContainsFunc(f.workerGroups(), func(x Fact) bool { return strings.Contains(x.Value, LaunchTemplate) })
}
