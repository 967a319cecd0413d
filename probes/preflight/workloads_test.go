package preflight

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type budgets = []policyv1.PodDisruptionBudget

func TestBlockingBudgets(t *testing.T) {
	one := []corev1.Pod{pod("shop", "web-1", "w1")}
	two := []corev1.Pod{pod("shop", "web-2", "w2"), pod("shop", "web-1", "w1"), pod("shop", "db", "w1", labelled("db")), pod("other", "web-1", "w1")}
	status := func(healthy, desired, allowed int32, conditions ...metav1.Condition) func(*policyv1.PodDisruptionBudget) {
		return func(b *policyv1.PodDisruptionBudget) {
			b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, CurrentHealthy: healthy, DesiredHealthy: desired, DisruptionsAllowed: allowed, Conditions: conditions}
		}
	}
	const never = "block budget-allows-none poddisruptionbudget/shop/web: PodDisruptionBudget shop/web can never allow an eviction: "
	const twoPods = " with 2 pods. Drains will wait for shop/web-1 on w1, shop/web-2 on w2. | Set maxUnavailable: 1, at least for the time of the upgrade."
	run(t, blockingBudgets, []test{
		{"one may be away", State{Pods: two, Budgets: budgets{budget("web", maxUnavailable("1"))}}, nil},
		{"a single replica that must be there", State{Pods: one, Budgets: budgets{budget("web", minAvailable("1"))}}, []string{
			never + "minAvailable is 1 with 1 pod. Drains will wait for shop/web-1 on w1. | Run at least two replicas, or delete the budget: with one pod, a budget can only forbid or be without effect."}},
		{"none may be away", State{Pods: two, Budgets: budgets{budget("web", maxUnavailable("0"))}}, []string{never + "maxUnavailable is 0" + twoPods}},
		{"all must be there", State{Pods: two, Budgets: budgets{budget("web", minAvailable("100%"))}}, []string{never + "minAvailable is 100%" + twoPods}},
		{"a percentage that is rounded up to all", State{Pods: two, Budgets: budgets{budget("web", minAvailable("51%"))}}, []string{never + "minAvailable is 51%" + twoPods}},
		{"a percentage that leaves one", State{Pods: two, Budgets: budgets{budget("web", minAvailable("50%"))}}, nil},
		{"a percentage of those away is rounded up too", State{Pods: two, Budgets: budgets{budget("web", maxUnavailable("1%"))}}, nil},
		{"more must be there than are", State{Pods: two, Budgets: budgets{budget("web", minAvailable("3"))}}, []string{never + "minAvailable is 3" + twoPods}},
		{"the controller expects more than live now", State{Pods: two, Budgets: budgets{budget("web", minAvailable("2"), func(b *policyv1.PodDisruptionBudget) { b.Status.ExpectedPods = 3 })}}, nil},
		{"protects nothing", State{Pods: []corev1.Pod{pod("shop", "db", "w1", labelled("db"))}, Budgets: budgets{budget("web", maxUnavailable("0"))}}, nil},
		{"without a rule", State{Pods: one, Budgets: budgets{budget("web")}}, nil},
		{"exhausted for now", State{Pods: two, Budgets: budgets{budget("web", maxUnavailable("1"), status(1, 1, 0))}}, []string{
			"warn budget-exhausted poddisruptionbudget/shop/web: PodDisruptionBudget shop/web allows no eviction now: 1 of 2 pods are healthy, and it wants 1. | Repair the pods that are not healthy, or set unhealthyPodEvictionPolicy: AlwaysAllow so that they can be evicted."}},
		{"cannot be computed", State{Pods: two, Budgets: budgets{budget("web", maxUnavailable("1"), status(0, 0, 0, metav1.Condition{
			Type: policyv1.DisruptionAllowedCondition, Reason: policyv1.SyncFailedReason, Message: `found no controllers for pod "web-1"`}))}}, []string{
			`block budget-not-computed poddisruptionbudget/shop/web: PodDisruptionBudget shop/web allows no eviction because its controller cannot compute it: found no controllers for pod "web-1". | Let it select only pods of workloads with a scale (Deployment, StatefulSet, ReplicaSet), or state minAvailable as a number.`}},
	})
}

func TestOverlappingBudgets(t *testing.T) {
	many := State{Budgets: budgets{budget("a"), budget("b")}}
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7"} {
		many.Pods = append(many.Pods, pod("shop", "web-"+n, "w1"))
	}
	elsewhere := budget("c")
	elsewhere.Namespace = "other"
	run(t, overlappingBudgets, []test{
		{"apart", State{Pods: []corev1.Pod{pod("shop", "web-1", "w1")}, Budgets: budgets{budget("a"), elsewhere}}, nil},
		{"two for the same pods", many, []string{
			"block budgets-overlap poddisruptionbudget/shop/a: PodDisruptionBudgets a, b of namespace shop select the same pods, which the eviction API refuses to evict: shop/web-1, shop/web-2, shop/web-3, shop/web-4, shop/web-5 and 2 more. | Keep one budget for each pod: narrow their selectors, or delete all but one."}},
	})
}

func TestBarePods(t *testing.T) {
	mirror := func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }
	run(t, barePods, []test{
		{"owned, static, done", State{Pods: []corev1.Pod{pod("shop", "a", "w1", owned("ReplicaSet")), pod("kube-system", "b", "cp", mirror), pod("shop", "c", "w1", phase(corev1.PodSucceeded))}}, nil},
		{"bare", State{Pods: []corev1.Pod{pod("shop", "a", "w1")}}, []string{
			"warn bare-pod pod/shop/a: Pod shop/a on node w1 belongs to no controller: when its node is drained it is deleted and does not come back. | Let a Deployment or StatefulSet make it, or delete it if it is not needed."}},
	})
}

func TestSingleReplicas(t *testing.T) {
	together := []corev1.Pod{pod("shop", "web-1", "w1"), pod("shop", "web-2", "w1")}
	apart := []corev1.Pod{pod("shop", "web-1", "w1"), pod("shop", "web-2", "w2")}
	set := appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}}
	run(t, singleReplicas, []test{
		{"spread", State{Deployments: []appsv1.Deployment{deployment("shop", "web", 2)}, Pods: apart}, nil},
		{"single", State{Deployments: []appsv1.Deployment{deployment("shop", "web", 1), deployment("shop", "off", 0), deployment("kube-system", "x", 1)}, StatefulSets: []appsv1.StatefulSet{set}}, []string{
			"warn single-replica deployment/shop/web: Deployment shop/web has one replica: it is down from the eviction of its pod until another one is ready. | Run at least two replicas on different nodes, with a PodDisruptionBudget of maxUnavailable: 1.",
			"warn single-replica statefulset/shop/db: StatefulSet shop/db has one replica: it is down from the eviction of its pod until another one is ready. | Run at least two replicas on different nodes, with a PodDisruptionBudget of maxUnavailable: 1."}},
		{"together without a budget", State{Deployments: []appsv1.Deployment{deployment("shop", "web", 2)}, Pods: together}, []string{
			"warn replicas-on-one-node deployment/shop/web: All 2 replicas of Deployment shop/web run on node w1 and no budget protects them: its drain evicts them all at once. | Spread them with topologySpreadConstraints over kubernetes.io/hostname, and add a PodDisruptionBudget of maxUnavailable: 1."}},
		{"together with a budget", State{Deployments: []appsv1.Deployment{deployment("shop", "web", 2)}, Pods: together, Budgets: budgets{budget("web", maxUnavailable("1"))}}, nil},
	})
}

func TestWebhooks(t *testing.T) {
	rule := func(group string, resources ...string) []admissionv1.RuleWithOperations {
		return []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: resources}}}
	}
	with := func(policy admissionv1.FailurePolicyType, rules []admissionv1.RuleWithOperations) State {
		return State{Validating: []admissionv1.ValidatingWebhookConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "guard"}, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "pods.guard.io", Rules: rules, FailurePolicy: &policy,
			ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "guard", Name: "hook"}}}}}}}
	}
	up := func(s State) State {
		no := false
		s.Slices = []discoveryv1.EndpointSlice{{ObjectMeta: metav1.ObjectMeta{Namespace: "guard", Labels: map[string]string{discoveryv1.LabelServiceName: "hook"}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}, {Addresses: []string{"10.0.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}}}}}
		return s
	}
	mutating := State{Mutating: []admissionv1.MutatingWebhookConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "inject"}, Webhooks: []admissionv1.MutatingWebhook{{
		Name: "sidecar.io", Rules: rule("", "pods"), ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "mesh", Name: "injector"}}}}}}}
	run(t, webhooks, []test{
		{"of no concern", up(with(admissionv1.Fail, rule("apps", "deployments"))), nil},
		{"may fail", with(admissionv1.Ignore, rule("", "pods/eviction")), nil},
		{"up, over the making of pods", up(with(admissionv1.Fail, rule("", "pods"))), []string{
			"info webhook-decides-system validatingwebhookconfiguration/guard: Webhook pods.guard.io is asked before a pod is made, the system's own included, and its failurePolicy is Fail: while it is down, nothing of the system comes up again, itself perhaps included. | Exclude kube-system and the webhook's own namespace by its namespaceSelector, and run it on more than one node."}},
		{"up, over evictions", up(with(admissionv1.Fail, rule("", "pods/eviction"))), []string{
			"warn webhook-decides-evictions validatingwebhookconfiguration/guard: Webhook pods.guard.io is asked before a pod is evicted and its failurePolicy is Fail: if it refuses or is down, drains stop. | Make sure that it allows evictions during the upgrade and runs on more than one node."}},
		{"over everything, subresources too", up(with(admissionv1.Fail, rule("*", "*/*"))), []string{
			"warn webhook-decides-evictions validatingwebhookconfiguration/guard: Webhook pods.guard.io is asked before a pod is evicted and its failurePolicy is Fail: if it refuses or is down, drains stop. | Make sure that it allows evictions during the upgrade and runs on more than one node."}},
		{"down", with(admissionv1.Fail, rule("", "pods/eviction")), []string{
			"block webhook-down validatingwebhookconfiguration/guard: Webhook pods.guard.io must be asked before a pod is evicted, its failurePolicy is Fail, and its Service guard/hook has no ready endpoint: every such request is refused. | Repair the webhook's pods, or set failurePolicy: Ignore, or delete the ValidatingWebhookConfiguration if its product is gone."}},
		{"a mutating one down, with the default policy", mutating, []string{
			"block webhook-down mutatingwebhookconfiguration/inject: Webhook sidecar.io must be asked before a pod is made, its failurePolicy is Fail, and its Service mesh/injector has no ready endpoint: every such request is refused. | Repair the webhook's pods, or set failurePolicy: Ignore, or delete the MutatingWebhookConfiguration if its product is gone."}},
	})
}
