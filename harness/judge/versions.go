package judge

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// release is a Kubernetes version without vendor suffixes: v1.35.4-eks-ab12 is
// release{1, 35, 4}.
type release struct{ major, minor, patch int }

func parseRelease(s string) (release, bool) {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "+")
	s, _, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return release{}, false
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 {
			return release{}, false
		}
		n[i] = v
	}
	return release{n[0], n[1], n[2]}, true
}

func (r release) newer(o release) bool {
	if r.major != o.major {
		return r.major > o.major
	}
	if r.minor != o.minor {
		return r.minor > o.minor
	}
	return r.patch > o.patch
}

// counts returns the release as the versions criterion compares it: whole, or
// without the patch where EKS has chosen it (ADR 0125).
func (s *side) counts(r release) release {
	if s.rec.Run.Driver == scenarios.DriverEKS {
		r.patch = 0
	}
	return r
}

// at reports whether a component runs the target: whole, as counts has it. A
// managed cluster's kube-proxy has patches of its own, and where no target was
// named only the minor is known.
func (s *side) at(component string, v, target release, known bool) bool {
	if !known || component == "kube-proxy" && s.rec.Run.Driver == scenarios.DriverExisting {
		return v.major == target.major && v.minor == target.minor
	}
	return s.counts(v) == s.counts(target)
}

// controlPlaneComponents must run the target version themselves; kube-proxy
// follows the control plane's version as well.
var controlPlaneComponents = map[string]bool{
	"kube-apiserver": true, "kube-controller-manager": true, "kube-scheduler": true, "kube-proxy": true,
}

// judgeVersions judges whether the upgrade landed: the API server and every
// node at the target version, Ready, and none newer than the API server. A
// kubelet may be up to three minors older than the API server, and never newer
// (https://kubernetes.io/releases/version-skew-policy/).
func (j *judgement) judgeVersions(c scenarios.Criterion) Criterion {
	out := Criterion{ID: c.ID, Name: "Every node runs the target version"}
	r := j.up.rec
	if r.After == nil {
		if j.compare && r.Before == nil {
			out.Result, out.Explain = Reported, "No cluster was watched, so versions are not judged."
			return out
		}
		return undecided(out, "No snapshot of the cluster was taken after the upgrade.")
	}
	after := r.After
	out.Samples.Upgrade = uint64(len(after.Nodes))
	to, target := r.Run.Versions.To, release{}
	known := false
	if to != "" {
		if target, known = parseRelease(to); !known {
			return undecided(out, fmt.Sprintf("The target version %q is no version of the form v1.35.4.", to))
		}
	}
	server, ok := parseRelease(after.ServerVersion)
	if !ok {
		return undecided(out, fmt.Sprintf("The API server's version after the upgrade, %q, cannot be read.", after.ServerVersion))
	}
	if !known {
		target, to = server, after.ServerVersion
	}
	_, back := j.up.rolledBack()
	whole := back && r.Run.Driver == scenarios.DriverEKS // its control plane goes back, too
	if whole {
		if target, known = parseRelease(r.Run.Versions.From); !known {
			return undecided(out, fmt.Sprintf("The version of before, %q, is no version of the form v1.35.4.", r.Run.Versions.From))
		}
	}
	landed := j.up.counts(server) == j.up.counts(target)
	note := ""
	if r.Run.Driver == scenarios.DriverEKS {
		to = fmt.Sprintf("%d.%d", target.major, target.minor)
		note = fmt.Sprintf(" EKS chooses the patch, so minors are compared; the API server runs %s.", after.ServerVersion)
	}
	if !whole && r.Before != nil && j.sameVersions(r.Before, after) {
		switch {
		case known && !landed && r.Run.Outcome == record.OutcomePassed:
			out.Result = Fail
			out.Explain = fmt.Sprintf("The upgrade changed nothing: the API server and all %s still run %s; %s was asked for.", english.Count(len(after.Nodes), "node"), after.ServerVersion, to)
			return out
		case known && landed:
			return undecided(out, fmt.Sprintf("The cluster ran %s already before: there was nothing to upgrade.", to))
		default:
			return undecided(out, fmt.Sprintf("No version changed: the API server and all %s run %s as before.", english.Count(len(after.Nodes), "node"), after.ServerVersion))
		}
	}
	var wrong problems
	atTarget := 0
	before := release{}
	if back {
		before, back = parseRelease(r.Run.Versions.From)
	}
	if known && !landed {
		wrong.add("the API server runs "+after.ServerVersion, "")
	}
	for _, n := range after.Nodes {
		kubelet, ok := parseRelease(n.KubeletVersion)
		want := target
		if back && !n.ControlPlane {
			want = before // a worker that the rollback has reached, or that the roll never did
		}
		switch {
		case !ok:
			return undecided(out, fmt.Sprintf("The kubelet version of node %s, %q, cannot be read.", n.Name, n.KubeletVersion))
		case kubelet.newer(server):
			wrong.add(fmt.Sprintf("kubelet %s is newer than the API server's %s on", n.KubeletVersion, after.ServerVersion), n.Name)
		case known && j.up.counts(kubelet) != j.up.counts(want), !known && kubelet.minor != want.minor:
			wrong.add("kubelet "+n.KubeletVersion+" still runs on", n.Name)
		case !n.Ready:
			wrong.add("not Ready:", n.Name)
		default:
			atTarget++
		}
		if n.Unschedulable {
			if old := nodeNamed(r.Before, n.Name); old != nil && old.Unschedulable {
				out.Warnings = append(out.Warnings, fmt.Sprintf("Node %s is cordoned, as before the upgrade.", n.Name))
			} else {
				wrong.add("still cordoned:", n.Name)
			}
		}
	}
	if len(after.Nodes) == 0 {
		return undecided(out, "The snapshot after the upgrade names no node.")
	}
	if r.Before != nil && len(after.Nodes) < len(r.Before.Nodes) {
		wrong.add(fmt.Sprintf("%d of %d nodes are left", len(after.Nodes), len(r.Before.Nodes)), "")
	}
	for _, comp := range after.Components {
		if !controlPlaneComponents[comp.Name] {
			continue
		}
		for _, p := range comp.Instances {
			if v, ok := parseRelease(p.Version); ok && !j.up.at(comp.Name, v, target, known) {
				wrong.add(p.Version+" still runs in", p.Pod)
			}
		}
	}
	if len(wrong.what) == 0 {
		out.Result = Pass
		if whole {
			out.Explain = fmt.Sprintf("The API server and %d of %d nodes run %s again and are Ready.%s", atTarget, len(after.Nodes), to, note)
			return out
		}
		if back {
			out.Explain = fmt.Sprintf("The API server and the control planes run %s and every worker runs %s again; %d of %d nodes are Ready.", to, r.Run.Versions.From, atTarget, len(after.Nodes))
			return out
		}
		out.Explain = fmt.Sprintf("The API server and %d of %d nodes run %s and are Ready%s.%s", atTarget, len(after.Nodes), to, replaced(r.Before, after), note)
		return out
	}
	way := "upgrade"
	if whole {
		way = "way back"
	}
	out.Explain = fmt.Sprintf("The %s to %s is not complete: %s.%s", way, to, &wrong, note)
	out.Result = Fail
	if r.Run.Outcome != record.OutcomePassed && !j.compare {
		// Half-way is no fault of an upgrade that was not let finish.
		out.Result = Undecided
		out.Explain = fmt.Sprintf("The run ended before the %s to %s was complete: %s.", way, to, &wrong)
	}
	return out
}

// replaced says, as the rest of a sentence, which nodes have gone and come: that
// is what some strategies do, and no fault as long as as many are there.
func replaced(before, after *record.Snapshot) string {
	if before == nil {
		return ""
	}
	gone, fresh := 0, 0
	for i := range before.Nodes {
		if nodeNamed(after, before.Nodes[i].Name) == nil {
			gone++
		}
	}
	for i := range after.Nodes {
		if nodeNamed(before, after.Nodes[i].Name) == nil {
			fresh++
		}
	}
	switch {
	case gone == 0 && fresh == 0:
		return ""
	case fresh == 0:
		return fmt.Sprintf("; %s of before are gone", english.Count(gone, "node"))
	case gone == 0:
		return fmt.Sprintf("; %d more than before", fresh)
	}
	return fmt.Sprintf("; %d of them took the place of %d that are gone", fresh, gone)
}

// problems collects what is wrong, with the objects that share it.
type problems struct {
	what []string // in the order found
	on   map[string][]string
}

func (p *problems) add(what, object string) {
	if p.on == nil {
		p.on = map[string][]string{}
	}
	if _, seen := p.on[what]; !seen {
		p.what = append(p.what, what)
		p.on[what] = nil
	}
	if object != "" {
		p.on[what] = append(p.on[what], object)
	}
}

// String writes "kubelet v1.34.4 still runs on a and b; not Ready: c".
func (p *problems) String() string {
	var out []string
	for _, w := range p.what {
		if on := enumerate(p.on[w]); on != "" {
			w += " " + on
		}
		out = append(out, w)
	}
	return strings.Join(out, "; ")
}

func (j *judgement) sameVersions(before, after *record.Snapshot) bool {
	if before.ServerVersion != after.ServerVersion || len(before.Nodes) != len(after.Nodes) {
		return false
	}
	for _, n := range after.Nodes {
		old := nodeNamed(before, n.Name)
		if old == nil || old.KubeletVersion != n.KubeletVersion {
			return false
		}
	}
	return true
}

func nodeNamed(s *record.Snapshot, name string) *record.Node {
	if s == nil {
		return nil
	}
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

// rolledBack returns the phase in which a roll went back, if it did.
func (s *side) rolledBack() (record.Interval, bool) { return s.rec.Phase(timeline.PhaseRollback) }
