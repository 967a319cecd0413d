package cloud

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// NamespaceFree finds a namespace of the name that is there already; release is
// the command that deletes those of a run.
func NamespaceFree(ctx context.Context, client kubernetes.Interface, name string, release func(runID string) string) ([]record.Finding, error) {
	block := func(id, cause, remedy string) []record.Finding {
		return []record.Finding{{ID: id, Severity: record.SeverityBlock, Object: "namespace/" + name, Cause: cause, Remedy: remedy}}
	}
	ns, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for namespace %s: %w", name, err)
	case ns.Labels[cluster.LabelRun] != "":
		run := ns.Labels[cluster.LabelRun]
		return block("namespace-left", "run "+run+" left it behind, or is under way", release(run)), nil
	}
	return block("namespace-foreign", "it exists and is not rehearse's", "rename or remove it: the canary is deployed to a namespace of that name, which is deleted afterwards"), nil
}

// Claim makes a namespace that carries the run's label.
func Claim(ctx context.Context, client kubernetes.Interface, name, runID string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{cluster.LabelRun: runID}}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}

// goneEvery is how often it is looked whether a namespace is gone.
const goneEvery = time.Second

// Release deletes the namespaces that carry the run's label and returns when they
// are gone, balancers included. how is the command that does the same.
func Release(ctx context.Context, client kubernetes.Interface, run, how string) error {
	namespaces := client.CoreV1().Namespaces()
	asked := map[string]bool{}
	for {
		list, err := namespaces.List(ctx, metav1.ListOptions{LabelSelector: cluster.LabelRun + "=" + run})
		if err != nil {
			return fmt.Errorf("list the namespaces of run %s: %w; delete them with: %s", run, err, how)
		}
		if len(list.Items) == 0 {
			return nil
		}
		var left []string
		for i := range list.Items {
			name := list.Items[i].Name
			left = append(left, name)
			if asked[name] || list.Items[i].DeletionTimestamp != nil {
				continue
			}
			if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("delete namespace %s: %w; delete it with: %s", name, err, how)
			}
			asked[name] = true
		}
		if err := pause.For(ctx, goneEvery); err != nil {
			return fmt.Errorf("namespace %s is being deleted and not gone: %w; what holds it is in its status, and a balancer of it may still cost money", strings.Join(left, ", "), err)
		}
	}
}
