package step

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

const older, newer = "v1.34.4", "v1.35.4"

// machines is a driver whose workers are Nodes of the fake API. It writes down
// what it was asked, among what the API was asked.
type machines struct {
	driver
	client *fake.Clientset

	mu      sync.Mutex
	log     []string
	made    int
	addErr  error
	failing string // a node whose kubelet cannot be replaced
	sick    bool   // new workers are never Ready
}

func (m *machines) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *machines) AddNode(ctx context.Context, _ *cluster.Cluster, v cluster.Version) (string, error) {
	if m.addErr != nil {
		return "", m.addErr
	}
	m.made++
	name := fmt.Sprintf("new%d", m.made)
	m.note("add %s", name)
	_, err := m.client.CoreV1().Nodes().Create(ctx, node(name, v.String(), false, !m.sick), metav1.CreateOptions{})
	return name, err
}

func (m *machines) RemoveNode(ctx context.Context, _ *cluster.Cluster, name string) error {
	m.note("remove %s", name)
	_ = m.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
	return nil
}

func (m *machines) UpgradeNode(ctx context.Context, _ *cluster.Cluster, name string, v cluster.Version) error {
	m.note("kubelet %s", name)
	if name == m.failing {
		return errors.New("no space left on device")
	}
	n, err := m.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	n.Status.NodeInfo.KubeletVersion = v.String()
	_, err = m.client.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{})
	return err
}

// rollEnv returns an Env with two old workers, w and w2, and a pod on each. What
// is asked of the API and changes something is written down.
func rollEnv(t *testing.T, objects ...runtime.Object) (*Env, *machines, *bytes.Buffer) {
	t.Helper()
	yes := true
	for _, name := range []string{"w", "w2"} {
		objects = append(objects, node(name, older, false, true), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "on-" + name, OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "rs", Controller: &yes}}},
			Spec:       corev1.PodSpec{NodeName: name},
		})
	}
	m := &machines{}
	env, events := newEnv(m, append(objects, node("cp", newer, true, true))...)
	m.client = env.Cluster.Client.(*fake.Clientset)
	// The fake keeps no resource list and selects no fields: the drain needs both.
	m.client.Resources = []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "pods/eviction", Kind: "Eviction", Group: "policy", Version: "v1"}}}}
	m.client.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		where := a.(clienttesting.ListAction).GetListRestrictions().Fields.String()
		all, err := m.client.Tracker().List(a.GetResource(), corev1.SchemeGroupVersion.WithKind("Pod"), a.GetNamespace())
		if err != nil {
			return true, nil, err
		}
		pods := all.(*corev1.PodList)
		pods.Items = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return where != "spec.nodeName="+p.Spec.NodeName })
		return true, pods, nil
	})
	m.client.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		name := a.(clienttesting.CreateAction).GetObject().(metav1.Object).GetName()
		m.note("evict %s", name)
		return true, nil, m.client.Tracker().Delete(a.GetResource(), a.GetNamespace(), name)
	})
	m.client.PrependReactor("patch", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p := a.(clienttesting.PatchAction)
		verb := "uncordon"
		if strings.Contains(string(p.GetPatch()), `"unschedulable":true`) {
			verb = "cordon"
		}
		m.note("%s %s", verb, p.GetName())
		return false, nil, nil
	})
	return env, m, events
}

var drainSoon = DrainOptions{Timeout: time.Minute}

// TestStepsInTheirOrder runs the steps of each strategy and looks at what they
// did, in order.
func TestStepsInTheirOrder(t *testing.T) {
	wait := time.Minute
	for _, tc := range []struct {
		name  string
		steps []Step
		want  []string
		roll  Roll
	}{
		{"in place", []Step{UpgradeNode{Index: 0, Of: 2, To: newer, Drain: drainSoon, Timeout: wait}, UpgradeNode{Index: 1, Of: 2, To: newer, Drain: drainSoon, Timeout: wait}},
			[]string{"cordon w", "evict on-w", "kubelet w", "uncordon w", "cordon w2", "evict on-w2", "kubelet w2", "uncordon w2"},
			Roll{To: newer, Old: []string{"w", "w2"}}},
		{"replace one by one", []Step{
			ReplaceWorkers{First: 0, Count: 1, Of: 2, To: newer, Drain: drainSoon, Timeout: wait}, ReplaceWorkers{First: 1, Count: 1, Of: 2, To: newer, Drain: drainSoon, Timeout: wait}},
			[]string{"cordon w", "evict on-w", "remove w", "add new1", "cordon w2", "evict on-w2", "remove w2", "add new2"},
			Roll{To: newer, Old: []string{"w", "w2"}, New: map[string]string{"w": "new1", "w2": "new2"}}},
		{"replace with a surge", []Step{ReplaceWorkers{First: 1, Count: 1, Of: 2, Surge: 1, To: newer, Drain: drainSoon, Timeout: wait}},
			[]string{"add new1", "cordon w2", "evict on-w2", "remove w2"},
			Roll{To: newer, Old: []string{"w", "w2"}, New: map[string]string{"w2": "new1"}}},
		{"pool migration", []Step{
			JoinPool{Of: 2, To: newer, Timeout: wait}, CordonPool{Of: 2, To: newer}, DrainWorker{Index: 0, Of: 2, To: newer, Drain: drainSoon},
			DrainWorker{Index: 1, Of: 2, To: newer, Drain: drainSoon}, RemovePool{Of: 2, To: newer, Timeout: wait}},
			[]string{"add new1", "add new2", "cordon w", "cordon w2", "evict on-w", "evict on-w2", "remove w", "remove w2"},
			Roll{To: newer, Old: []string{"w", "w2"}, New: map[string]string{"w": "new1", "w2": "new2"}}},
		{"extra capacity", []Step{
			JoinExtra{Count: 1, To: newer, Timeout: wait}, UpgradeNode{Index: 0, Of: 2, To: newer, Drain: drainSoon, Timeout: wait},
			RemoveExtra{Index: 0, Of: 1, To: newer, Drain: drainSoon, Timeout: wait}},
			[]string{"add new1", "cordon w", "evict on-w", "kubelet w", "uncordon w", "cordon new1", "remove new1"},
			Roll{To: newer, Old: []string{"w", "w2"}, Extra: []string{"new1"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env, m, _ := rollEnv(t)
				var saved []byte
				env.SaveRoll = func(r Roll) { saved, _ = json.Marshal(r) }
				for _, s := range tc.steps {
					if err := s.Run(t.Context(), env); err != nil {
						t.Fatalf("%s: %v", s.Describe(), err)
					}
				}
				if diff := cmp.Diff(tc.want, m.log); diff != "" {
					t.Errorf("what was done (-want +got):\n%s", diff)
				}
				var back Roll
				if err := json.Unmarshal(saved, &back); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.roll, back); diff != "" {
					t.Errorf("the Roll that was written down (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestBatchesAreCordonedFirst drains the workers of a batch together: which of
// them is first is open, but none before all are cordoned, and none is removed
// before all are empty.
func TestBatchesAreCordonedFirst(t *testing.T) {
	for _, tc := range []struct {
		step Step
		want []string // each line sorted
	}{
		{UpgradeBatch{Count: 2, Of: 2, To: newer, Drain: drainSoon, Timeout: time.Minute}, []string{
			"cordon w", "cordon w2", "evict on-w", "evict on-w2", "kubelet w", "kubelet w2", "uncordon w", "uncordon w2"}},
		{ReplaceWorkers{Count: 2, Of: 2, Surge: 1, To: newer, Drain: drainSoon, Timeout: time.Minute}, []string{
			"add new1", "cordon w", "cordon w2", "evict on-w", "evict on-w2", "remove w", "remove w2", "add new2"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			env, m, events := rollEnv(t)
			if err := tc.step.Run(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			at := func(s string) int { return slices.Index(m.log, s) }
			for _, s := range tc.want {
				if at(s) < 0 {
					t.Errorf("%s: %q was not done: %q", tc.step.Describe(), s, m.log)
				}
			}
			for _, pod := range []string{"evict on-w", "evict on-w2"} {
				if at(pod) < max(at("cordon w"), at("cordon w2")) || at("remove w") >= 0 && at(pod) > min(at("remove w"), at("remove w2")) {
					t.Errorf("%s: %q came at the wrong time: %q", tc.step.Describe(), pod, m.log)
				}
			}
			for _, kind := range []string{"upgrade-start", "upgrade-end"} {
				if n := strings.Count(events.String(), `"kind":"`+kind+`"`); n != 2 {
					t.Errorf("%s: %d events %s, want 2:\n%s", tc.step.Describe(), n, kind, events)
				}
			}
		})
	}
}

func TestBatchLetsTheOthersFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, m, _ := rollEnv(t)
		m.failing = "w"
		err := UpgradeBatch{Count: 2, Of: 2, To: newer, Drain: drainSoon, Timeout: time.Minute}.Run(t.Context(), env)
		if err == nil || err.Error() != "kubelet of node w: no space left on device" {
			t.Errorf("got %v", err)
		}
		if !slices.Contains(m.log, "uncordon w2") {
			t.Errorf("w2 was left half-way: %q", m.log)
		}
	})
}

// TestStepsMayBeRunAgain cuts a run short in several places.
func TestStepsMayBeRunAgain(t *testing.T) {
	roll := func() *Roll { return &Roll{To: newer, Old: []string{"w", "w2"}} }
	for _, tc := range []struct {
		name    string
		roll    *Roll
		objects []runtime.Object
		gone    []string // before
		step    Step
		want    []string
		then    map[string]string
	}{
		{"the new worker joined and was not written down", roll(), []runtime.Object{node("orphan", newer, false, true)}, nil,
			ReplaceWorkers{Count: 1, Of: 2, Surge: 1, To: newer, Drain: drainSoon, Timeout: time.Minute},
			[]string{"cordon w", "evict on-w", "remove w"}, map[string]string{"w": "orphan"}},
		{"the old worker was removed and no new one joined", roll(), nil, []string{"w"},
			ReplaceWorkers{Count: 1, Of: 2, To: newer, Drain: drainSoon, Timeout: time.Minute},
			[]string{"remove w", "add new1"}, map[string]string{"w": "new1"}},
		{"all was done", &Roll{To: newer, Old: []string{"w", "w2"}, New: map[string]string{"w": "there"}}, []runtime.Object{node("there", newer, false, true)}, []string{"w"},
			ReplaceWorkers{Count: 1, Of: 2, Surge: 1, To: newer, Drain: drainSoon, Timeout: time.Minute},
			[]string{"remove w"}, map[string]string{"w": "there"}},
		{"half of the pool had joined", &Roll{To: newer, Old: []string{"w", "w2"}, New: map[string]string{"w": "there"}}, []runtime.Object{node("there", newer, false, true)}, nil,
			JoinPool{Of: 2, To: newer, Timeout: time.Minute},
			[]string{"add new1"}, map[string]string{"w": "there", "w2": "new1"}},
		{"a worker of another version is no orphan of ours", roll(), []runtime.Object{node("stranger", older, false, true)}, nil,
			JoinPool{Of: 1, To: newer, Timeout: time.Minute},
			[]string{"add new1"}, map[string]string{"w": "new1"}},
		{"the old pool is drained already", roll(), nil, []string{"w", "w2"},
			DrainWorker{Index: 0, Of: 2, To: newer, Drain: drainSoon}, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env, m, _ := rollEnv(t, tc.objects...)
				env.Roll = tc.roll
				for _, n := range tc.gone {
					if err := m.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("nodes"), "", n); err != nil {
						t.Fatal(err)
					}
				}
				if err := tc.step.Run(t.Context(), env); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, m.log); diff != "" {
					t.Errorf("what was done (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.then, env.Roll.New); diff != "" {
					t.Errorf("new workers (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestUpgradedWorkersAreLeftAlone runs a step in place once more after its end.
func TestUpgradedWorkersAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, m, _ := rollEnv(t)
		s := UpgradeBatch{Count: 2, Of: 2, To: newer, Drain: drainSoon, Timeout: time.Minute}
		if err := s.Run(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		done := len(m.log)
		for _, again := range []Step{s, UpgradeNode{Index: 1, Of: 2, To: newer, Drain: drainSoon, Timeout: time.Minute}} {
			if err := again.Run(t.Context(), env); err != nil {
				t.Fatal(err)
			}
		}
		if len(m.log) != done {
			t.Errorf("run again it did %q", m.log[done:])
		}
	})
}

func TestWorkersThatFail(t *testing.T) {
	surge := ReplaceWorkers{Count: 1, Of: 2, Surge: 1, To: newer, Drain: drainSoon, Timeout: 3 * time.Second}
	for _, tc := range []struct {
		name   string
		change func(*machines)
		step   Step
		want   string
	}{
		{"never Ready", func(m *machines) { m.sick = true }, surge,
			"the new worker in place of w: node new1 is not Ready at v1.35.4 after 3s: it is not Ready: KubeletNotReady: container runtime is down; look at its kubelet's log under logs/"},
		{"cannot join", func(m *machines) { m.addErr = errors.New("the image is gone") }, surge, "join a new worker at v1.35.4: the image is gone"},
		{"extra worker never Ready", func(m *machines) { m.sick = true }, JoinExtra{Count: 1, To: newer, Timeout: time.Second},
			"the extra worker: node new1 is not Ready at v1.35.4 after 1s: it is not Ready: KubeletNotReady: container runtime is down; look at its kubelet's log under logs/"},
		{"fewer workers than planned", nil, DrainWorker{Index: 2, Of: 3, To: newer},
			"the cluster had 2 workers when the upgrade to v1.35.4 began, the plan counted on at least 3: was one removed?"},
		{"no extra worker", nil, RemoveExtra{Index: 0, Of: 1, To: newer},
			"0 workers joined for the time of the roll, the plan counted on at least 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env, m, _ := rollEnv(t)
				if tc.change != nil {
					tc.change(m)
				}
				err := tc.step.Run(t.Context(), env)
				if err == nil || err.Error() != tc.want {
					t.Errorf("got  %v\nwant %s", err, tc.want)
				}
				if slices.Contains(m.log, "evict on-w") {
					t.Errorf("a worker was drained before its replacement was there: %q", m.log)
				}
			})
		})
	}
}

func TestAnotherHopHasAnotherRoll(t *testing.T) {
	env, _, _ := rollEnv(t)
	env.Roll = &Roll{To: older, Old: []string{"before"}}
	roll, err := env.roll(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Roll{To: newer, Old: []string{"w", "w2"}}, roll); diff != "" {
		t.Errorf("the Roll (-want +got):\n%s", diff)
	}
	again, err := env.roll(t.Context(), newer)
	if err != nil || again != roll {
		t.Errorf("asked again it is %+v, %v", again, err)
	}
}
