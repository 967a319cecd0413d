package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestValidate(t *testing.T) {
	cp1, cp2, w1 := node("cp-1", true), node("cp-2", true), node("w1", false, notReady)
	scheduler, api1, api2 := static("kube-scheduler", "cp-1", "v1"), static("kube-apiserver", "cp-1", "v1"), static("kube-apiserver", "cp-2", "v1", crashing)
	failed := pod("kube-system", "old", "w1", "x:1", critical, func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted"
		p.Status.Conditions[0].Status = corev1.ConditionFalse
	})
	going := pod("kube-system", "going", "w1", "x:1", critical, crashing, func(p *corev1.Pod) {
		p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: time.Now()}, []string{"x/y"}
	})
	app := pod("shop", "app", "w1", "x:1", crashing)
	flannel := daemonSet("kube-flannel", "kube-flannel-ds", 3, 3)
	flannel.Status.UpdatedNumberScheduled = 1
	onDelete := daemonSet("kube-system", "storage", 3, 3)
	onDelete.Status.UpdatedNumberScheduled, onDelete.Spec.UpdateStrategy.Type = 1, appsv1.OnDeleteDaemonSetStrategyType
	proxy, dns, canary, shop := daemonSet("kube-system", "kube-proxy", 3, 2), deployment("kube-system", "coredns", 2, 2), deployment("rehearse", "canary", 3, 1), deployment("shop", "app", 2, 0)
	canary.Spec.Template.Spec.PriorityClassName, shop.Spec.Template.Spec.PriorityClassName = "", ""
	client := fake.NewClientset(&cp1, &cp2, &w1, &scheduler, &api1, &api2, &failed, &going, &app, &flannel, &onDelete, &proxy, &dns, &canary, &shop)
	blockers, err := Validate(t.Context(), client, "rehearse", "canary")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range blockers {
		got = append(got, b.String())
	}
	equal(t, "blockers", got, []string{
		"node/w1 is not Ready (KubeletNotReady: container runtime is down)",
		"pod/kube-system/kube-apiserver-cp-2 is not Ready (CrashLoopBackOff) on cp-2",
		"pod/kube-system/old lingers as Failed (Evicted) on w1",
		"node/cp-2 runs no kube-scheduler",
		"daemonset/kube-flannel/kube-flannel-ds is not settled: its rollout is not finished: 1 of 3 pods are of the latest specification",
		"daemonset/kube-system/kube-proxy has 2 of 3 pods ready",
		"deployment/rehearse/canary has 1 of 3 pods ready",
	})

	blockers, err = Validate(t.Context(), fake.NewClientset(), "rehearse", "canary")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "an empty cluster", fmt.Sprint(blockers), "[cluster has no nodes deployment/rehearse/canary does not exist]")
}

// waits runs WaitHealthy against a cluster whose worker is Ready as ready says
// at each validation, and returns its error and the validations in the timeline.
func waits(t *testing.T, o HealthOptions, look func(validation int) (ready bool, err error)) ([]string, error) {
	t.Helper()
	n := 0
	client := fake.NewClientset()
	client.PrependReactor("list", "nodes", func(kubetesting.Action) (bool, runtime.Object, error) {
		n++
		ready, err := look(n)
		if err != nil {
			return true, nil, err
		}
		w := node("w1", false)
		if !ready {
			notReady(&w)
		}
		return true, &corev1.NodeList{Items: []corev1.Node{w}}, nil
	})
	var buf bytes.Buffer
	o.Events = timeline.NewRecorder(timeline.NewClock(time.Now()), &buf)
	err := WaitHealthy(t.Context(), client, o)
	var got []string
	for dec := json.NewDecoder(&buf); dec.More(); {
		var e timeline.Event
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%v %s %s passed=%s consecutive=%s", time.Duration(e.T), e.Kind, e.Subject, e.Detail["passed"], e.Detail["consecutive"])
		if by := e.Detail["blockedBy"]; by != "" {
			line += " blockedBy=" + by
		}
		got = append(got, line)
	}
	return got, err
}

func TestWaitHealthyNeedsConsecutivePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := waits(t, HealthOptions{Consecutive: 2, Interval: 10 * time.Second, Timeout: 15 * time.Minute}, func(n int) (bool, error) {
			if n == 3 {
				return false, errors.New("connection refused")
			}
			return n != 1, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "validations", got, []string{
			"0s validation cluster passed=false consecutive=0 of 2 blockedBy=node/w1 is not Ready (KubeletNotReady: container runtime is down)",
			"10s validation cluster passed=true consecutive=1 of 2",
			"20s validation cluster passed=false consecutive=0 of 2 blockedBy=could not look: connection refused",
			"30s validation cluster passed=true consecutive=1 of 2",
			"40s validation cluster passed=true consecutive=2 of 2",
		})
	})
}

func TestWaitHealthyNamesWhatBlocked(t *testing.T) {
	tests := []struct {
		name string
		look func(int) (bool, error)
		want string
		told int // events: one for each that passed, and for each change
	}{
		{"a node, and since when without a break", func(n int) (bool, error) { return n == 3, nil },
			"the cluster was not healthy for 2 consecutive validations within 1m0s: node/w1 is not Ready (KubeletNotReady: container runtime is down), for 30s", 3},
		{"nobody could look", func(int) (bool, error) { return false, errors.New("connection refused") },
			"the cluster was not healthy for 2 consecutive validations within 1m0s: the last validation could not look: connection refused", 1},
		{"a node, and then nobody could look", func(n int) (bool, error) {
			if n > 3 {
				return false, errors.New("connection refused")
			}
			return false, nil
		}, "the cluster was not healthy for 2 consecutive validations within 1m0s: the last validation could not look: connection refused; it was blocked before by node/w1 is not Ready (KubeletNotReady: container runtime is down)", 2},
		{"up and down", func(n int) (bool, error) { return n%2 == 1, nil },
			"the cluster was not healthy for 2 consecutive validations within 1m0s: the last 1 were; it was blocked before by node/w1 is not Ready (KubeletNotReady: container runtime is down)", 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, err := waits(t, HealthOptions{Consecutive: 2, Interval: 10 * time.Second, Timeout: time.Minute}, tt.look)
				if err == nil || err.Error() != tt.want {
					t.Errorf("WaitHealthy = %v\nwant %s", err, tt.want)
				}
				equal(t, "count of validations", len(got), tt.told)
				var typed *NotHealthyError
				if !errors.As(err, &typed) {
					t.Errorf("%T is not a *NotHealthyError", err)
				}
			})
		})
	}
}

func TestWaitHealthyHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(errors.New("interrupted")) })
		err := WaitHealthy(ctx, fake.NewClientset(), HealthOptions{Consecutive: 1, Interval: time.Minute, Timeout: time.Hour})
		if err == nil || err.Error() != "wait for a healthy cluster: interrupted" {
			t.Errorf("WaitHealthy = %v", err)
		}
	})
}
