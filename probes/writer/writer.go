// Package writer probes what clients of the API rely on beside answers: that
// what was written is there, and that a watch which is kept open tells of it.
// A Writer creates, reads back and deletes a ConfigMap each time; a Watch keeps
// one watch of them open, and measures how often it breaks and how long what was
// written takes to arrive.
package writer

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes"
)

// Names of the probes in the record.
const (
	Name      = "api-writer"
	WatchName = "api-watch"
)

// How often something is written, and how long each probe may take.
const (
	Interval = time.Second
	Timeout  = 5 * time.Second
)

// label marks what the writer makes.
const label = "rehearse.kube-rehearse.dev/probe"

// Lost begins the error of an observation in which a write that the API had
// confirmed was not there.
const Lost = "lost write: "

// Writer is a probe of writes. Its Check may be called from one goroutine at a time.
type Writer struct {
	client    kubernetes.Interface
	namespace string
	prefix    string
	n         int
	confirmed func(name string, at time.Time)

	mu   sync.Mutex
	lost []string
}

// New returns a writer of ConfigMaps in a namespace that exists; id tells them
// from those of other runs.
func New(client kubernetes.Interface, namespace, id string) *Writer {
	return &Writer{client: client, namespace: namespace, prefix: "rehearse-writer-" + id + "-", confirmed: func(string, time.Time) {}}
}

// Name implements probes.Probe.
func (w *Writer) Name() string { return Name }

// Check implements probes.Probe. Each step is verified: what was created is read
// back as it was written, and what was deleted is gone.
func (w *Writer) Check(ctx context.Context) error {
	w.n++
	name, n := w.prefix+strconv.Itoa(w.n), strconv.Itoa(w.n)
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	_, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{label: Name}}, Data: map[string]string{"n": n},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	w.confirmed(name, time.Now())
	got, err := maps.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return w.lose(name, "was created and is not found")
	case err != nil:
		return fmt.Errorf("read back: %w", err)
	case got.Data["n"] != n:
		return w.lose(name, fmt.Sprintf("was created with %q and is read with %q", n, got.Data["n"]))
	}
	switch err := maps.Delete(ctx, name, metav1.DeleteOptions{}); {
	case apierrors.IsNotFound(err):
		return w.lose(name, "was read, and is not found when it is to be deleted")
	case err != nil:
		return fmt.Errorf("delete: %w", err)
	}
	_, err = maps.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		return w.lose(name, "was deleted and is still found")
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("see that it is gone: %w", err)
	}
	return nil
}

func (w *Writer) lose(name, what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = append(w.lost, "configmap/"+w.namespace+"/"+name+" "+what)
	return probes.Fail(record.WrongBody, "%sConfigMap %s %s", Lost, name, what)
}

// Findings returns what blocks: each write that was lost.
func (w *Writer) Findings() []record.Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []record.Finding
	for _, l := range w.lost {
		out = append(out, record.Finding{
			ID: "write-lost", Severity: record.SeverityBlock, Object: Name,
			Cause:  fmt.Sprintf("The API confirmed a write and lost it: %s.", l),
			Remedy: "Stop: etcd gave up what it had confirmed. Check its members, their disks and whether one was restored from a snapshot.",
		})
	}
	return out
}

// Sweep deletes what was left behind by observations that did not come to their end.
func (w *Writer) Sweep(ctx context.Context) error {
	err := w.client.CoreV1().ConfigMaps(w.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: label + "=" + Name})
	if err != nil {
		return fmt.Errorf("delete the ConfigMaps of %s: %w", Name, err)
	}
	return nil
}
