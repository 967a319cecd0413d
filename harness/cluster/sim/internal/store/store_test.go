package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var gvr = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

func letters(n int) string { return strings.Repeat("x", n) }

func configMap(ns, name string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels}}
}

func mustCreate(t *testing.T, s *Store, obj runtime.Object) *corev1.ConfigMap {
	t.Helper()
	out, err := s.Create(gvr, obj)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*corev1.ConfigMap)
}

func TestCreateCompletesTheObject(t *testing.T) {
	s := New(letters)
	a := mustCreate(t, s, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", GenerateName: "a-"}})
	b := mustCreate(t, s, configMap("ns", "b", nil))
	if a.Name != "a-xxxxx" {
		t.Errorf("generated name %q, want a-xxxxx", a.Name)
	}
	if a.ResourceVersion != "2" || b.ResourceVersion != "3" {
		t.Errorf("resource versions %q and %q, want 2 and 3", a.ResourceVersion, b.ResourceVersion)
	}
	if a.UID == "" || a.UID == b.UID || len(a.UID) != 36 {
		t.Errorf("uids %q and %q: want two different ones of 36 characters", a.UID, b.UID)
	}
	if a.Generation != 1 || a.CreationTimestamp.IsZero() {
		t.Errorf("generation %d, created %v", a.Generation, a.CreationTimestamp)
	}
	if _, err := s.Create(gvr, configMap("ns", "b", nil)); err == nil || err.Error() != `configmaps "b" already exists` {
		t.Errorf("second create: %v", err)
	}
	if _, err := s.Get(gvr, "other", "b"); err == nil || err.Error() != `configmaps "b" not found` {
		t.Errorf("get in another namespace: %v", err)
	}
}

func TestUpdateChangesACopy(t *testing.T) {
	s := New(letters)
	before := mustCreate(t, s, configMap("ns", "a", nil))
	after, err := s.Update(gvr, "ns", "a", func(obj runtime.Object) error {
		obj.(*corev1.ConfigMap).Data = map[string]string{"k": "v"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if before.Data != nil {
		t.Error("the object that was handed out before has changed")
	}
	if got := after.(*corev1.ConfigMap); got.Data["k"] != "v" || got.ResourceVersion != "3" {
		t.Errorf("after the update: %v, version %s", got.Data, got.ResourceVersion)
	}
	stop := fmt.Errorf("no")
	if _, err := s.Update(gvr, "ns", "a", func(runtime.Object) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an update that fails: %v", err)
	}
	if obj, _ := s.Get(gvr, "ns", "a"); obj.(*corev1.ConfigMap).ResourceVersion != "3" {
		t.Error("an update that failed was stored")
	}
}

func TestListIsOrderedAndBoundToItsNamespace(t *testing.T) {
	s := New(letters)
	for _, k := range []string{"b/2", "a/9", "b/1"} {
		ns, name, _ := strings.Cut(k, "/")
		mustCreate(t, s, configMap(ns, name, nil))
	}
	names := func(ns string) (out string) {
		objs, _ := s.List(gvr, ns)
		for _, o := range objs {
			m := o.(*corev1.ConfigMap)
			out += m.Namespace + "/" + m.Name + " "
		}
		return out
	}
	if got := names(""); got != "a/9 b/1 b/2 " {
		t.Errorf("all: %s", got)
	}
	if got := names("b"); got != "b/1 b/2 " {
		t.Errorf("namespace b: %s", got)
	}
	if _, version := s.List(gvr, ""); version != "4" {
		t.Errorf("list at version %s, want 4", version)
	}
}

// next returns the next events of a watch as text.
func next(t *testing.T, w *Watch, n int) string {
	t.Helper()
	var out []string
	for range n {
		select {
		case e, ok := <-w.ResultChan():
			if !ok {
				return strings.Join(append(out, "closed"), " ")
			}
			out = append(out, fmt.Sprintf("%s:%s", e.Type, e.Object.(*corev1.ConfigMap).Name))
		case <-time.After(5 * time.Second):
			t.Fatalf("got %v and no more in 5 s, want %d events", out, n)
		}
	}
	return strings.Join(out, " ")
}

func TestWatchResumesAndSelects(t *testing.T) {
	s := New(letters)
	mustCreate(t, s, configMap("ns", "old", map[string]string{"app": "x"}))
	_, version := s.List(gvr, "ns")
	mustCreate(t, s, configMap("ns", "missed", map[string]string{"app": "x"}))
	mustCreate(t, s, configMap("ns", "foreign", nil))
	w, err := s.Watch(gvr, Selection{Namespace: "ns", Version: version, Match: func(o runtime.Object) bool {
		return o.(*corev1.ConfigMap).Labels["app"] == "x"
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	label := func(name, value string) {
		if _, err := s.Update(gvr, "ns", name, func(o runtime.Object) error {
			o.(*corev1.ConfigMap).Labels = map[string]string{"app": value}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	label("foreign", "x") // begins to match
	label("old", "y")     // no longer matches
	label("old", "z")     // nobody's business
	if _, err := s.Delete(gvr, "ns", "missed"); err != nil {
		t.Fatal(err)
	}
	if got, want := next(t, w, 4), "ADDED:missed ADDED:foreign DELETED:old DELETED:missed"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

func TestWatchFromNowhereBeginsWithWhatIsThere(t *testing.T) {
	s := New(letters)
	mustCreate(t, s, configMap("ns", "a", nil))
	w, err := s.Watch(gvr, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	mustCreate(t, s, configMap("ns", "b", nil))
	if got, want := next(t, w, 2), "ADDED:a ADDED:b"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

func TestWatchOfForgottenHistoryHasExpired(t *testing.T) {
	s := New(letters)
	mustCreate(t, s, configMap("ns", "a", nil))
	_, version := s.List(gvr, "")
	for range historyLen * 2 {
		if _, err := s.Update(gvr, "ns", "a", func(runtime.Object) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Watch(gvr, Selection{Version: version})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("watch from version %s: %v, want 410 Expired", version, err)
	}
}

func TestSlowWatchBlocksNobodyAndMissesNothing(t *testing.T) {
	s := New(letters)
	w, err := s.Watch(gvr, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	const n = 5000
	for i := range n {
		mustCreate(t, s, configMap("ns", fmt.Sprint(i), nil))
	}
	for i := range n {
		e := <-w.ResultChan()
		if e.Type != watch.Added || e.Object.(*corev1.ConfigMap).Name != fmt.Sprint(i) {
			t.Fatalf("event %d is %s of %v", i, e.Type, e.Object)
		}
	}
}

func TestEndClosesTheWatchesOfATag(t *testing.T) {
	s := New(letters)
	a, err := s.Watch(gvr, Selection{Tag: "a"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Watch(gvr, Selection{Tag: "b"})
	if err != nil {
		t.Fatal(err)
	}
	s.End("a")
	mustCreate(t, s, configMap("ns", "x", nil))
	if got := next(t, a, 1); got != "closed" {
		t.Errorf("watch a got %s, want closed", got)
	}
	if got := next(t, b, 1); got != "ADDED:x" {
		t.Errorf("watch b got %s, want ADDED:x", got)
	}
	a.Stop() // twice is allowed
	s.Close()
	if got := next(t, b, 1); got != "closed" {
		t.Errorf("after Close watch b got %s, want closed", got)
	}
	if _, err := s.Watch(gvr, Selection{}); err == nil || err.Error() != "the simulated cluster was deleted" {
		t.Errorf("watch after Close: %v", err)
	}
}

func TestWakerFoldsChanges(t *testing.T) {
	s := New(letters)
	w := s.Wake(gvr)
	defer w.Stop()
	for i := range 10 {
		mustCreate(t, s, configMap("ns", fmt.Sprint(i), nil))
	}
	wakes := 0
	for {
		select {
		case <-w.C:
			wakes++
			continue
		default:
		}
		break
	}
	if wakes != 1 {
		t.Errorf("%d wake-ups for ten changes that nobody waited for, want 1", wakes)
	}
}
