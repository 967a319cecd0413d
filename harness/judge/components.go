package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// judgeComponent judges one system component by the snapshots before and after.
//
// A component that the scenario names and that the cluster had neither before
// nor after is not a failure of the upgrade, and not a success either: the
// check asked for was not made, so a required one is inconclusive. "If present"
// is expressed by a criterion that is not required.
func (j *judgement) judgeComponent(c scenarios.Criterion) Criterion {
	name := c.Component
	out := Criterion{ID: c.ID, Name: name + " is healthy"}
	r := j.up.rec
	if r.After == nil {
		if j.compare && r.Before == nil {
			out.Result, out.Explain = Reported, fmt.Sprintf("No cluster was watched, so %s is not judged.", name)
			return out
		}
		return undecided(out, "No snapshot of the cluster was taken after the upgrade.")
	}
	before, after := componentNamed(r.Before, name), componentNamed(r.After, name)
	if after == nil || !after.Present {
		if before != nil && before.Present {
			out.Result = Fail
			out.Explain = fmt.Sprintf("%s was there before the upgrade (%d of %d ready) and is gone after it.", name, before.Ready, before.Desired)
			return out
		}
		if r.Before == nil {
			return undecided(out, fmt.Sprintf("%s was not found after the upgrade, and nobody looked before it.", name))
		}
		return undecided(out, fmt.Sprintf("%s was found neither before nor after the upgrade: install it in the mirror, or take it off checks.systemComponents.", name))
	}
	out.Samples = Samples{Upgrade: uint64(len(after.Instances))}
	if before != nil {
		out.Samples.Baseline = uint64(len(before.Instances))
	}
	out.Warnings = restarts(before, after)
	problem := componentProblem(r, before, after)
	was := ""
	if before == nil {
		if r.Before == nil {
			was = "nobody looked before the upgrade"
		}
	} else if !before.Present {
		was = "it was missing before the upgrade"
	} else if p := componentProblem(&record.Record{After: r.Before}, nil, before); p != "" {
		was = "before the upgrade: " + p
	}
	switch {
	case problem == "" && was != "" && r.Before != nil:
		out.Result = Pass
		out.Explain = fmt.Sprintf("%s is healthy: %s.", name, instances(after))
		out.Warnings = append(out.Warnings, fmt.Sprintf("%s was not healthy before the upgrade (%s).", name, strings.TrimPrefix(was, "before the upgrade: ")))
	case problem == "":
		out.Result = Pass
		out.Explain = fmt.Sprintf("%s is healthy: %s.", name, instances(after))
	case was != "" && before != nil && before.Present:
		undecidedf(&out, "%s is not healthy after the upgrade (%s), but was not before it either (%s): repair it and rehearse again.", name, problem, strings.TrimPrefix(was, "before the upgrade: "))
	default:
		out.Result = Fail
		out.Explain = fmt.Sprintf("%s is not healthy after the upgrade: %s.", name, problem)
	}
	return out
}

func instances(c *record.Component) string {
	s := fmt.Sprintf("%d of %d ready", c.Ready, c.Desired)
	if n := len(c.Members); n > 0 {
		s += fmt.Sprintf(", %s healthy", english.Count(n, "member"))
	}
	return s
}

// componentProblem says what is wrong with a component of r.After, or nothing.
// Where the component before it had an instance on every node, so must it.
func componentProblem(r *record.Record, before, after *record.Component) string {
	if after.Problem != "" {
		problem := strings.TrimSuffix(after.Problem, ".")
		// A pod that is not there cannot be named, but its node can.
		for _, node := range bereft(r, before, after) {
			if !strings.Contains(problem, node) {
				problem += "; no ready pod on " + node
			}
		}
		return problem
	}
	var wrong []string
	for _, m := range after.Members {
		if !m.OK {
			wrong = append(wrong, strings.TrimSpace(fmt.Sprintf("member %s is unhealthy %s", m.Name, inBrackets(m.Detail))))
		}
	}
	if before != nil && len(after.Members) < len(before.Members) {
		wrong = append(wrong, fmt.Sprintf("%d of %d members are left", len(after.Members), len(before.Members)))
	}
	if nodes := bereft(r, before, after); len(nodes) > 0 {
		wrong = append(wrong, "no ready pod on "+enumerate(nodes))
	}
	if after.Ready < after.Desired || after.Desired == 0 {
		what := fmt.Sprintf("%d of %d ready", after.Ready, after.Desired)
		if pods := notReady(after); len(pods) > 0 {
			what += ": " + enumerate(pods)
		}
		wrong = append(wrong, what)
	}
	if before != nil && after.Kind == "Static" && after.Desired < before.Desired {
		wrong = append(wrong, fmt.Sprintf("%d instances where %d were before", after.Desired, before.Desired))
	}
	return strings.Join(wrong, "; ")
}

// bereft returns the nodes on which a DaemonSet has no ready pod after the
// upgrade, where it had one on every node before.
func bereft(r *record.Record, before, after *record.Component) []string {
	if after.Kind != "DaemonSet" || before == nil || r.Before == nil || len(lacking(r.Before, before)) > 0 {
		return nil
	}
	return lacking(r.After, after)
}

// lacking returns the nodes on which a component has no ready instance.
func lacking(s *record.Snapshot, c *record.Component) []string {
	var out []string
	for _, n := range s.Nodes {
		if !slices.ContainsFunc(c.Instances, func(p record.PodState) bool { return p.Node == n.Name && p.Ready }) {
			out = append(out, n.Name)
		}
	}
	return out
}

func notReady(c *record.Component) []string {
	var out []string
	for _, p := range c.Instances {
		if !p.Ready {
			out = append(out, strings.TrimSpace("pod "+p.Pod+" "+inBrackets(reasonOf(p))))
		}
	}
	return out
}

func reasonOf(p record.PodState) string {
	if p.Reason != "" {
		return p.Reason
	}
	return p.Phase
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// restarts names the pods that restarted during the upgrade. Pods of static
// manifests do when their manifest changes, which is how they are upgraded.
func restarts(before, after *record.Component) []string {
	if before == nil {
		return nil
	}
	old := map[string]int32{}
	for _, p := range before.Instances {
		old[p.Pod] = p.Restarts
	}
	var out []string
	for _, p := range after.Instances {
		was := old[p.Pod] // a new pod counts from zero
		if p.Restarts <= was {
			continue
		}
		w := fmt.Sprintf("Pod %s restarted %s.", p.Pod, times(p.Restarts-was))
		if after.Kind == "Static" {
			w = fmt.Sprintf("Static pod %s restarted %s, as is expected when its manifest is replaced.", p.Pod, times(p.Restarts-was))
		}
		out = append(out, w)
	}
	return out
}

func times(n int32) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func componentNamed(s *record.Snapshot, name string) *record.Component {
	if s == nil {
		return nil
	}
	for i := range s.Components {
		if s.Components[i].Name == name {
			return &s.Components[i]
		}
	}
	return nil
}

// judgeSystem judges what goes with the system components and needs no entry in
// the scenario: API services, cluster DNS, and pods that linger broken.
func (j *judgement) judgeSystem() []Criterion {
	r := j.up.rec
	if r.After == nil {
		return nil // the components have said so
	}
	return []Criterion{j.judgeAPIServices(), j.judgeDNS(), j.judgeLingering()}
}

func (j *judgement) judgeAPIServices() Criterion {
	out := Criterion{ID: "apiservices", Name: "Every APIService is available"}
	before, after := j.up.rec.Before, j.up.rec.After
	out.Samples.Upgrade = uint64(len(after.APIServices))
	was := map[string]bool{}
	if before != nil {
		out.Samples.Baseline = uint64(len(before.APIServices))
		for _, s := range before.APIServices {
			was[s.Name] = s.OK
		}
	}
	var broken []string
	for _, s := range after.APIServices {
		if s.OK {
			continue
		}
		if ok, seen := was[s.Name]; seen && !ok {
			out.Warnings = append(out.Warnings, fmt.Sprintf("APIService %s is unavailable, as before the upgrade.", s.Name))
			continue
		}
		broken = append(broken, strings.TrimSpace(s.Name+" "+inBrackets(s.Detail)))
	}
	switch {
	case len(after.APIServices) == 0:
		out.Result, out.Explain = Reported, "The snapshot names no APIService."
	case len(broken) > 0:
		out.Result = Fail
		out.Explain = fmt.Sprintf("%d of %d APIServices are unavailable after the upgrade: %s.", len(broken), len(after.APIServices), enumerate(broken))
	default:
		out.Result = Pass
		out.Explain = fmt.Sprintf("No APIService of %d became unavailable.", len(after.APIServices))
	}
	return out
}

func (j *judgement) judgeDNS() Criterion {
	out := Criterion{ID: "dns", Name: "Cluster DNS answers"}
	before, after := j.up.rec.Before, j.up.rec.After.DNSLookup
	was := before != nil && before.DNSLookup.OK
	switch {
	case after.OK:
		out.Result, out.Explain = Pass, fmt.Sprintf("A lookup of %s from inside the cluster succeeded.", after.Name)
	case after.Name == "" && after.Detail == "":
		out.Result, out.Explain = Reported, "No lookup was made from inside the cluster."
	case !was && before != nil:
		undecidedf(&out, "A lookup of %s from inside the cluster failed, before the upgrade as after it: %s", after.Name, sentence(after.Detail))
	default:
		out.Result, out.Explain = Fail, fmt.Sprintf("A lookup of %s from inside the cluster failed after the upgrade: %s", after.Name, sentence(after.Detail))
	}
	return out
}

// broken are the reasons of a pod that will not recover by waiting.
var broken = []string{"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

func (j *judgement) judgeLingering() Criterion {
	out := Criterion{ID: "lingering-pods", Name: "No broken system pod was left behind"}
	was := map[string]bool{}
	if before := j.up.rec.Before; before != nil {
		for _, p := range before.Lingering {
			was[p.Pod] = true
		}
	}
	var fresh []string
	for _, p := range j.up.rec.After.Lingering {
		name := strings.TrimSpace(p.Pod + " " + inBrackets(reasonOf(p)))
		switch {
		case was[p.Pod]:
			out.Warnings = append(out.Warnings, fmt.Sprintf("Pod %s lingers, as before the upgrade.", name))
		case slices.Contains(broken, p.Reason):
			fresh = append(fresh, name)
		default:
			out.Warnings = append(out.Warnings, fmt.Sprintf("Pod %s lingers after the upgrade: delete it, some tools wait for it for ever.", name))
		}
	}
	out.Samples.Upgrade = uint64(len(j.up.rec.After.Lingering))
	if len(fresh) > 0 {
		out.Result = Fail
		out.Explain = fmt.Sprintf("%s of system namespaces broke with the upgrade: %s.", english.Count(len(fresh), "pod"), enumerate(fresh))
		return out
	}
	out.Result = Pass
	out.Explain = "No pod of system namespaces broke with the upgrade."
	return out
}
