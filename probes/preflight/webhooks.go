package preflight

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// webhook is what validating and mutating webhooks have in common here.
type webhook struct {
	kind, config, name string
	rules              []admissionv1.RuleWithOperations
	client             admissionv1.WebhookClientConfig
	namespaces         *metav1.LabelSelector
	fail               bool
}

// webhooks finds admission webhooks without which pods cannot be made or
// evicted. One whose Service has no ready endpoint blocks already; one that
// decides over evictions may refuse them, or be down exactly while the node
// that runs it is drained.
func webhooks(s *State) []record.Finding {
	var out []record.Finding
	for _, w := range allWebhooks(s) {
		what := touches(w.rules)
		if !w.fail || what == "" {
			continue
		}
		object := lower(w.kind) + "/" + w.config
		service := ""
		if w.client.Service != nil {
			service = w.client.Service.Namespace + "/" + w.client.Service.Name
		}
		switch {
		case service != "" && readyEndpoints(s, w.client.Service.Namespace, w.client.Service.Name) == 0:
			out = append(out, record.Finding{ID: "webhook-down", Severity: record.SeverityBlock, Object: object,
				Cause: fmt.Sprintf("Webhook %s must be asked before %s, its failurePolicy is Fail, and its Service %s has no ready endpoint: every such request is refused.",
					w.name, what, service),
				Remedy: "Repair the webhook's pods, or set failurePolicy: Ignore, or delete the " + w.kind + " if its product is gone."})
		case what == onNodes, what == creations && coversSystem(w.namespaces):
			out = append(out, record.Finding{ID: "webhook-decides-system", Severity: record.SeverityInfo, Object: object,
				Cause:  fmt.Sprintf("Webhook %s is asked before %s, the system's own included, and its failurePolicy is Fail: while it is down, nothing of the system comes up again, itself perhaps included.", w.name, what),
				Remedy: "Exclude kube-system and the webhook's own namespace by its namespaceSelector, and run it on more than one node."})
		case what == evictions:
			out = append(out, record.Finding{ID: "webhook-decides-evictions", Severity: record.SeverityWarn, Object: object,
				Cause:  fmt.Sprintf("Webhook %s is asked before %s and its failurePolicy is Fail: if it refuses or is down, drains stop.", w.name, what),
				Remedy: "Make sure that it allows evictions during the upgrade and runs on more than one node."})
		}
	}
	return out
}

func allWebhooks(s *State) []webhook {
	var out []webhook
	fails := func(p *admissionv1.FailurePolicyType) bool { return p == nil || *p == admissionv1.Fail }
	for _, c := range s.Validating {
		for _, w := range c.Webhooks {
			out = append(out, webhook{"ValidatingWebhookConfiguration", c.Name, w.Name, w.Rules, w.ClientConfig, w.NamespaceSelector, fails(w.FailurePolicy)})
		}
	}
	for _, c := range s.Mutating {
		for _, w := range c.Webhooks {
			out = append(out, webhook{"MutatingWebhookConfiguration", c.Name, w.Name, w.Rules, w.ClientConfig, w.NamespaceSelector, fails(w.FailurePolicy)})
		}
	}
	return out
}

const (
	evictions = "a pod is evicted"
	creations = "a pod is made"
	onNodes   = "a node or its lease is changed"
)

// coversSystem reports whether a namespace selector takes in kube-system, as far
// as the label that every namespace has tells.
func coversSystem(s *metav1.LabelSelector) bool {
	if s == nil {
		return true
	}
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err != nil || sel.Matches(labels.Set{corev1.LabelMetadataName: metav1.NamespaceSystem})
}

// touches says what of an upgrade the rules cover: evictions, the making of
// pods, changes of nodes or of their leases, or nothing.
func touches(rules []admissionv1.RuleWithOperations) string {
	found := ""
	for _, r := range rules {
		if found == "" && coversNodes(r) {
			found = onNodes
		}
		if !oneOf(r.APIGroups, "") || !oneOf(r.APIVersions, "v1") || !operation(r.Operations, admissionv1.Create) {
			continue
		}
		// "*" covers resources, but "*/*" is needed for their subresources.
		if slices.ContainsFunc(r.Resources, func(x string) bool {
			return x == "pods/eviction" || x == "pods/*" || x == "*/eviction" || x == "*/*"
		}) {
			return evictions
		}
		if oneOf(r.Resources, "pods") {
			found = creations
		}
	}
	return found
}

// coversNodes reports rules over what a kubelet writes to stay Ready.
func coversNodes(r admissionv1.RuleWithOperations) bool {
	if !operation(r.Operations, admissionv1.Update) && !operation(r.Operations, admissionv1.Create) {
		return false
	}
	return slices.Contains(r.APIGroups, "") && slices.ContainsFunc(r.Resources, func(x string) bool { return x == "nodes" || x == "nodes/status" || x == "nodes/*" }) ||
		slices.Contains(r.APIGroups, "coordination.k8s.io") && oneOf(r.Resources, "leases")
}

func oneOf(list []string, want string) bool {
	return slices.Contains(list, want) || slices.Contains(list, "*")
}

func operation(list []admissionv1.OperationType, want admissionv1.OperationType) bool {
	return slices.Contains(list, want) || slices.Contains(list, admissionv1.OperationAll)
}

func readyEndpoints(s *State, namespace, service string) int {
	n := 0
	for i := range s.Slices {
		slice := &s.Slices[i]
		if slice.Namespace != namespace || slice.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				n++
			}
		}
	}
	return n
}
