package preflight

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// APIUse is evidence that somebody uses a version of an API.
type APIUse struct {
	Group   string `json:"group,omitempty"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	// Evidence is one of the Evidence constants.
	Evidence string `json:"evidence"`
	// By is who: an object and the manager of its fields, or a Helm release.
	By string `json:"by,omitempty"`
}

// Kinds of evidence.
const (
	// EvidenceRequested is a request since the API server that answered started
	// (its metric apiserver_requested_deprecated_apis).
	EvidenceRequested = "requested"
	// EvidenceManaged is an object whose fields were last written with it.
	EvidenceManaged = "managed fields"
	// EvidenceApplied is an object's last-applied annotation.
	EvidenceApplied = "last applied"
	// EvidenceHelm is the manifest of a deployed Helm release.
	EvidenceHelm = "helm"
)

func (u APIUse) gvk() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: u.Group, Version: u.Version, Kind: u.Kind}
}

// apiTableOfTarget stands for the table in this build, where it reaches the
// target: what is not in it is not judged.
const apiTableOfTarget Resource = "table of removed APIs"

func (s *State) beyondTable() bool {
	_, to, ok := s.minors()
	return ok && to > apiTableMinor
}

// tableTooOld says once what the checks of APIs, which are then not made, cannot
// judge.
func tableTooOld(s *State) []record.Finding {
	if !s.beyondTable() {
		return nil
	}
	_, to, _ := s.minors()
	return []record.Finding{{ID: "api-table-too-old", Severity: record.SeverityWarn, Object: "target",
		Cause:  fmt.Sprintf("This build knows which APIs were removed up to v1.%d. It does not judge a target of v1.%d.", apiTableMinor, to),
		Remedy: "Use a newer version of rehearse."}}
}

// byEvidence returns the check of one sort of evidence, so that one which may not
// be read is not taken for one that shows nothing.
func byEvidence(kinds ...string) func(*State) []record.Finding {
	return func(s *State) []record.Finding {
		from, to, ok := s.minors()
		if !ok {
			return nil
		}
		var uses []APIUse
		for _, u := range s.APIUses {
			if slices.Contains(kinds, u.Evidence) {
				uses = append(uses, u)
			}
		}
		return removedAPIs(uses, from, to)
	}
}

// removedAPIs finds versions of APIs in use that the target serves no more, or
// that a later one will not. What clients ask for now will fail, which blocks;
// what only stands in a manifest fails when somebody applies that again.
func removedAPIs(all []APIUse, from, to uint) []record.Finding {
	uses := map[schema.GroupVersionKind][]APIUse{}
	for _, u := range all {
		if _, ends := apiTable()[u.gvk()]; ends {
			uses[u.gvk()] = append(uses[u.gvk()], u)
		}
	}
	var out []record.Finding
	for gvk, used := range uses {
		l := apiTable()[gvk]
		f := record.Finding{ID: "api-removed", Severity: record.SeverityWarn, Object: "api/" + gvk.GroupVersion().String() + "/" + gvk.Kind}
		if l.removed <= from {
			// It is served no more: only what stands in manifests can still be of it.
			used = slices.DeleteFunc(used, func(u APIUse) bool { return u.Evidence == EvidenceRequested || u.Evidence == EvidenceManaged })
		}
		if len(used) == 0 {
			continue
		}
		evidence := evidenceOf(used)
		switch {
		case l.removed <= from:
			f.Cause = fmt.Sprintf("%s of %s is served no more since v1.%d, and manifests still have it: %s. Applying them, or upgrading the Helm release, fails.", gvk.Kind, gvk.GroupVersion(), l.removed, evidence)
		case l.removed <= to:
			if slices.ContainsFunc(used, func(u APIUse) bool { return u.Evidence == EvidenceRequested }) {
				f.Severity = record.SeverityBlock
			}
			f.Cause = fmt.Sprintf("%s of %s is served no more from v1.%d on: %s.", gvk.Kind, gvk.GroupVersion(), l.removed, evidence)
		default:
			f.ID, f.Severity = "api-deprecated", record.SeverityInfo
			f.Cause = fmt.Sprintf("%s of %s will be served no more from v1.%d on: %s.", gvk.Kind, gvk.GroupVersion(), l.removed, evidence)
		}
		f.Remedy = l.remedy() + ", in manifests, Helm charts and clients alike."
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b record.Finding) int { return strings.Compare(a.Object, b.Object) })
	return out
}

// evidenceOf says what the uses are.
func evidenceOf(used []APIUse) string {
	by := map[string][]string{}
	for _, u := range used {
		by[u.Evidence] = append(by[u.Evidence], u.By)
	}
	var out []string
	for _, e := range []string{EvidenceRequested, EvidenceManaged, EvidenceApplied, EvidenceHelm} {
		if len(by[e]) == 0 {
			continue
		}
		names := by[e]
		slices.Sort(names)
		names = slices.Compact(names)
		switch e {
		case EvidenceRequested:
			out = append(out, "clients have asked for it since the API server started")
		case EvidenceManaged:
			out = append(out, "last written with it: "+several(names))
		case EvidenceApplied:
			out = append(out, "last applied with it: "+several(names))
		case EvidenceHelm:
			out = append(out, "in the manifest of Helm release "+several(names))
		}
	}
	return strings.Join(out, "; ")
}
