package preflight

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// localData finds pods whose data do not follow them to another node: what is in
// an emptyDir is lost with the pod, what is on a hostPath stays behind, and
// where nodes are replaced that is lost too. The system's own namespaces are
// left to their maintainers, and DaemonSets do not move.
func localData(s *State) []record.Finding {
	type use struct{ owner, what string }
	pods := map[use][]string{}
	for i := range s.Pods {
		p := &s.Pods[i]
		if !alive(p) || isStatic(p) || ownerKind(p) == "DaemonSet" || slices.Contains(system.Namespaces, p.Namespace) {
			continue
		}
		for _, what := range localVolumes(p) {
			k := use{p.Namespace + "/" + workloadName(s, p), what}
			pods[k] = append(pods[k], p.Namespace+"/"+p.Name)
		}
	}
	var out []record.Finding
	for k, names := range pods {
		slices.Sort(names)
		f := record.Finding{Object: "workload/" + k.owner}
		if strings.HasPrefix(k.what, "hostPath") {
			f.ID, f.Severity = "host-path", record.SeverityWarn
			f.Cause = fmt.Sprintf("%s keep data on their node (%s): it does not follow them, and is lost where nodes are replaced.", several(names), k.what)
			f.Remedy = "Move the data to a PersistentVolume, or make sure that it can be lost."
		} else {
			f.ID, f.Severity = "empty-dir", record.SeverityInfo
			f.Cause = fmt.Sprintf("What %s keep in an emptyDir is lost when they are evicted.", several(names))
			f.Remedy = "Make sure that it is scratch data only."
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b record.Finding) int { return strings.Compare(a.Object+a.ID+a.Cause, b.Object+b.ID+b.Cause) })
	return out
}

// localVolumes says which of a pod's volumes are its node's; memory is not.
func localVolumes(p *corev1.Pod) []string {
	var out []string
	for _, v := range p.Spec.Volumes {
		switch {
		case v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory:
			out = append(out, "emptyDir")
		case v.HostPath != nil && !readsHost(v.HostPath.Path):
			out = append(out, "hostPath "+v.HostPath.Path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// readsHost reports paths that pods mount to look at the node, not to keep data.
func readsHost(path string) bool {
	for _, p := range []string{"/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/lib/modules", "/var/log"} {
		if path == "/" || path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// tiedVolumes finds PersistentVolumes in use that only some nodes can mount:
// pods with one of a single node wait until that node is back, and for ever
// where it was replaced; pods with one of a zone need room in that zone.
func tiedVolumes(s *State) []record.Finding {
	claims := map[string]string{} // claim to volume
	for i := range s.Claims {
		c := &s.Claims[i]
		claims[c.Namespace+"/"+c.Name] = c.Spec.VolumeName
	}
	users := map[string][]string{}
	for i := range s.Pods {
		p := &s.Pods[i]
		if !alive(p) {
			continue
		}
		for _, v := range p.Spec.Volumes {
			if c := v.PersistentVolumeClaim; c != nil {
				name := claims[p.Namespace+"/"+c.ClaimName]
				users[name] = append(users[name], p.Namespace+"/"+p.Name)
			}
		}
	}
	var out []record.Finding
	for i := range s.Volumes {
		v := &s.Volumes[i]
		used := users[v.Name]
		if len(used) == 0 || v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
			continue
		}
		slices.Sort(used)
		var fit []string
		for n := range s.Nodes {
			if Selects(v.Spec.NodeAffinity.Required, &s.Nodes[n]) {
				fit = append(fit, s.Nodes[n].Name)
			}
		}
		f := record.Finding{Severity: record.SeverityWarn, Object: "persistentvolume/" + v.Name}
		zone := zoneOf(s, fit)
		switch {
		case len(fit) == len(s.Nodes):
			continue
		case len(fit) <= 1:
			f.ID = "volume-tied-to-node"
			f.Cause = fmt.Sprintf("PersistentVolume %s can be mounted on %s only: %s cannot run while that node is drained, and never again where it is replaced.", v.Name, orNo(fit), several(used))
			f.Remedy = "Upgrade that node in place, or move the data to a volume that follows its pod."
		case zone == "" || len(fit) > 2:
			f.ID, f.Severity = "volume-tied-to-zone", record.SeverityInfo
			f.Cause = fmt.Sprintf("PersistentVolume %s can be mounted on %s only%s: there must be room for %s.", v.Name, english.Count(len(fit), "node"), inZone(zone), several(used))
			f.Remedy = "Keep at least two nodes with room where the volume is, also during the upgrade."
		default:
			f.ID = "volume-tied-to-zone"
			f.Cause = fmt.Sprintf("PersistentVolume %s can be mounted on %s only%s: while one is drained, %s must fit on the other.", v.Name, strings.Join(fit, " and "), inZone(zone), several(used))
			f.Remedy = "Add a node there before the upgrade."
		}
		out = append(out, f)
	}
	return out
}

func orNo(nodes []string) string {
	if len(nodes) == 0 {
		return "no node of the cluster"
	}
	return "node " + nodes[0]
}

func inZone(zone string) string {
	if zone == "" {
		return ""
	}
	return " of zone " + zone
}

// zoneOf returns the zone that the nodes have in common, or "".
func zoneOf(s *State, names []string) string {
	zone := ""
	for i := range s.Nodes {
		if !slices.Contains(names, s.Nodes[i].Name) {
			continue
		}
		z := s.Nodes[i].Labels[corev1.LabelTopologyZone]
		if z == "" || zone != "" && z != zone {
			return ""
		}
		zone = z
	}
	return zone
}

func isStatic(p *corev1.Pod) bool { return p.Annotations[corev1.MirrorPodAnnotationKey] != "" }

func ownerKind(p *corev1.Pod) string {
	if o := metav1.GetControllerOfNoCopy(p); o != nil {
		return o.Kind
	}
	return ""
}

// workloadName returns the name of what a pod belongs to, as a person knows it:
// the Deployment rather than its ReplicaSet.
func workloadName(s *State, p *corev1.Pod) string {
	o := metav1.GetControllerOfNoCopy(p)
	if o == nil {
		return p.Name
	}
	if o.Kind == "ReplicaSet" {
		for i := range s.ReplicaSets {
			if r := &s.ReplicaSets[i]; r.UID == o.UID && r.Namespace == p.Namespace {
				if up := metav1.GetControllerOfNoCopy(r); up != nil {
					return up.Name
				}
			}
		}
	}
	return o.Name
}
