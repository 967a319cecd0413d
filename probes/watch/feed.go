package watch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	kubewatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// callTimeout bounds a list and the opening of a watch, so that an API server
// that accepts and never answers is tried again.
const callTimeout = 10 * time.Second

// backoff between attempts to list or watch again. client-go's own goes up to
// 60 s, in which whatever happens after an API server came back would be missed.
var backoff = wait.Backoff{Duration: 200 * time.Millisecond, Factor: 1.5, Jitter: 0.3, Steps: 6, Cap: time.Second}

// source lists and watches one kind of object for a reflector, and reports each
// call to sight.
type source struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported makes the reflector list and then watch. The
// streaming form would ask servers that lack it first, and each refusal would
// look like a gap.
func (source) IsWatchListSemanticsUnSupported() bool { return true }

// lister and watcher are the two methods of a typed client.
type (
	lister[L runtime.Object] func(context.Context, metav1.ListOptions) (L, error)
	watcher                  func(context.Context, metav1.ListOptions) (kubewatch.Interface, error)
)

func newSource[L runtime.Object](feed string, s *sight, list lister[L], watch watcher, fieldSelector string) source {
	return source{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = fieldSelector
			call, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			s.begin(feed)
			l, err := list(call, o)
			switch {
			case err != nil && ctx.Err() != nil: // cut short by Stop
				return nil, err
			case err != nil:
				s.failed(feed, err)
				return nil, err
			}
			s.listed(feed)
			return l, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (kubewatch.Interface, error) {
			o.FieldSelector = fieldSelector
			call, cancel := context.WithCancel(ctx)
			late := time.AfterFunc(callTimeout, cancel)
			s.begin(feed)
			w, err := watch(call, o)
			if !late.Stop() && err == nil {
				w.Stop()
				err = fmt.Errorf("no answer within %v", callTimeout)
			}
			if err != nil {
				cancel()
				if ctx.Err() == nil {
					s.failed(feed, err)
				}
				return nil, err
			}
			s.opened(feed)
			return &opened{Interface: w, cancel: cancel}, nil
		},
	}}
}

// opened is a watch whose context ends with it.
type opened struct {
	kubewatch.Interface
	cancel context.CancelFunc
}

func (o *opened) Stop() {
	o.Interface.Stop()
	o.cancel()
}

// feed keeps the last state of one kind of object and turns each new one into
// changes. It is a reflector's store: after an outage the reflector lists anew,
// and only what differs from the state before the outage becomes an event.
type feed[T any, P interface {
	*T
	metav1.Object
}] struct {
	name string
	// learn, if set, takes what existed when the watch began.
	learn func(*T)
	diff  func([]pair[T]) []change
	emit  func(feed string, changes []change)

	known   map[string]*T
	started bool
}

func (f *feed[T, P]) key(o *T) string { return P(o).GetNamespace() + "/" + P(o).GetName() }

// Add, Update, Delete, Replace and Resync implement cache.ReflectorStore.
func (f *feed[T, P]) Add(obj any) error    { return f.set(obj) }
func (f *feed[T, P]) Update(obj any) error { return f.set(obj) }

func (f *feed[T, P]) set(obj any) error {
	o, ok := obj.(*T)
	if !ok {
		return fmt.Errorf("watch %s: got a %T", f.name, obj)
	}
	key := f.key(o)
	before := f.known[key]
	f.known[key] = o
	f.emit(f.name, f.diff([]pair[T]{{before, o}}))
	return nil
}

func (f *feed[T, P]) Delete(obj any) error {
	o, ok := obj.(*T)
	if !ok {
		return fmt.Errorf("watch %s: got a %T", f.name, obj)
	}
	key := f.key(o)
	if f.known[key] == nil {
		return nil
	}
	delete(f.known, key)
	f.emit(f.name, f.diff([]pair[T]{{o, nil}}))
	return nil
}

func (f *feed[T, P]) Replace(objs []any, _ string) error {
	next := make(map[string]*T, len(objs))
	for _, obj := range objs {
		o, ok := obj.(*T)
		if !ok {
			return fmt.Errorf("watch %s: got a %T", f.name, obj)
		}
		next[f.key(o)] = o
	}
	before := f.known
	f.known = next
	if !f.started {
		f.started = true
		for _, key := range slices.Sorted(maps.Keys(next)) {
			if f.learn != nil {
				f.learn(next[key])
			}
		}
		return nil
	}
	if batch := compare[T, P](before, next); len(batch) > 0 {
		f.emit(f.name, f.diff(batch))
	}
	return nil
}

func (f *feed[T, P]) Resync() error { return nil }

// compare pairs up what differs between two states, in order of the keys.
func compare[T any, P interface {
	*T
	metav1.Object
}](before, after map[string]*T) []pair[T] {
	var out []pair[T]
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		b, a := before[key], after[key]
		if b != nil && a != nil && P(b).GetUID() == P(a).GetUID() &&
			P(b).GetResourceVersion() != "" && P(b).GetResourceVersion() == P(a).GetResourceVersion() {
			continue
		}
		out = append(out, pair[T]{b, a})
	}
	return out
}

// follow keeps store up to date from src until ctx ends. It returns an error
// only where the code that computes changes panicked.
func follow(ctx context.Context, name string, src source, expected runtime.Object, store cache.ReflectorStore) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("watch of %s panicked: %v", name, p)
		}
	}()
	// A reflector reports each failed attempt through klog; sight tells the same
	// once, in the timeline.
	quiet := logr.Discard()
	cache.NewReflectorWithOptions(src, expected, store, cache.ReflectorOptions{
		Name: name, Logger: &quiet, Backoff: &backoff,
	}).RunWithContext(klog.NewContext(ctx, quiet))
	return nil
}
