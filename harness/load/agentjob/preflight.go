package agentjob

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// permissions are what running agents takes, as kubectl auth can-i spells it.
func permissions(runID string) []authorizationv1.ResourceAttributes {
	ns := Namespace(runID)
	return []authorizationv1.ResourceAttributes{
		{Verb: "get", Resource: "namespaces"},
		{Verb: "list", Resource: "namespaces"},
		{Verb: "create", Resource: "namespaces"},
		{Verb: "delete", Resource: "namespaces"},
		{Verb: "create", Resource: "secrets", Namespace: ns},
		{Verb: "create", Group: "batch", Resource: "jobs", Namespace: ns},
		{Verb: "get", Resource: "pods", Namespace: ns},
		{Verb: "list", Resource: "pods", Namespace: ns},
		{Verb: "get", Resource: "pods", Subresource: "proxy", Namespace: ns},
		{Verb: "create", Resource: "pods", Subresource: "proxy", Namespace: ns},
	}
}

// Preflight finds what would keep a run's agents from running, and what earlier runs
// have left in the cluster. Nothing is created. The error means that it could not be
// told.
func Preflight(ctx context.Context, c *Cluster, runID string) ([]record.Finding, error) {
	var out []record.Finding
	if _, err := c.Client.Discovery().ServerVersion(); err != nil {
		return nil, fmt.Errorf("the cluster for the load agents, %s, does not answer: %w", c, err)
	}
	var missing []string
	for _, p := range permissions(runID) {
		review, err := c.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &p},
		}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("ask what is allowed in the cluster for the load agents, %s: %w", c, err)
		}
		if !review.Status.Allowed {
			missing = append(missing, spelled(p))
		}
	}
	if missing != nil {
		out = append(out, record.Finding{
			ID: "agents-forbidden", Severity: record.SeverityBlock, Object: "cluster/agents",
			Cause:  fmt.Sprintf("in %s this user may not: %s", c, strings.Join(missing, ", ")),
			Remedy: "grant it (docs/guides/agents.md has the ClusterRole), or name another cluster in load.agentsKubeconfig",
		})
		return out, nil
	}
	list, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("look for load agents of earlier runs in %s: %w", c, err)
	}
	for i := range list.Items {
		run := list.Items[i].Labels[cluster.LabelRun]
		out = append(out, record.Finding{
			ID: "leftover", Severity: record.SeverityWarn, Object: "namespace/" + list.Items[i].Name,
			Cause:  fmt.Sprintf("run %s left its load agents behind in %s, or is under way", run, c),
			Remedy: c.DeleteCommand(run),
		})
	}
	return out, nil
}

// spelled is how kubectl auth can-i takes it.
func spelled(p authorizationv1.ResourceAttributes) string {
	resource := p.Resource
	if p.Group != "" {
		resource += "." + p.Group
	}
	if p.Subresource != "" {
		resource += "/" + p.Subresource
	}
	return p.Verb + " " + resource
}
