package preflight

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/nodes"
)

// clean is a cluster at v1.34.4, on its way to v1.35.4, of which there is
// nothing to say: three control planes in three zones, three workers, a
// workload of two with a budget.
func clean() *State {
	s := &State{Format: Format, Now: now, Target: "v1.35.4"}
	s.Versions.Server = "v1.34.4"
	for i := range 6 {
		n := node(fmt.Sprintf("w%d", i-2), func(n *corev1.Node) {
			n.Labels[corev1.LabelTopologyZone] = string(rune('a' + i%3))
			n.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "v1.34.4", ContainerRuntimeVersion: "containerd://2.1.4", KernelVersion: "6.8.0-45-generic", OperatingSystem: "linux"}
		})
		if i < 3 {
			n.Name = fmt.Sprintf("cp%d", i+1)
			controlPlane(&n)
		}
		s.Nodes = append(s.Nodes, n)
		s.Kubelets = append(s.Kubelets, Kubelet{Node: n.Name, FailSwapOn: true, Cgroup: 2, FeatureGates: map[string]bool{"GracefulNodeShutdown": true}})
		s.Hosts = append(s.Hosts, Host{Node: n.Name, Services: map[string]string{"kubelet": "active", "containerd": "active"}, TimeSynchronised: "yes", KubeletHealth: "ok",
			Kernel: map[string]string{"net.ipv4.ip_forward": "1", "kernel.panic": "10"}, KubeletFlags: []string{"config", "kubeconfig"}, Cgroup: 2})
		if i < 3 {
			s.Components = append(s.Components, Component{Name: "kube-apiserver", Node: n.Name, Flags: []string{"advertise-address"}, FeatureGates: []string{"SomeGate"}})
		}
	}
	d := deployment("shop", "web", 2)
	d.UID = "web"
	yes := true
	r := appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "web-1", OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: "web", UID: "web", Controller: &yes}}}}
	s.Deployments, s.ReplicaSets = []appsv1.Deployment{d}, []appsv1.ReplicaSet{r}
	for i, on := range []string{"w1", "w2"} {
		s.Pods = append(s.Pods, pod("shop", fmt.Sprintf("web-1-%d", i), on, ownedBy("ReplicaSet", "web-1")))
	}
	b := budget("web", maxUnavailable("1"))
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, ExpectedPods: 2, CurrentHealthy: 2, DesiredHealthy: 1, DisruptionsAllowed: 1}
	s.Budgets = budgets{b}
	flannel := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-flannel", Name: "kube-flannel-ds"}}
	flannel.Spec.Template.Spec.Containers = []corev1.Container{{Image: "ghcr.io/flannel-io/flannel:v0.27.4"}}
	s.DaemonSets = []appsv1.DaemonSet{flannel}
	s.APIServices = []APIService{{Name: "v1.apps", Available: true}}
	s.Versions = nodes.Of(s.Versions.Server, s.Nodes, s.Pods)
	return s
}

func ownedBy(kind, name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: name, UID: types.UID(name), Controller: &yes}}
	}
}

func (s *State) worker(name string) *corev1.Node {
	i := slices.IndexFunc(s.Nodes, func(n corev1.Node) bool { return n.Name == name })
	return &s.Nodes[i]
}

func volume(with corev1.VolumeSource) func(*State) {
	return func(s *State) { s.Pods[0].Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: with}} }
}

// tied puts a volume under the first pod that only nodes with the label have.
func tied(key string, values ...string) func(*State) {
	return func(s *State) {
		for i := range s.Nodes {
			s.Nodes[i].Labels[corev1.LabelHostname] = s.Nodes[i].Name
		}
		volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}})(s)
		c := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data"}}
		c.Spec.VolumeName = "pv-1"
		v := corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-1"}}
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}}}}}
		s.Claims, s.Volumes = []corev1.PersistentVolumeClaim{c}, []corev1.PersistentVolume{v}
	}
}

func webhook1(namespaces *metav1.LabelSelector, resources ...string) func(*State) {
	return func(s *State) {
		fail := admissionv1.Fail
		s.Validating = []admissionv1.ValidatingWebhookConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "guard"}, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "guard.io", FailurePolicy: &fail, NamespaceSelector: namespaces, ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "guard", Name: "hook"}},
			Rules: rulesFor(resources...)}}}}
		s.Slices = []discoveryv1.EndpointSlice{{ObjectMeta: metav1.ObjectMeta{Namespace: "guard", Labels: map[string]string{discoveryv1.LabelServiceName: "hook"}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}}}}
	}
}

func rulesFor(resources ...string) []admissionv1.RuleWithOperations {
	return []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update}, Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: resources}}}
}

func policy(resource string) func(*State) {
	return func(s *State) {
		p := admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "deny"}}
		p.Spec.MatchConstraints = &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: rulesFor(resource)[0]}}}
		b := admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "deny"}}
		b.Spec.PolicyName, b.Spec.ValidationActions = "deny", []admissionv1.ValidationAction{admissionv1.Deny}
		s.Policies, s.Bindings = []admissionv1.ValidatingAdmissionPolicy{p}, []admissionv1.ValidatingAdmissionPolicyBinding{b}
	}
}

func image(name, ref string) func(*State) {
	return func(s *State) {
		ns, ds, _ := strings.Cut(name, "/")
		s.DaemonSets[0].Namespace, s.DaemonSets[0].Name = ns, ds
		s.DaemonSets[0].Spec.Template.Spec.Containers[0].Image = ref
	}
}

func status(healthy, desired, allowed int32) func(*State) {
	return func(s *State) {
		st := &s.Budgets[0].Status
		st.CurrentHealthy, st.DesiredHealthy, st.DisruptionsAllowed = healthy, desired, allowed
	}
}

func all(fs ...func(*State)) func(*State) {
	return func(s *State) {
		for _, f := range fs {
			f(s)
		}
	}
}

func target(v string) func(*State) { return func(s *State) { s.Target = v } }

// fixtures yields, for each id that a finding can have, changes of the clean
// cluster after which exactly that is found.
var fixtures = map[string]func(*State){
	"version-unreadable": target("newest"),
	"version-downgrade":  target("v1.33.1"),
	"version-skip":       target("v1.36.0"),
	"version-same":       target("v1.34.4"),
	"version-skew":       func(s *State) { s.Versions.Kubelets["w1"] = "v1.31.2" },
	"runtime-too-old":    func(s *State) { s.worker("w1").Status.NodeInfo.ContainerRuntimeVersion = "containerd://1.5.9" },
	"runtime-unknown":    func(s *State) { s.worker("w1").Status.NodeInfo.ContainerRuntimeVersion = "frakti://1.0" },
	"kernel-too-old":     func(s *State) { s.worker("w1").Status.NodeInfo.KernelVersion = "3.10.0-1160.el7.x86_64" },
	"kubelet-silent":     func(s *State) { s.Kubelets[3] = Kubelet{Node: "w1", Problem: "dial tcp 10.0.0.4:10250: i/o timeout"} },
	"cgroup-v1":          func(s *State) { s.Kubelets[3].Cgroup = 1 },
	"swap-refused": func(s *State) {
		gib := int64(1 << 30)
		s.worker("w1").Status.NodeInfo.Swap = &corev1.NodeSwapStatus{Capacity: &gib}
	},
	"kernel-defaults-protected": func(s *State) { s.Kubelets[3].ProtectKernelDefaults = true },
	"removed-feature-gate":      func(s *State) { s.Components[0].FeatureGates = []string{"PodIndexLabel"} },
	"removed-flag": all(target("v1.33.1"), func(s *State) {
		s.Versions.Server = "v1.32.1"
		for k := range s.Versions.Kubelets {
			s.Versions.Kubelets[k] = "v1.32.1"
		}
		s.Components[0].Flags = []string{"cloud-provider"}
	}),
	"settings-not-judged": all(target("v1.37.0"), func(s *State) {
		s.Versions.Server = "v1.36.1"
		for k := range s.Versions.Kubelets {
			s.Versions.Kubelets[k] = "v1.36.1"
		}
	}),
	"host-not-checked":         func(s *State) { s.Hosts[3] = Host{Node: "w1", Problem: "the check pod is ErrImagePull"} },
	"host-service-down":        func(s *State) { s.Hosts[3].Services["containerd"] = "failed" },
	"host-time-unsynchronised": func(s *State) { s.Hosts[3].TimeSynchronised = "no" },
	"host-kernel-parameter":    func(s *State) { s.Hosts[3].Kernel["net.ipv4.ip_forward"] = "0" },
	"host-flag-removed":        func(s *State) { s.Hosts[3].KubeletFlags = []string{"pod-infra-container-image"} },
	"network-unknown":          func(s *State) { s.DaemonSets = nil },
	"network-unmaintained":     image("kube-system/weave-net", "weaveworks/weave-kube:2.8.1"),
	"network-untested":         image("kube-system/cilium", "quay.io/cilium/cilium:v1.18.3"),
	"network-not-judged":       image("kube-system/cilium", "quay.io/cilium/cilium:v1.99.0"),
	"kubenet-too-large":        kubenet,
	"node-not-ready":           func(s *State) { s.worker("w3").Status.Conditions[0].Status = corev1.ConditionFalse },
	"node-cordoned":            func(s *State) { s.worker("w3").Spec.Unschedulable = true },
	"node-condition": func(s *State) {
		w := s.worker("w3")
		w.Status.Conditions = append(w.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionTrue})
	},
	"single-control-plane":       func(s *State) { s.Nodes = s.Nodes[2:] },
	"even-control-planes":        func(s *State) { s.Nodes = s.Nodes[1:] },
	"control-planes-in-one-zone": func(s *State) { s.Nodes[1].Labels[corev1.LabelTopologyZone] = "a" },
	"api-service-unavailable":    func(s *State) { s.APIServices[0] = APIService{Name: "v1beta1.metrics.k8s.io", Why: "MissingEndpoints"} },
	"lingering-pod": func(s *State) {
		s.Pods = append(s.Pods, pod("kube-system", "old", "w1", ownedBy("Job", "old"), phase(corev1.PodFailed)))
	},
	"budget-allows-none": func(s *State) {
		b := budget("web", maxUnavailable("0"))
		b.Status = s.Budgets[0].Status
		s.Budgets[0] = b
	},
	"budget-not-computed": func(s *State) {
		s.Budgets[0].Status.Conditions = []metav1.Condition{{Type: policyv1.DisruptionAllowedCondition, Reason: policyv1.SyncFailedReason, Message: "no scale"}}
	},
	"budget-exhausted":          all(status(1, 1, 0), func(s *State) { s.Pods[0].Status.Phase = corev1.PodPending }),
	"budget-guards-unready":     all(status(0, 1, 0), func(s *State) { s.Pods[0].Status.Conditions[0].Status = corev1.ConditionFalse }),
	"budgets-overlap":           func(s *State) { s.Budgets = append(s.Budgets, budget("second", maxUnavailable("1"))) },
	"webhook-down":              all(webhook1(nil, "pods"), func(s *State) { s.Slices = nil }),
	"webhook-decides-evictions": webhook1(nil, "pods/eviction"),
	"webhook-decides-system":    webhook1(nil, "nodes"),
	"policy-decides-evictions":  policy("pods/eviction"),
	"policy-decides-system":     policy("pods"),
	"bare-pod":                  func(s *State) { s.Pods = append(s.Pods, pod("shop", "alone", "w3", labelled("alone"))) },
	"single-replica": func(s *State) {
		d := deployment("shop", "lone", 1)
		d.Spec.Selector = selecting("lone")
		s.Deployments = append(s.Deployments, d)
	},
	"replicas-on-one-node": func(s *State) { s.Budgets = nil; s.Pods[1].Spec.NodeName = "w1" },
	"no-room": func(s *State) {
		asks("10", "1Gi")(&s.Pods[0])
		s.worker("w1").Status.Allocatable[corev1.ResourceCPU] = resource.MustParse("20")
	},
	"host-path":           volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/data"}}),
	"empty-dir":           volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
	"volume-tied-to-node": tied(corev1.LabelHostname, "w1"),
	"volume-tied-to-zone": tied(corev1.LabelTopologyZone, "a"),
	"api-removed": func(s *State) {
		s.APIUses = []APIUse{{"storage.k8s.io", "v1alpha1", "VolumeAttributesClass", EvidenceRequested, ""}}
	},
	"api-deprecated": func(s *State) {
		s.APIUses = []APIUse{{"resource.k8s.io", "v1beta1", "ResourceClaim", EvidenceManaged, "resourceclaim/shop/gpu by controller"}}
	},
	"api-table-too-old": all(target("v1.38.0"), func(s *State) {
		s.Versions.Server = "v1.37.1"
		for k := range s.Versions.Kubelets {
			s.Versions.Kubelets[k] = "v1.37.1"
		}
	}),
}

func kubenet(s *State) {
	s.DaemonSets = nil
	for i := range s.Nodes {
		s.Nodes[i].Spec.PodCIDR = "10.0.0.0/24"
	}
	for i := range 50 {
		n := *s.worker("w3").DeepCopy()
		n.Name = fmt.Sprintf("more%d", i)
		s.Nodes = append(s.Nodes, n)
	}
}

// besides are findings that a fixture cannot do without.
var besides = map[string][]string{
	"api-table-too-old": {"settings-not-judged"},
}

// TestTableTooOldIsToldOnce: the three checks that need the table are not made.
func TestTableTooOldIsToldOnce(t *testing.T) {
	s := clean()
	fixtures["api-table-too-old"](s)
	told, notMade := 0, 0
	for _, r := range Examine(s) {
		for _, f := range r.Findings {
			if f.ID == "api-table-too-old" {
				told++
			}
		}
		if r.NotChecked == "this build knows which APIs were removed up to v1.37" {
			notMade++
		}
	}
	if told != 1 || notMade != 3 {
		t.Errorf("told %d times, %d checks not made for it; want 1 and 3", told, notMade)
	}
}

func TestCleanClusterYieldsNothing(t *testing.T) {
	for _, r := range Examine(clean()) {
		if r.NotChecked != "" || len(r.Findings) > 0 {
			t.Errorf("%s: %s %q", r.Check, r.NotChecked, findings(r.Findings))
		}
	}
}

// TestEveryFindingHasAFixture holds the code, the fixtures and the guide
// together: each id that a finding can have is yielded by exactly its fixture,
// and described in docs/guides/preflight.md.
func TestEveryFindingHasAFixture(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guides/preflight.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]string{}
	for _, c := range Checks() {
		for _, id := range c.IDs {
			declared[id] = c.Name
		}
	}
	for id, check := range declared {
		t.Run(id, func(t *testing.T) {
			if !strings.Contains(string(guide), "| `"+id+"` |") {
				t.Errorf("docs/guides/preflight.md has no row for it")
			}
			change, ok := fixtures[id]
			if !ok {
				t.Fatal("it has no fixture")
			}
			s := clean()
			change(s)
			seen := 0
			for _, r := range Examine(s) {
				for _, f := range r.Findings {
					switch {
					case slices.Contains(besides[id], f.ID):
					case f.ID != id:
						t.Errorf("found besides: %q", findings([]record.Finding{f}))
					case declared[f.ID] != r.Check && !strings.HasPrefix(id, "api-"):
						t.Errorf("found by %q, declared by %q", r.Check, check)
					default:
						seen++
						if f.Severity == "" || f.Object == "" || !strings.HasSuffix(f.Cause, ".") || !strings.HasSuffix(f.Remedy, ".") {
							t.Errorf("incomplete, or not a sentence: %+v", f)
						}
					}
				}
			}
			if seen == 0 {
				t.Error("its fixture does not yield it")
			}
		})
	}
	for id := range fixtures {
		if declared[id] == "" {
			t.Errorf("fixture %s: no check declares that id", id)
		}
	}
	// No id stands in the code that no check declares.
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`(?:ID(?:, f\.Severity)?:? *=? *|one\(|find\()"([a-z]+(?:-[a-z]+)+)"`)
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllSubmatch(text, -1) {
			if declared[string(m[1])] == "" {
				t.Errorf("%s: no check declares the id %s", file.Name(), m[1])
			}
		}
	}
}

func TestAPITableIsOfThisBuild(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\tk8s.io/api v0.%d.", apiTableMinor); !strings.Contains(string(mod), want) {
		t.Errorf("go.mod does not have %q: apiTableMinor must be the minor version of k8s.io/api", want)
	}
	if n := len(apiTable()); n < 80 {
		t.Errorf("the table has %d versions of APIs", n)
	}
}
