package watch

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes"
)

// podDiffer lists what happened to the pods of one namespace.
//
// A static pod's mirror object is deleted and made again whenever the kubelet
// restarts it from a changed manifest, so it is remembered beyond its deletion:
// that is how a new version of kube-apiserver is told from a new pod.
type podDiffer struct {
	static map[string]*corev1.Pod // mirror objects that were deleted, by name
}

func newPodDiffer() *podDiffer { return &podDiffer{static: map[string]*corev1.Pod{}} }

func (d *podDiffer) changes(batch []pair[corev1.Pod]) []change {
	var out []change
	for _, p := range batch {
		if p.before != nil && p.after != nil && p.before.UID != p.after.UID {
			out = append(out, d.deleted(p.before))
			p.before = nil
		}
		if p.after == nil {
			out = append(out, d.deleted(p.before))
			continue
		}
		if p.before == nil {
			if was := d.static[p.after.Name]; was != nil {
				delete(d.static, p.after.Name)
				out = append(out, versionChanges(was, p.after)...)
			}
			p.before = &corev1.Pod{}
		} else {
			out = append(out, versionChanges(p.before, p.after)...)
		}
		out = append(out, podChange(p.before, p.after)...)
	}
	return out
}

func (d *podDiffer) deleted(p *corev1.Pod) change {
	if isMirror(p) {
		d.static[p.Name] = p
	}
	return podEvent(timeline.KindPodDeleted, p, "node", p.Spec.NodeName)
}

// isMirror reports whether p stands for a static pod, which runs whatever the
// API says of it.
func isMirror(p *corev1.Pod) bool {
	return p.Annotations[corev1.MirrorPodAnnotationKey] != ""
}

func podEvent(kind string, p *corev1.Pod, keysAndValues ...string) change {
	return change{kind, "pod/" + p.Namespace + "/" + p.Name, detail(keysAndValues...)}
}

func versionChanges(before, after *corev1.Pod) []change {
	var out []change
	for _, c := range after.Spec.Containers {
		i := slices.IndexFunc(before.Spec.Containers, func(o corev1.Container) bool { return o.Name == c.Name })
		if i < 0 || before.Spec.Containers[i].Image == c.Image {
			continue
		}
		out = append(out, podEvent(timeline.KindPodVersion, after, "container", c.Name, "node", after.Spec.NodeName,
			"from", versionOrImage(before.Spec.Containers[i].Image), "to", versionOrImage(c.Image)))
	}
	return out
}

// versionOrImage returns the image's tag, or all of it where it has none.
func versionOrImage(image string) string {
	if v := probes.ImageVersion(image); v != "" {
		return v
	}
	return image
}

// podChange lists the steps of a pod's life between two states of one pod. For
// a pod that is new, before is an empty pod.
func podChange(before, after *corev1.Pod) []change {
	var out []change
	node := after.Spec.NodeName
	add := func(kind string, keysAndValues ...string) {
		out = append(out, podEvent(kind, after, append(keysAndValues, "node", node)...))
	}
	if before.Spec.NodeName == "" && node != "" {
		version := ""
		if isMirror(after) && len(after.Spec.Containers) > 0 {
			version = versionOrImage(after.Spec.Containers[0].Image)
		}
		add(timeline.KindPodScheduled, "version", version)
	}
	if before.DeletionTimestamp == nil && after.DeletionTimestamp != nil {
		disruption := podCondition(after, corev1.DisruptionTarget)
		grace := ""
		if after.DeletionGracePeriodSeconds != nil {
			grace = strconv.FormatInt(*after.DeletionGracePeriodSeconds, 10) + "s"
		}
		add(timeline.KindPodTerminating, "reason", disruption.Reason, "message", disruption.Message, "grace", grace)
	}
	out = append(out, containerChanges(before, after)...)
	was, is := podCondition(before, corev1.PodReady), podCondition(after, corev1.PodReady)
	switch {
	case was.Status != corev1.ConditionTrue && is.Status == corev1.ConditionTrue:
		add(timeline.KindPodReady, "ip", after.Status.PodIP)
	case was.Status == corev1.ConditionTrue && is.Status != corev1.ConditionTrue:
		add(timeline.KindPodNotReady, "ip", after.Status.PodIP, "reason", is.Reason, "message", is.Message)
	}
	if before.Status.Phase != corev1.PodFailed && after.Status.Phase == corev1.PodFailed {
		add(timeline.KindPodFailed, "reason", after.Status.Reason, "message", after.Status.Message)
	}
	return out
}

// cannotStart are the reasons for which a container waits and will not start
// without help or luck. Kubelet alternates between some of them.
var cannotStart = []string{
	"CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
	"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError",
}

func containerChanges(before, after *corev1.Pod) []change {
	var out []change
	node := after.Spec.NodeName
	for _, now := range allStatuses(after) {
		was := statusOf(before, now.Name)
		if now.RestartCount > was.RestartCount {
			keysAndValues := []string{"container", now.Name, "node", node, "count", itoa(now.RestartCount)}
			if t := lastTermination(&now); t != nil {
				keysAndValues = append(keysAndValues, "reason", t.Reason, "exitCode", itoa(t.ExitCode))
				if t.Signal != 0 {
					keysAndValues = append(keysAndValues, "signal", itoa(t.Signal))
				}
			}
			out = append(out, podEvent(timeline.KindRestart, after, keysAndValues...))
		}
		if w := now.State.Waiting; w != nil && slices.Contains(cannotStart, w.Reason) {
			if b := was.State.Waiting; b == nil || !slices.Contains(cannotStart, b.Reason) {
				out = append(out, podEvent(timeline.KindPodWaiting, after, "container", now.Name, "node", node, "reason", w.Reason, "message", w.Message))
			}
		}
	}
	return out
}

// lastTermination returns how the container's previous life ended.
func lastTermination(s *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if s.LastTerminationState.Terminated != nil {
		return s.LastTerminationState.Terminated
	}
	return s.State.Terminated
}

func allStatuses(p *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
}

func statusOf(p *corev1.Pod, container string) corev1.ContainerStatus {
	for _, s := range allStatuses(p) {
		if s.Name == container {
			return s
		}
	}
	return corev1.ContainerStatus{}
}

func podCondition(p *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}
