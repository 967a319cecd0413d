package scenarios

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Workload is a stand-in for one of production's workloads: pods that do nothing
// but be there, so that drains meet the same replicas and budgets.
type Workload struct {
	// Namespace is WorkloadNamespace unless given; it is made where it is missing.
	Namespace string `json:"namespace,omitempty"`
	// Name is unique in its namespace.
	Name     string `json:"name"`
	Replicas int    `json:"replicas"`
	// PodDisruptionBudget is absent where the workload has none.
	PodDisruptionBudget *Budget `json:"podDisruptionBudget,omitempty"`
	// Requests are what each pod asks for; absent where it asks for nothing.
	Requests *Requests `json:"requests,omitempty"`
}

// Requests are resources as Kubernetes spells them: cpu 250m, memory 64Mi.
type Requests struct {
	CPU    string `json:"cpu,omitempty"`
	Memory string `json:"memory,omitempty"`
}

// WorkloadNamespace holds the stand-ins that name no other.
const WorkloadNamespace = "rehearse-workloads"

// SystemNamespaces belong to the cluster: no stand-in may be put there.
var SystemNamespaces = []string{"kube-system", "kube-public", "kube-node-lease", "kube-flannel", "rehearse"}

// Mirror says which production the scenario mirrors and how well. rehearse mirror
// writes it, and reports repeat it beside the verdict.
type Mirror struct {
	// Facts is the digest of the facts file: "sha256:" and 64 hexadecimal digits.
	Facts string `json:"facts"`
	// Fidelity is a share of one; package mirror has the formula.
	Fidelity float64 `json:"fidelity"`
	// Uncovered is what the mirror cannot show, one sentence each.
	Uncovered []string `json:"uncovered,omitempty"`
}

// Bounds of what a scenario may declare.
const (
	maxWorkloads = 200
	maxPods      = 5000
)

func validateWorkloads(p *field.Path, list []Workload) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxWorkloads {
		errs = append(errs, field.Invalid(p, len(list), fmt.Sprintf("at most %d stand-ins", maxWorkloads)))
	}
	pods := 0
	seen := map[string]bool{}
	for i := range list {
		w, wp := &list[i], p.Index(i)
		errs = append(errs, w.validate(wp)...)
		pods += max(w.Replicas, 0)
		if id := w.namespace() + "/" + w.Name; w.Name != "" {
			if seen[id] {
				errs = append(errs, field.Duplicate(wp.Child("name"), id))
			}
			seen[id] = true
		}
	}
	if pods > maxPods {
		errs = append(errs, field.Invalid(p, pods, fmt.Sprintf("at most %d pods together", maxPods)))
	}
	return errs
}

func (w *Workload) namespace() string {
	if w.Namespace == "" {
		return WorkloadNamespace
	}
	return w.Namespace
}

func (w *Workload) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if w.Namespace != "" {
		switch {
		case len(utilvalidation.IsDNS1123Label(w.Namespace)) > 0:
			errs = append(errs, field.Invalid(p.Child("namespace"), w.Namespace, "lower-case letters, digits and '-' only, beginning and ending with a letter or digit"))
		case slices.Contains(SystemNamespaces, w.Namespace):
			errs = append(errs, field.Invalid(p.Child("namespace"), w.Namespace, "the cluster or rehearse uses this namespace: name another"))
		}
	}
	switch {
	case w.Name == "":
		errs = append(errs, field.Required(p.Child("name"), "a stand-in needs a name"))
	case len(utilvalidation.IsDNS1123Label(w.Name)) > 0:
		errs = append(errs, field.Invalid(p.Child("name"), w.Name, "at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"))
	}
	errs = append(errs, within(p.Child("replicas"), w.Replicas, 1, 1000)...)
	if w.PodDisruptionBudget != nil {
		errs = append(errs, w.PodDisruptionBudget.validate(p.Child("podDisruptionBudget"))...)
	}
	if r := w.Requests; r != nil {
		errs = append(errs, quantity(p.Child("requests", "cpu"), r.CPU, "250m")...)
		errs = append(errs, quantity(p.Child("requests", "memory"), r.Memory, "64Mi")...)
	}
	return errs
}

func (b *Budget) validate(p *field.Path) field.ErrorList {
	switch {
	case (b.MaxUnavailable == nil) == (b.MinAvailable == nil):
		return field.ErrorList{field.Invalid(p, "", "give exactly one of maxUnavailable and minAvailable")}
	case b.MaxUnavailable != nil && *b.MaxUnavailable < 0:
		return field.ErrorList{field.Invalid(p.Child("maxUnavailable"), *b.MaxUnavailable, "0 or more")}
	case b.MinAvailable != nil && *b.MinAvailable < 0:
		return field.ErrorList{field.Invalid(p.Child("minAvailable"), *b.MinAvailable, "0 or more")}
	}
	return nil
}

func quantity(p *field.Path, s, example string) field.ErrorList {
	if s == "" {
		return nil
	}
	if q, err := resource.ParseQuantity(s); err != nil || q.Sign() <= 0 {
		return field.ErrorList{field.Invalid(p, s, "an amount above zero such as "+example)}
	}
	return nil
}

var factsDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (m *Mirror) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !factsDigest.MatchString(m.Facts) {
		errs = append(errs, field.Invalid(p.Child("facts"), m.Facts, `the digest that rehearse mirror wrote: "sha256:" and 64 hexadecimal digits`))
	}
	if math.IsNaN(m.Fidelity) || m.Fidelity < 0 || m.Fidelity > 1 {
		errs = append(errs, field.Invalid(p.Child("fidelity"), m.Fidelity, "a share from 0 to 1"))
	}
	for i, u := range m.Uncovered {
		if strings.TrimSpace(u) == "" {
			errs = append(errs, field.Invalid(p.Child("uncovered").Index(i), u, "a sentence"))
		}
	}
	return errs
}
