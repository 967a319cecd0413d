package preflight

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// capacity finds workers whose pods would not fit on the other workers, by the
// sum of their requests: while a node is upgraded its capacity is missing. It
// is a necessary condition only; the scheduler places whole pods, under more
// rules than this.
func capacity(s *State) []record.Finding {
	workers := map[string]*corev1.Node{}
	var order []string
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if ready, _ := system.NodeReady(n); ready && !n.Spec.Unschedulable && !system.IsControlPlane(n) {
			workers[n.Name] = n
			order = append(order, n.Name)
		}
	}
	if len(order) == 0 {
		return nil
	}
	used, moving := map[string]amounts{}, map[string]amounts{}
	for i := range s.Pods {
		p := &s.Pods[i]
		if !alive(p) || workers[p.Spec.NodeName] == nil {
			continue
		}
		r := requests(p)
		used[p.Spec.NodeName] = used[p.Spec.NodeName].plus(r)
		owner := metav1.GetControllerOf(p)
		if p.Annotations[corev1.MirrorPodAnnotationKey] == "" && (owner == nil || owner.Kind != "DaemonSet") {
			moving[p.Spec.NodeName] = moving[p.Spec.NodeName].plus(r)
		}
	}
	var out []record.Finding
	for _, name := range order {
		var free amounts
		for _, other := range order {
			if other != name {
				a := workers[other].Status.Allocatable
				free = free.plus(amounts{a.Cpu().MilliValue(), a.Memory().Value(), a.Pods().Value()}.minus(used[other]))
			}
		}
		need := moving[name]
		if lack := need.beyond(free); lack != "" {
			out = append(out, record.Finding{ID: "no-room", Severity: record.SeverityWarn, Object: "node/" + name,
				Cause:  fmt.Sprintf("The pods of node %s do not fit on the other workers while it is drained: %s.", name, lack),
				Remedy: "Add a worker before the upgrade and remove it afterwards."})
		}
	}
	return out
}

// amounts are what pods ask for: thousandths of a CPU, bytes of memory, pods.
type amounts struct{ cpu, memory, pods int64 }

func (a amounts) plus(b amounts) amounts {
	return amounts{a.cpu + b.cpu, a.memory + b.memory, a.pods + b.pods}
}

// minus never goes below zero: an overcommitted node does not lend from others.
func (a amounts) minus(b amounts) amounts {
	return amounts{max(a.cpu-b.cpu, 0), max(a.memory-b.memory, 0), max(a.pods-b.pods, 0)}
}

// beyond says what of a is more than free has, or "".
func (a amounts) beyond(free amounts) string {
	switch {
	case a.cpu > free.cpu:
		return fmt.Sprintf("they request %s of CPU and %s are free", milli(a.cpu), milli(free.cpu))
	case a.memory > free.memory:
		return fmt.Sprintf("they request %s of memory and %s are free", byteCount(a.memory), byteCount(free.memory))
	case a.pods > free.pods:
		return fmt.Sprintf("they are %s and there is room for %d", english.Count(int(a.pods), "pod"), free.pods)
	}
	return ""
}

func milli(n int64) string     { return resource.NewMilliQuantity(n, resource.DecimalSI).String() }
func byteCount(n int64) string { return resource.NewQuantity(n, resource.BinarySI).String() }

// requests sums up what a pod's containers ask for; an init container counts
// where it asks for more than all of them (sidecars are taken as such).
func requests(p *corev1.Pod) amounts {
	sum := amounts{pods: 1}
	for _, c := range p.Spec.Containers {
		sum.cpu += c.Resources.Requests.Cpu().MilliValue()
		sum.memory += c.Resources.Requests.Memory().Value()
	}
	for _, c := range p.Spec.InitContainers {
		sum.cpu = max(sum.cpu, c.Resources.Requests.Cpu().MilliValue())
		sum.memory = max(sum.memory, c.Resources.Requests.Memory().Value())
	}
	return sum
}
