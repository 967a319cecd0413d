// Package store is the simulated cluster's memory: what etcd is to a real one.
// It keeps objects by resource, namespace and name under one sequence of
// resource versions, and tells watchers about every change in that order.
//
// The tracker inside client-go's fake clientset cannot serve here: it gives
// objects no resource version, forgets history (so a watch cannot resume),
// ignores selectors in watches and panics when a watcher is slow. Everything
// that is the API server's business rather than the store's (defaults, grace
// periods, eviction, selectors of lists) stands in package sim.
package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// historyLen is how many changes of one resource can be replayed to a watch
// that resumes; an older resource version is answered with 410 Expired.
const historyLen = 1000

// Store holds objects. Its methods may be called from any goroutine. Objects
// that it returns or sends to watchers are shared and must not be modified.
type Store struct {
	mu       sync.Mutex
	version  int64
	names    func(n int) string
	tables   map[schema.GroupVersionResource]*table
	wakers   map[*Waker]struct{}
	isClosed bool
}

type table struct {
	objects  map[types.NamespacedName]runtime.Object
	history  []change
	dropped  int64 // version of the newest change that is no longer in history
	watchers map[*Watch]struct{}
}

type change struct {
	version  int64
	event    watch.EventType
	obj, old runtime.Object
}

// New returns an empty store. names makes the random suffix of n characters
// for generateName.
func New(names func(n int) string) *Store {
	return &Store{
		version: 1,
		names:   names,
		tables:  map[schema.GroupVersionResource]*table{},
		wakers:  map[*Waker]struct{}{},
	}
}

func (s *Store) table(gvr schema.GroupVersionResource) *table {
	t := s.tables[gvr]
	if t == nil {
		t = &table{objects: map[types.NamespacedName]runtime.Object{}, watchers: map[*Watch]struct{}{}, dropped: 1}
		s.tables[gvr] = t
	}
	return t
}

// Get returns an object, or a NotFound API error.
func (s *Store) Get(gvr schema.GroupVersionResource, namespace, name string) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj, ok := s.table(gvr).objects[types.NamespacedName{Namespace: namespace, Name: name}]
	if !ok {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	return obj, nil
}

// List returns the objects of a namespace (all namespaces if it is empty),
// ordered by namespace and name, and the store's resource version.
func (s *Store) List(gvr schema.GroupVersionResource, namespace string) ([]runtime.Object, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table(gvr)
	keys := make([]types.NamespacedName, 0, len(t.objects))
	for k := range t.objects {
		if namespace == "" || k.Namespace == namespace {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b types.NamespacedName) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	out := make([]runtime.Object, len(keys))
	for i, k := range keys {
		out[i] = t.objects[k]
	}
	return out, strconv.FormatInt(s.version, 10)
}

// Create stores a copy of obj, completed with name (from generateName), uid,
// creation time, generation and resource version, and returns what it stored.
func (s *Store) Create(gvr schema.GroupVersionResource, obj runtime.Object) (runtime.Object, error) {
	obj = obj.DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", gvr.Resource, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table(gvr)
	if m.GetName() == "" {
		if m.GetGenerateName() == "" {
			return nil, apierrors.NewBadRequest("name or generateName is required")
		}
		m.SetName(m.GetGenerateName() + s.names(5))
	}
	k := types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}
	if _, exists := t.objects[k]; exists {
		return nil, apierrors.NewAlreadyExists(gvr.GroupResource(), m.GetName())
	}
	s.version++
	if m.GetUID() == "" {
		m.SetUID(types.UID(uid(s.version, s.names)))
	}
	if ts := m.GetCreationTimestamp(); ts.IsZero() {
		m.SetCreationTimestamp(metav1.Now())
	}
	m.SetGeneration(1)
	m.SetResourceVersion(strconv.FormatInt(s.version, 10))
	t.objects[k] = obj
	s.emit(gvr, t, change{version: s.version, event: watch.Added, obj: obj})
	return obj, nil
}

// Update gives a copy of the stored object to change and stores what change
// leaves, under a new resource version. If change returns an error nothing is
// stored and the error is returned as it is. change must not call the store.
func (s *Store) Update(gvr schema.GroupVersionResource, namespace, name string, modify func(obj runtime.Object) error) (runtime.Object, error) {
	return s.Replace(gvr, namespace, name, func(old runtime.Object) (runtime.Object, error) {
		obj := old.DeepCopyObject()
		return obj, modify(obj)
	})
}

// Replace is Update for a change that makes a new object of the stored one,
// which it must not modify. A nil object removes it.
func (s *Store) Replace(gvr schema.GroupVersionResource, namespace, name string, f func(old runtime.Object) (runtime.Object, error)) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table(gvr)
	k := types.NamespacedName{Namespace: namespace, Name: name}
	old, ok := t.objects[k]
	if !ok {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	obj, err := f(old)
	if err != nil {
		return nil, err
	}
	s.version++
	if obj == nil {
		delete(t.objects, k)
		last := old.DeepCopyObject()
		if m, err := meta.Accessor(last); err == nil {
			m.SetResourceVersion(strconv.FormatInt(s.version, 10))
		}
		s.emit(gvr, t, change{version: s.version, event: watch.Deleted, obj: last, old: old})
		return last, nil
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("update %s %s: %w", gvr.Resource, k, err)
	}
	m.SetResourceVersion(strconv.FormatInt(s.version, 10))
	t.objects[k] = obj
	s.emit(gvr, t, change{version: s.version, event: watch.Modified, obj: obj, old: old})
	return obj, nil
}

// Delete removes an object at once and returns its last state.
func (s *Store) Delete(gvr schema.GroupVersionResource, namespace, name string) (runtime.Object, error) {
	return s.Replace(gvr, namespace, name, func(runtime.Object) (runtime.Object, error) { return nil, nil })
}

func (s *Store) emit(gvr schema.GroupVersionResource, t *table, c change) {
	t.history = append(t.history, c)
	if drop := len(t.history) - historyLen; drop >= historyLen/4 {
		t.dropped = t.history[drop-1].version
		t.history = slices.Clone(t.history[drop:])
	}
	for w := range t.watchers {
		w.offer(c)
	}
	for w := range s.wakers {
		w.wake(gvr)
	}
}

// Close ends every watch and refuses new ones.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isClosed = true
	for _, t := range s.tables {
		for w := range t.watchers {
			w.end()
			delete(t.watchers, w)
		}
	}
}

// uid has the form of a random UUID, drawn from the seeded source so that a
// seed gives the same cluster.
func uid(version int64, names func(int) string) string {
	hex := []byte(fmt.Sprintf("%016x", version))
	var tail strings.Builder
	for _, c := range names(16) {
		fmt.Fprintf(&tail, "%x", c%16)
	}
	t := tail.String()
	return fmt.Sprintf("%s-%s-4%s-8%s-%s", hex[8:], t[:4], t[4:7], t[7:10], t[10:16]+string(hex[10:]))
}

// Waker wakes a controller when objects of some resources changed. Wake-ups
// that nobody waited for are folded into one.
type Waker struct {
	// C receives after a change.
	C     <-chan struct{}
	c     chan struct{}
	gvrs  []schema.GroupVersionResource
	store *Store
}

// Wake returns a Waker for the resources; Stop must be called when done.
func (s *Store) Wake(gvrs ...schema.GroupVersionResource) *Waker {
	c := make(chan struct{}, 1)
	w := &Waker{C: c, c: c, gvrs: gvrs, store: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakers[w] = struct{}{}
	return w
}

// Stop ends the wake-ups.
func (w *Waker) Stop() {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	delete(w.store.wakers, w)
}

func (w *Waker) wake(gvr schema.GroupVersionResource) {
	if !slices.Contains(w.gvrs, gvr) {
		return
	}
	select {
	case w.c <- struct{}{}:
	default:
	}
}
