package system

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes"
)

// podState describes a pod. Its image is that of the container called like the
// component, or else of the first.
func podState(p *corev1.Pod, component string) record.PodState {
	s := record.PodState{
		Pod: p.Namespace + "/" + p.Name, Node: p.Spec.NodeName, Phase: string(p.Status.Phase),
		Ready: podReady(p), Reason: podReason(p),
	}
	if len(p.Spec.Containers) > 0 {
		i := max(0, slices.IndexFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == component }))
		s.Image = p.Spec.Containers[i].Image
		s.Version = probes.ImageVersion(s.Image)
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		s.Restarts += c.RestartCount
	}
	return s
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// podReason says why a pod is not what it should be, in Kubernetes' own word;
// "" for a pod that is ready or done.
func podReason(p *corev1.Pod) string {
	switch {
	case podReady(p) || p.Status.Phase == corev1.PodSucceeded:
		return ""
	case p.Status.Reason != "":
		return p.Status.Reason
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			return w.Reason
		}
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return t.Reason
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Reason
		}
	}
	if p.Status.Phase == corev1.PodRunning {
		return "NotReady"
	}
	return ""
}

// pendingLimit is how old a pod that has not started yet may be before it
// lingers; the Kubernetes objective for a pod's start is 5 s, and pulling its
// image is not counted in that.
const pendingLimit = time.Minute

// stuck are the reasons of a container that does not come up by itself.
var stuck = []string{
	"CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
	"CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}

// Lingering returns the pods that failed, do not start, crash again and again,
// or do not go although they were told to. The rehearsal's own DNS agents are
// left out: what becomes of them is told where they are deployed.
func Lingering(pods []corev1.Pod, now time.Time) []record.PodState {
	out := make([]record.PodState, 0, len(pods))
	for i := range pods {
		p := &pods[i]
		s := podState(p, "")
		switch {
		case deploy.IsDNSAgent(p):
			continue
		case p.Status.Phase == corev1.PodFailed, p.Status.Phase == corev1.PodUnknown:
		case p.DeletionTimestamp != nil:
			// The timestamp is when the grace period ends.
			if now.Sub(p.DeletionTimestamp.Time) < pendingLimit {
				continue
			}
			s.Reason = "Terminating"
		case slices.Contains(stuck, s.Reason):
		case p.Status.Phase == corev1.PodPending && now.Sub(p.CreationTimestamp.Time) >= pendingLimit:
		default:
			continue
		}
		out = append(out, s)
	}
	return out
}
