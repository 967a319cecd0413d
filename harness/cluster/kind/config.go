package kind

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// networkFlannel and networkDefault are the networks of cluster.Spec.
const (
	networkFlannel = "flannel"
	networkDefault = "default"
)

// machine is what Docker and the node image turned out to be, as far as a
// cluster's configuration depends on it.
type machine struct {
	cgroupV1 bool
	// noResourceCapability: even a privileged container lacks CAP_SYS_RESOURCE.
	noResourceCapability bool
	// flannel: the node image's own network is flannel.
	flannel bool
}

// capSysResource is the bit of CAP_SYS_RESOURCE (capability.h).
const capSysResource = 24

// inspectMachine asks Docker, and one privileged container of the node image.
func (d *Driver) inspectMachine(ctx context.Context, image string) (machine, error) {
	info, err := d.docker.Info(ctx)
	if err != nil {
		return machine{}, err
	}
	out, err := d.docker.Output(ctx, "run", "--rm", "--privileged", "--network", "none", "--entrypoint", "cat",
		image, "/proc/self/status", "/kind/manifests/default-cni.yaml")
	if err != nil {
		return machine{}, fmt.Errorf("look into node image %s: %w", image, err)
	}
	bounding, err := boundingSet(out)
	if err != nil {
		return machine{}, fmt.Errorf("look into node image %s: %w", image, err)
	}
	return machine{
		cgroupV1:             info.CgroupVersion == "1",
		noResourceCapability: bounding&(1<<capSysResource) == 0,
		flannel:              strings.Contains(out, "flannel"),
	}, nil
}

// boundingSet reads the capability bounding set of /proc/PID/status, proc(5).
func boundingSet(status string) (uint64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return 0, fmt.Errorf("read the capability bounding set: %w", err)
			}
			return set, nil
		}
	}
	return 0, fmt.Errorf("read the capability bounding set: /proc/self/status has no CapBnd line")
}

// oldestCgroupField is the first minor version whose kubelet knows
// failCgroupV1; from 35 on it refuses cgroup v1 without it.
const oldestCgroupField = 31

// kindConfig is kind's configuration for the cluster.
func kindConfig(name string, s cluster.Spec, image string, m machine) (*v1alpha4.Cluster, error) {
	if s.ControlPlanes < 1 {
		return nil, fmt.Errorf("%d control planes: want at least 1", s.ControlPlanes)
	}
	if s.ControlPlanes%2 == 0 {
		return nil, fmt.Errorf("%d control planes: want an odd number, an even one survives no more failures than one fewer", s.ControlPlanes)
	}
	switch s.Network {
	case networkDefault:
	case networkFlannel:
		if !m.flannel {
			return nil, fmt.Errorf("network flannel: node image %s does not bring it; build one that does with `rehearse images build --from-source --kubernetes %s`, or ask for network %s",
				image, s.Version, networkDefault)
		}
	default:
		return nil, fmt.Errorf("network %q: want %s or %s", s.Network, networkFlannel, networkDefault)
	}
	c := &v1alpha4.Cluster{
		TypeMeta:   v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Name:       name,
		Networking: v1alpha4.Networking{APIServerAddress: loopback},
	}
	for range s.ControlPlanes {
		c.Nodes = append(c.Nodes, v1alpha4.Node{Role: v1alpha4.ControlPlaneRole, Image: image})
	}
	for range s.Workers {
		c.Nodes = append(c.Nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole, Image: image})
	}
	if m.noResourceCapability {
		// Without the capability nothing may lower its OOM score, and runc fails
		// to start a pod when containerd tells it to.
		c.ContainerdConfigPatches = append(c.ContainerdConfigPatches,
			"[plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n")
	}
	if m.cgroupV1 && s.Version.Minor() >= oldestCgroupField {
		c.KubeadmConfigPatches = append(c.KubeadmConfigPatches, "kind: KubeletConfiguration\nfailCgroupV1: false\n")
	}
	v1alpha4.SetDefaultsCluster(c)
	return c, nil
}

func renderConfig(c *v1alpha4.Cluster) (string, error) {
	b, err := yaml.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("render kind's configuration: %w", err)
	}
	return string(b), nil
}
