package watch

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

// nodeChanges lists what happened to nodes.
func nodeChanges(batch []pair[corev1.Node]) []change {
	var out []change
	for _, p := range batch {
		// Of the same name and another UID is another node: it was replaced.
		if p.before != nil && p.after != nil && p.before.UID != p.after.UID {
			out = append(out, nodeChange(p.before, nil)...)
			p.before = nil
		}
		out = append(out, nodeChange(p.before, p.after)...)
	}
	return out
}

func nodeChange(before, after *corev1.Node) []change {
	if after == nil {
		return []change{{timeline.KindNodeRemoved, "node/" + before.Name, detail("version", before.Status.NodeInfo.KubeletVersion)}}
	}
	subject := "node/" + after.Name
	var out []change
	add := func(kind string, keysAndValues ...string) {
		out = append(out, change{kind, subject, detail(keysAndValues...)})
	}
	now := after.Status.NodeInfo
	if before == nil {
		role := ""
		if _, is := after.Labels[controlPlaneLabel]; is {
			role = "true"
		}
		add(timeline.KindNodeAdded, "version", now.KubeletVersion, "controlPlane", role)
		before = &corev1.Node{} // what it is already counts as changed
	} else {
		was := before.Status.NodeInfo
		if was.KubeletVersion != now.KubeletVersion {
			add(timeline.KindNodeVersion, "component", "kubelet", "from", was.KubeletVersion, "to", now.KubeletVersion)
		}
		if was.ContainerRuntimeVersion != now.ContainerRuntimeVersion {
			add(timeline.KindNodeVersion, "component", "container-runtime", "from", was.ContainerRuntimeVersion, "to", now.ContainerRuntimeVersion)
		}
		if was.BootID != now.BootID {
			add(timeline.KindNodeRebooted, "from", was.BootID, "to", now.BootID)
		}
	}
	if before.Spec.Unschedulable != after.Spec.Unschedulable {
		kind := timeline.KindUncordon
		if after.Spec.Unschedulable {
			kind = timeline.KindCordon
		}
		add(kind)
	}
	for _, c := range after.Status.Conditions {
		was := nodeCondition(before, c.Type)
		switch {
		case was.Status == c.Status:
		case c.Type != corev1.NodeReady:
			// A condition that is reported for the first time as not so is no news.
			if was.Status != "" || c.Status != corev1.ConditionFalse {
				add(timeline.KindNodeCondition, "type", string(c.Type), "status", string(c.Status), "reason", c.Reason, "message", c.Message)
			}
		case c.Status == corev1.ConditionTrue:
			add(timeline.KindNodeReady)
		case was.Status == corev1.ConditionTrue || was.Status == "":
			// From False to Unknown and back a node is not ready all the while.
			add(timeline.KindNodeNotReady, "status", string(c.Status), "reason", c.Reason, "message", c.Message)
		}
	}
	return out
}

func nodeCondition(n *corev1.Node, kind corev1.NodeConditionType) corev1.NodeCondition {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.NodeCondition{}
}
