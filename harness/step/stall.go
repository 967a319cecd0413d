package step

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// What can hold a pod on its node; values of the detail cause of drain-stalled.
const (
	causeBudget      = "budget"      // a PodDisruptionBudget allows no eviction now
	causeOverlap     = "overlap"     // several budgets select it, which the API does not evict
	causeWebhook     = "webhook"     // an admission webhook or policy denies it, or cannot be called
	causeBusy        = "busy"        // the API server sheds load: 429 without a budget
	causeRefused     = "refused"     // any other answer, such as missing permission
	causeTerminating = "terminating" // it is being deleted and does not go
	causeAPI         = "api"         // the API server did not answer
)

// stall is what holds one pod up.
type stall struct {
	cause  string
	why    string // a clause with the objects and numbers
	remedy string
	err    error // the refusal; nil where it is being deleted
	// passes: a budget that lets pods go one after another made this one wait,
	// which is what it is for. It is trouble only if it lasts.
	passes bool
	more   map[string]string
}

func (s *stall) detail() map[string]string {
	out := map[string]string{"cause": s.cause, "why": s.why, "remedy": s.remedy}
	if s.err != nil {
		out["reason"] = s.err.Error()
	}
	for k, v := range s.more {
		if v != "" {
			out[k] = v
		}
	}
	return out
}

// How the API server words what admission decides
// (k8s.io/apiserver/pkg/admission/plugin/webhook/errors and .../policy/validating).
var (
	denied     = regexp.MustCompile(`admission webhook "([^"]+)" denied the request`)
	uncallable = regexp.MustCompile(`failed calling webhook "([^"]+)"`)
	policy     = regexp.MustCompile(`ValidatingAdmissionPolicy '([^']+)' with binding '([^']+)' denied request`)
)

// overlapping reports whether err is how the API answers where several budgets
// select a pod (k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go).
func overlapping(err error) bool {
	return strings.Contains(err.Error(), "more than one PodDisruptionBudget")
}

// refusal finds out what is behind the answer err to an eviction.
func (e *eviction) refusal(ctx context.Context, err error) *stall {
	ctx, cancel := context.WithTimeout(ctx, looking)
	defer cancel()
	s := &stall{err: err}
	text := strings.TrimSuffix(err.Error(), ".")
	owner := e.owner(ctx)
	s.more = map[string]string{"owner": owner.name, "replicas": owner.count()}
	switch {
	case denied.MatchString(text):
		name := denied.FindStringSubmatch(text)[1]
		s.cause, s.more["webhook"] = causeWebhook, name
		s.why = fmt.Sprintf("webhook %s denies its eviction: %s", name, text)
		s.remedy = fmt.Sprintf("ask the owner of webhook %s when it lets pods go, or except pods/eviction from its rules for the upgrade", name)
	case uncallable.MatchString(text):
		name := uncallable.FindStringSubmatch(text)[1]
		s.cause, s.more["webhook"] = causeWebhook, name
		s.why = fmt.Sprintf("webhook %s cannot be called, and without it no eviction is admitted: %s", name, text)
		s.remedy = fmt.Sprintf("bring the service of webhook %s back, or set its failurePolicy to Ignore", name)
	case policy.MatchString(text):
		m := policy.FindStringSubmatch(text)
		s.cause, s.more["policy"] = causeWebhook, m[1]
		s.why = fmt.Sprintf("ValidatingAdmissionPolicy %s (binding %s) denies its eviction: %s", m[1], m[2], text)
		s.remedy = fmt.Sprintf("except pods/eviction from binding %s for the upgrade", m[2])
	case apierrors.IsTooManyRequests(err) || overlapping(err):
		e.byBudget(ctx, s, owner)
	default:
		s.cause, s.why = causeRefused, "its eviction was refused: "+text
		s.remedy = "read the refusal: it is no budget's, so waiting alone will not help"
	}
	return s
}

// byBudget explains a refusal that may be a budget's.
func (e *eviction) byBudget(ctx context.Context, s *stall, owner workload) {
	text := strings.TrimSuffix(s.err.Error(), ".")
	all, err := e.budgets(ctx)
	if err != nil {
		s.cause, s.why = causeBudget, fmt.Sprintf("%s; its budgets could not be read: %v", text, err)
		s.remedy = "look at the PodDisruptionBudgets of namespace " + e.pod.Namespace
		return
	}
	var names []string
	for _, b := range all {
		names = append(names, b.Name)
	}
	s.more["budget"] = strings.Join(names, ", ")
	switch len(all) {
	case 0:
		s.cause = causeBusy
		s.why = "the API server answers 429 and no budget selects the pod: " + text
		s.remedy = "the API server is overloaded, or something before it limits requests: look at its flow control"
	case 1:
		b := all[0]
		s.cause = causeBudget
		s.more["healthy"], s.more["desired"], s.more["expected"] = decimal(b.Status.CurrentHealthy), decimal(b.Status.DesiredHealthy), decimal(b.Status.ExpectedPods)
		s.why = fmt.Sprintf("budget %s: %d of %d healthy, %d needed", b.Name, b.Status.CurrentHealthy, b.Status.ExpectedPods, b.Status.DesiredHealthy)
		if owner.name != "" {
			s.why += fmt.Sprintf("; it belongs to %s", owner)
		}
		s.remedy = loosen(&b, owner)
		s.passes = b.Status.DesiredHealthy < b.Status.ExpectedPods
	default:
		s.cause = causeOverlap
		s.why = fmt.Sprintf("budgets %s all select it, and the API evicts no pod with more than one", strings.Join(names, " and "))
		s.remedy = fmt.Sprintf("keep one budget for each pod: narrow the selector of %s, or delete it", names[len(names)-1])
	}
}

// loosen says how a budget can be made to let a pod go.
func loosen(b *policyv1.PodDisruptionBudget, owner workload) string {
	s := b.Status
	switch {
	case s.CurrentHealthy > s.DesiredHealthy:
		return fmt.Sprintf("none: budget %s lets pods go one after another, and has room again", b.Name)
	case s.CurrentHealthy < s.ExpectedPods && s.DesiredHealthy < s.ExpectedPods:
		return fmt.Sprintf("wait for the pods that take the place of those evicted; where they do not become ready, repair them that are not healthy (kubectl get pods -n %s), or set unhealthyPodEvictionPolicy: AlwaysAllow on budget %s", b.Namespace, b.Name)
	case s.ExpectedPods <= 1 && owner.scalable():
		return fmt.Sprintf("run one replica more while the upgrade lasts (kubectl scale -n %s %s --replicas=%d), or delete budget %s", b.Namespace, owner.name, owner.replicas+1, b.Name)
	case s.ExpectedPods <= 1:
		return fmt.Sprintf("run one pod more while the upgrade lasts, or delete budget %s", b.Name)
	}
	if m := b.Spec.MaxUnavailable; m != nil && (m.String() == "0" || m.String() == "0%") {
		return fmt.Sprintf("budget %s can never let a pod go: set its maxUnavailable to 1 while the upgrade lasts", b.Name)
	}
	return fmt.Sprintf("give the workload one replica more than its budget demands, or set maxUnavailable: 1 on budget %s", b.Name)
}

// budgets returns those that select the pod.
func (e *eviction) budgets(ctx context.Context) ([]policyv1.PodDisruptionBudget, error) {
	list, err := e.env.client().PolicyV1().PodDisruptionBudgets(e.pod.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []policyv1.PodDisruptionBudget
	for _, b := range list.Items {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && sel.Matches(labels.Set(e.pod.Labels)) {
			out = append(out, b)
		}
	}
	return out, nil
}

// workload is what a pod belongs to.
type workload struct {
	name            string // "deployment/web"; empty for a bare pod
	replicas, ready int32
	counted         bool // replicas and ready are known
}

func (w workload) count() string {
	if !w.counted {
		return ""
	}
	return fmt.Sprintf("%d of %d ready", w.ready, w.replicas)
}

func (w workload) scalable() bool {
	return w.counted && (strings.HasPrefix(w.name, "deployment/") || strings.HasPrefix(w.name, "statefulset/") || strings.HasPrefix(w.name, "replicaset/"))
}

// String writes "deployment/web with 1 of 1 replicas ready".
func (w workload) String() string {
	if !w.counted {
		return w.name
	}
	return fmt.Sprintf("%s with %d of %d replicas ready", w.name, w.ready, w.replicas)
}

// owner finds what the pod belongs to, as far as can be read.
func (e *eviction) owner(ctx context.Context) workload {
	ref := metav1.GetControllerOfNoCopy(e.pod)
	if ref == nil {
		return workload{}
	}
	apps, ns := e.env.client().AppsV1(), e.pod.Namespace
	out := workload{name: strings.ToLower(ref.Kind) + "/" + ref.Name}
	switch ref.Kind {
	case "ReplicaSet":
		rs, err := apps.ReplicaSets(ns).Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return out
		}
		out.replicas, out.ready, out.counted = replicas(rs.Spec.Replicas), rs.Status.ReadyReplicas, true
		up := metav1.GetControllerOfNoCopy(rs)
		if up == nil || up.Kind != "Deployment" {
			return out
		}
		var d *appsv1.Deployment
		if d, err = apps.Deployments(ns).Get(ctx, up.Name, metav1.GetOptions{}); err == nil {
			return workload{"deployment/" + d.Name, replicas(d.Spec.Replicas), d.Status.ReadyReplicas, true}
		}
	case "StatefulSet":
		if s, err := apps.StatefulSets(ns).Get(ctx, ref.Name, metav1.GetOptions{}); err == nil {
			out.replicas, out.ready, out.counted = replicas(s.Spec.Replicas), s.Status.ReadyReplicas, true
		}
	}
	return out
}

// replicas is a workload's spec.replicas, which is 1 where it is not given.
func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// terminating finds out why a pod that is being deleted does not go.
func (e *eviction) terminating(ctx context.Context) *stall {
	ctx, cancel := context.WithTimeout(ctx, looking)
	defer cancel()
	p := e.pod
	owner := e.owner(ctx)
	s := &stall{cause: causeTerminating, more: map[string]string{"owner": owner.name, "replicas": owner.count(), "finalizers": strings.Join(p.Finalizers, ", ")}}
	if p.DeletionGracePeriodSeconds != nil {
		s.more["grace"] = (time.Duration(*p.DeletionGracePeriodSeconds) * time.Second).String()
	}
	node, err := e.env.client().CoreV1().Nodes().Get(ctx, e.node, metav1.GetOptions{})
	switch {
	case len(p.Finalizers) > 0:
		s.why = fmt.Sprintf("it is being deleted and waits for the finalizers %s", strings.Join(p.Finalizers, " and "))
		s.remedy = "see why the controller that set the finalizer does not remove it"
	case err == nil && !ready(node):
		s.why = fmt.Sprintf("it is being deleted and node %s, which would have to stop it, is not Ready (%s)", e.node, notReadyReason(node))
		s.remedy = fmt.Sprintf("bring the kubelet of node %s back; only if the machine is gone, delete the pod with --force", e.node)
	case p.DeletionTimestamp != nil && time.Until(p.DeletionTimestamp.Time) > 0:
		s.why = fmt.Sprintf("it is being deleted with a grace period of %s and ends no sooner", s.more["grace"])
		s.remedy = "let it end sooner when it is told to stop, shorten its terminationGracePeriodSeconds, or give the drain more time"
	case p.DeletionTimestamp != nil:
		s.why = fmt.Sprintf("it is being deleted and its kubelet has not stopped it %s after its grace period ended", time.Since(p.DeletionTimestamp.Time).Round(time.Second))
		s.remedy = fmt.Sprintf("read the kubelet's log on node %s; a volume that cannot be unmounted is the usual reason", e.node)
	default:
		s.why = "its eviction was accepted and it is not being deleted"
		s.remedy = "look at the pod: kubectl describe pod -n " + p.Namespace + " " + p.Name
	}
	return s
}

func decimal(n int32) string { return strconv.Itoa(int(n)) }
