package preflight

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// webhook is what validating and mutating webhooks have in common here.
type webhook struct {
	kind, config, name string
	rules              []admissionv1.RuleWithOperations
	client             admissionv1.WebhookClientConfig
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
			out = append(out, webhook{"ValidatingWebhookConfiguration", c.Name, w.Name, w.Rules, w.ClientConfig, fails(w.FailurePolicy)})
		}
	}
	for _, c := range s.Mutating {
		for _, w := range c.Webhooks {
			out = append(out, webhook{"MutatingWebhookConfiguration", c.Name, w.Name, w.Rules, w.ClientConfig, fails(w.FailurePolicy)})
		}
	}
	return out
}

const (
	evictions = "a pod is evicted"
	creations = "a pod is made"
)

// touches says what of a drain the rules cover: evictions, the making of pods,
// or nothing.
func touches(rules []admissionv1.RuleWithOperations) string {
	found := ""
	for _, r := range rules {
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
