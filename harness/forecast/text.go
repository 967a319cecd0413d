package forecast

import (
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// CheckName names the forecast among the checks of a preflight.
const CheckName = "the drains of all nodes reach their end"

// IDs are those that Findings' findings can have.
var IDs = []string{"drain-stops", "drain-may-stop", "validation-stops", "workload-away", "pod-homeless", "pod-lost"}

// Findings returns what of a roll is worth a person's attention, each thing once:
// where drains stop and validations wait in vain, and what is away or lost
// though nothing stops.
func (r *Roll) Findings() []record.Finding {
	var out []record.Finding
	away := map[string][]string{}
	var order []string
	homeless := map[string]bool{}
	critical := map[string]bool{}
	for i := range r.Drains {
		n := &r.Drains[i]
		object := "node/" + n.Name
		for _, s := range n.Stops {
			f := record.Finding{ID: "drain-stops", Severity: record.SeverityBlock, Object: object,
				Cause: fmt.Sprintf("The drain of node %s will stop at pod %s: %s.", n.Name, s.Pod, s.Why), Remedy: sentence(s.Remedy)}
			if s.Placement {
				f.ID, f.Severity = "drain-may-stop", record.SeverityWarn
				f.Cause = fmt.Sprintf("The drain of node %s stops at pod %s, unless pods are placed otherwise than foretold: %s.", n.Name, s.Pod, s.Why)
			}
			out = append(out, f)
		}
		for _, p := range n.Validation {
			if !critical[p] {
				critical[p] = true
				out = append(out, record.Finding{ID: "validation-stops", Severity: record.SeverityBlock, Object: object,
					Cause:  fmt.Sprintf("The validation after node %s will wait in vain for pod %s, which finds no node: %s.", n.Name, p, whyOf(n, p)),
					Remedy: "Make room for it before the upgrade."})
			}
		}
		for _, w := range n.Away {
			if away[w] == nil {
				order = append(order, w)
			}
			away[w] = append(away[w], n.Name)
		}
		for _, p := range n.Lost {
			out = append(out, record.Finding{ID: "pod-lost", Severity: record.SeverityWarn, Object: "pod/" + p,
				Cause: fmt.Sprintf("Pod %s will be deleted with the drain of node %s, and nobody makes it again.", p, n.Name), Remedy: "Let a Deployment make it, or delete it if it is not needed."})
		}
		for _, h := range n.Homeless {
			if !homeless[h.Pod] {
				homeless[h.Pod] = true
				out = append(out, record.Finding{ID: "pod-homeless", Severity: record.SeverityWarn, Object: "pod/" + strings.TrimSuffix(h.Pod, "'"),
					Cause: fmt.Sprintf("After the drain of node %s, pod %s will find no node: %s.", n.Name, h.Pod, h.Why), Remedy: "Add a node before the upgrade, or loosen the rules that keep the pod from the others."})
			}
		}
	}
	for _, w := range order {
		out = append(out, record.Finding{ID: "workload-away", Severity: record.SeverityWarn, Object: w,
			Cause:  fmt.Sprintf("No pod of %s will be ready for a while during the drain of node %s.", w, strings.Join(away[w], ", then of ")),
			Remedy: "Run two replicas or more on different nodes, with a PodDisruptionBudget of maxUnavailable: 1."})
	}
	return out
}

func whyOf(n *Node, pod string) string {
	for _, h := range n.Homeless {
		if h.Pod == pod {
			return h.Why
		}
	}
	return "no reason is known"
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// Lines say how the roll will go, node by node, for a person.
func (r *Roll) Lines() []string {
	strategy := r.Strategy
	if strategy == "" {
		strategy = "in-place"
	}
	head := fmt.Sprintf("Drain of %s, workers by %s", english.Count(len(r.Drains), "node"), strategy)
	if r.ExtraWorkers > 0 {
		head += fmt.Sprintf(" with %s", english.Count(r.ExtraWorkers, "extra worker"))
	}
	if r.Force {
		head += ", bare pods deleted"
	}
	out := []string{head + ":"}
	stopped := ""
	for i := range r.Drains {
		n := &r.Drains[i]
		line := n.Name
		if len(n.With) > 0 {
			line += " (with " + strings.Join(n.With, ", ") + ")"
		}
		switch {
		case len(n.Stops) > 0:
			s := n.Stops[0]
			line += fmt.Sprintf(": STOPS at pod %s: %s", s.Pod, s.Why)
			if more := len(n.Stops) - 1; more > 0 {
				line += fmt.Sprintf("; and at %s more", english.Count(more, "pod"))
			}
		default:
			line += fmt.Sprintf(": drains, %s", english.Count(n.Moved, "pod"))
		}
		if len(n.Away) > 0 {
			line += "; away for a while: " + strings.Join(n.Away, ", ")
		}
		if len(n.Lost) > 0 {
			line += "; lost: " + strings.Join(n.Lost, ", ")
		}
		out = append(out, line)
		if stopped == "" && len(n.Stops) > 0 {
			stopped = n.Name
			if i < len(r.Drains)-1 {
				out = append(out, "The roll ends here. If somebody uncordoned "+n.Name+", left what held it there and went on:")
			}
		}
	}
	return out
}
