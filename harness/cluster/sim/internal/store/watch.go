package store

import (
	"fmt"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// Selection says which changes a watch wants to hear of.
type Selection struct {
	Namespace string // empty for all
	// Match tells whether an object is selected; nil selects all. An object that
	// stops to match is announced as deleted, as the API does.
	Match func(obj runtime.Object) bool
	// Convert makes what is sent of the stored object; nil sends a deep copy.
	Convert func(obj runtime.Object) runtime.Object
	// Version is the resource version after which changes are sent. Empty or "0"
	// sends the present objects as added first.
	Version string
	// Tag groups watches that End ends together.
	Tag string
}

// Watch is one open watch. It implements watch.Interface. A slow reader never
// blocks the store: changes wait in a queue without bound.
type Watch struct {
	store  *Store
	gvr    schema.GroupVersionResource
	sel    Selection
	result chan watch.Event

	mu      sync.Mutex
	queue   []watch.Event
	pending chan struct{}
	done    chan struct{}
	ended   bool
}

// Watch starts a watch. It is answered with 410 Expired when the resource
// version is older than the history that is kept.
func (s *Store) Watch(gvr schema.GroupVersionResource, sel Selection) (*Watch, error) {
	var from int64
	if sel.Version != "" {
		v, err := strconv.ParseInt(sel.Version, 10, 64)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version %q: %v", sel.Version, err))
		}
		from = v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return nil, apierrors.NewServiceUnavailable("the simulated cluster was deleted")
	}
	t := s.table(gvr)
	w := &Watch{store: s, gvr: gvr, sel: sel, result: make(chan watch.Event), pending: make(chan struct{}, 1), done: make(chan struct{})}
	switch {
	case from == 0:
		for _, obj := range t.objects {
			w.offer(change{event: watch.Added, obj: obj})
		}
	case from < t.dropped:
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", from, t.dropped))
	default:
		for _, c := range t.history {
			if c.version > from {
				w.offer(c)
			}
		}
	}
	t.watchers[w] = struct{}{}
	go w.deliver()
	return w, nil
}

// ResultChan implements watch.Interface.
func (w *Watch) ResultChan() <-chan watch.Event { return w.result }

// Stop implements watch.Interface; it may be called more than once.
func (w *Watch) Stop() {
	w.store.mu.Lock()
	delete(w.store.table(w.gvr).watchers, w)
	w.store.mu.Unlock()
	w.end()
}

// End ends the watches of a tag, as when the server that held them goes away.
func (s *Store) End(tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		for w := range t.watchers {
			if w.sel.Tag == tag {
				w.end()
				delete(t.watchers, w)
			}
		}
	}
}

func (w *Watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		close(w.done)
	}
}

// offer queues a change if the watch selects it; the store's lock is held.
func (w *Watch) offer(c change) {
	event := c.event
	matches := w.selects(c.obj)
	switch c.event {
	case watch.Modified:
		matched := c.old != nil && w.selects(c.old)
		switch {
		case matches && !matched:
			event = watch.Added
		case !matches && matched:
			event = watch.Deleted
		case !matches:
			return
		}
	case watch.Deleted:
		if c.old != nil {
			matches = w.selects(c.old)
		}
		if !matches {
			return
		}
	default:
		if !matches {
			return
		}
	}
	obj := c.obj
	if w.sel.Convert != nil {
		obj = w.sel.Convert(obj)
	} else {
		obj = obj.DeepCopyObject()
	}
	w.mu.Lock()
	w.queue = append(w.queue, watch.Event{Type: event, Object: obj})
	w.mu.Unlock()
	select {
	case w.pending <- struct{}{}:
	default:
	}
}

func (w *Watch) selects(obj runtime.Object) bool {
	if w.sel.Namespace != "" {
		m, err := meta.Accessor(obj)
		if err != nil || m.GetNamespace() != w.sel.Namespace {
			return false
		}
	}
	return w.sel.Match == nil || w.sel.Match(obj)
}

func (w *Watch) deliver() {
	defer close(w.result)
	for {
		w.mu.Lock()
		batch := w.queue
		w.queue = nil
		w.mu.Unlock()
		for _, e := range batch {
			select {
			case w.result <- e:
			case <-w.done:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-w.pending:
		case <-w.done:
			return
		}
	}
}
