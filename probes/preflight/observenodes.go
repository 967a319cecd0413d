package preflight

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kube-rehearse/rehearse/probes/nodes"
)

// Component is a component of the control plane as its static pod starts it: the
// names of its flags, and the feature gates that it is given. Values are left out.
type Component struct {
	Name         string   `json:"name"`
	Node         string   `json:"node"`
	Flags        []string `json:"flags,omitempty"`
	FeatureGates []string `json:"featureGates,omitempty"`
}

// components reads the flags of the control plane's static pods.
func (o *observer) components() {
	for i := range o.s.Pods {
		p := &o.s.Pods[i]
		name := strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName)
		if p.Namespace != "kube-system" || !isStatic(p) || !slices.Contains(nodes.ControlPlane, name) {
			continue
		}
		c := Component{Name: name, Node: p.Spec.NodeName}
		for _, k := range p.Spec.Containers {
			for _, arg := range slices.Concat(k.Command, k.Args) {
				flag, value, _ := strings.Cut(arg, "=")
				if !strings.HasPrefix(flag, "--") {
					continue
				}
				flag = strings.TrimPrefix(flag, "--")
				c.Flags = append(c.Flags, flag)
				if flag == "feature-gates" {
					for gate := range strings.SplitSeq(value, ",") {
						gate, _, _ = strings.Cut(gate, "=")
						c.FeatureGates = append(c.FeatureGates, strings.TrimSpace(gate))
					}
				}
			}
		}
		o.s.Components = append(o.s.Components, c)
	}
}

// atOnce is how many kubelets are asked at a time.
const atOnce = 8

// kubelets asks every kubelet for its configuration and its version of cgroups.
// The API that is answered by one node's kubelet is not known to be forbidden
// before one is asked, so the first goes alone.
func (o *observer) kubelets() {
	if o.src.Raw == nil {
		o.note(Kubelets, notOffered)
		return
	}
	for i := range o.s.Nodes {
		if i == 0 {
			k, err := o.kubelet(&o.s.Nodes[0])
			if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
				o.failed(Kubelets, "get", "nodes/proxy", err)
				return
			}
			o.s.Kubelets = append(o.s.Kubelets, k)
		}
	}
	if len(o.s.Nodes) < 2 {
		return
	}
	rest := o.s.Nodes[1:]
	found := make([]Kubelet, len(rest))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range rest {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i], _ = o.kubelet(&rest[i])
		})
	}
	wg.Wait()
	o.s.Kubelets = append(o.s.Kubelets, found...)
}

var cgroupMetric = regexp.MustCompile(`(?m)^kubelet_cgroup_version ([12])$`)

func (o *observer) kubelet(n *corev1.Node) (Kubelet, error) {
	k := Kubelet{Node: n.Name}
	path := "/api/v1/nodes/" + n.Name + "/proxy"
	text, err := o.src.Raw(o.ctx, path+"/configz")
	if err != nil {
		k.Problem = strings.TrimSuffix(err.Error(), ".")
		return k, err
	}
	var config struct {
		Kubelet struct {
			FailSwapOn            *bool           `json:"failSwapOn"`
			ProtectKernelDefaults bool            `json:"protectKernelDefaults"`
			FailCgroupV1          *bool           `json:"failCgroupV1"`
			FeatureGates          map[string]bool `json:"featureGates"`
		} `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		k.Problem = fmt.Sprintf("its configz is not JSON: %v", err)
		return k, nil
	}
	c := config.Kubelet
	k.FailSwapOn = c.FailSwapOn == nil || *c.FailSwapOn
	k.ProtectKernelDefaults, k.FailCgroupV1, k.FeatureGates = c.ProtectKernelDefaults, c.FailCgroupV1, c.FeatureGates
	// The metric is new in v1.31; without it the version is not known.
	if text, err := o.src.Raw(o.ctx, path+"/metrics"); err == nil {
		if m := cgroupMetric.FindSubmatch(text); m != nil {
			k.Cgroup = int(m[1][0] - '0')
		}
	}
	return k, nil
}
