package writer

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubewatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachStepOfAWriteIsVerified(t *testing.T) {
	gone := apierrors.NewNotFound(corev1.Resource("configmaps"), "x")
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Data: map[string]string{"n": "7"}}
	down := errors.New("dial tcp 127.0.0.1:6443: connect: connection refused")
	for _, tc := range []struct {
		name   string
		verb   string
		answer func(n int) (runtime.Object, error)
		want   string
		lost   string
	}{
		{name: "all is well"},
		{name: "a create that fails", verb: "create", answer: func(int) (runtime.Object, error) { return nil, down }, want: "create: " + down.Error()},
		{name: "a write that is gone", verb: "get", answer: func(int) (runtime.Object, error) { return nil, gone },
			want: "lost write: ConfigMap rehearse-writer-id-1 was created and is not found",
			lost: "The API confirmed a write and lost it: configmap/ns/rehearse-writer-id-1 was created and is not found."},
		{name: "a write that is another's", verb: "get", answer: func(int) (runtime.Object, error) { return other, nil },
			want: `lost write: ConfigMap rehearse-writer-id-1 was created with "1" and is read with "7"`,
			lost: `The API confirmed a write and lost it: configmap/ns/rehearse-writer-id-1 was created with "1" and is read with "7".`},
		{name: "a deletion that did not happen", verb: "delete", answer: func(int) (runtime.Object, error) { return nil, nil },
			want: "lost write: ConfigMap rehearse-writer-id-1 was deleted and is still found",
			lost: "The API confirmed a write and lost it: configmap/ns/rehearse-writer-id-1 was deleted and is still found."},
		{name: "an API that is away when it reads back", verb: "get", answer: func(int) (runtime.Object, error) { return nil, down }, want: "read back: " + down.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := fake.NewClientset()
			n := 0
			if tc.verb != "" {
				client.PrependReactor(tc.verb, "configmaps", func(kubetesting.Action) (bool, runtime.Object, error) {
					n++
					o, err := tc.answer(n)
					return true, o, err
				})
			}
			w := New(client, "ns", "id")
			err := w.Check(t.Context())
			if got := text(err); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			var lost string
			if f := w.Findings(); len(f) == 1 && f[0].Severity == record.SeverityBlock && f[0].ID == "write-lost" {
				lost = f[0].Cause
			}
			if lost != tc.lost {
				t.Errorf("finding %q, want %q", lost, tc.lost)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// rig is a writer and a watch on the fake API, whose watches a test breaks.
type rig struct {
	w      *Writer
	v      *Watch
	events bytes.Buffer
	broken atomic.Bool

	mu   sync.Mutex
	open []*kubewatch.FakeWatcher
}

func newRig(t *testing.T) *rig {
	t.Helper()
	client := fake.NewClientset()
	r := &rig{}
	client.PrependWatchReactor("configmaps", func(kubetesting.Action) (bool, kubewatch.Interface, error) {
		if r.broken.Load() {
			return true, nil, errors.New("dial tcp 127.0.0.1:6443: connect: connection refused")
		}
		w := kubewatch.NewFakeWithChanSize(100, false)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.open = append(r.open, w)
		return true, w, nil
	})
	client.PrependReactor("create", "configmaps", func(a kubetesting.Action) (bool, runtime.Object, error) {
		m := a.(kubetesting.CreateAction).GetObject().(*corev1.ConfigMap) //nolint:forcetypeassert // the probe's own
		if late := r.last(); !r.broken.Load() && late != nil {
			time.AfterFunc(40*time.Millisecond, func() { late.Add(m) })
		}
		return false, nil, nil
	})
	r.w = New(client, "ns", "id")
	r.v = NewWatch(r.w, timeline.NewRecorder(timeline.NewClock(time.Now()), &r.events))
	r.v.Start(t.Context())
	return r
}

// last returns the watch that was opened last.
func (r *rig) last() *kubewatch.FakeWatcher {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) == 0 {
		return nil
	}
	return r.open[len(r.open)-1]
}

func TestDeliveryCountsFromTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.v.Stop()
		synctest.Wait()
		go func() {
			time.Sleep(300 * time.Millisecond)
			_ = r.w.Check(t.Context())
		}()
		begun := time.Now()
		from, err := r.v.CheckFrom(t.Context())
		if err != nil || from.Sub(begun) != 300*time.Millisecond || time.Since(from) != 40*time.Millisecond {
			t.Errorf("from %s, for %s, %v", from.Sub(begun), time.Since(from), err)
		}
	})
}

func TestABreakIsToldWithHowLongItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.v.Stop()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		r.broken.Store(true)
		r.last().Stop()
		time.Sleep(3 * time.Second)
		ctx, cancel := contextWithTimeout(t, 5*time.Second)
		defer cancel()
		go func() { _ = r.w.Check(t.Context()) }()
		if err := r.v.Check(ctx); err == nil || err.Error() != "it did not tell of what was written: dial tcp 127.0.0.1:6443: connect: connection refused" {
			t.Errorf("got %v", err)
		}
		r.broken.Store(false)
		time.Sleep(time.Second)
		if err := r.w.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.v.Check(t.Context()); err != nil {
			t.Errorf("got %v", err)
		}
		got := r.events.String()
		for _, want := range []string{
			`"t":10000000000,"source":"probe","kind":"long-watch-broken","subject":"probe/api-watch","detail":{"error":"the server closed the watch","lasted":"10s"}`,
			`"kind":"long-watch-back","subject":"probe/api-watch","detail":{"silent":"9.04s"}`,
		} {
			if strings.Count(got, want) != 1 {
				t.Errorf("timeline lacks %s:\n%s", want, got)
			}
		}
	})
}

func TestNothingWrittenIsNothingToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.v.Stop()
		ctx, cancel := contextWithTimeout(t, 5*time.Second)
		defer cancel()
		if err := r.v.Check(ctx); err == nil || err.Error() != "nothing was written that it could have told of" {
			t.Errorf("got %v", err)
		}
	})
}

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}
