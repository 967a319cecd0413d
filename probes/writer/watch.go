package writer

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubewatch "k8s.io/apimachinery/pkg/watch"

	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes"
)

// reopen is the pause before a watch that broke is opened again.
const reopen = 200 * time.Millisecond

// remembered is how many of the last writes are remembered as delivered.
const remembered = 100

// Watch is a probe of one watch that is kept open over all that the writer
// writes. An observation lasts from when a write was confirmed to when the watch
// told of it; one that does not tell within the timeout failed.
type Watch struct {
	w      *Writer
	events *timeline.Recorder
	writes chan write

	mu       sync.Mutex
	arrived  map[string]chan struct{}
	order    []string
	open     bool
	opened   time.Time
	broke    time.Time // when it broke, zero while it delivers
	lastErr  error
	cancel   context.CancelFunc
	finished chan struct{}
}

type write struct {
	name string
	at   time.Time
}

// NewWatch returns a probe of what w writes, which tells the timeline of breaks.
func NewWatch(w *Writer, events *timeline.Recorder) *Watch {
	v := &Watch{w: w, events: events, writes: make(chan write, 1), arrived: map[string]chan struct{}{}}
	w.confirmed = v.written
	return v
}

// Start keeps the watch open until Stop.
func (v *Watch) Start(ctx context.Context) {
	ctx, v.cancel = context.WithCancel(ctx)
	v.finished = make(chan struct{})
	go func() {
		defer close(v.finished)
		v.run(ctx)
	}()
}

// Stop closes the watch and returns when it is closed.
func (v *Watch) Stop() {
	if v.cancel != nil {
		v.cancel()
		<-v.finished
	}
}

func (v *Watch) run(ctx context.Context) {
	version := ""
	for ctx.Err() == nil {
		w, err := v.w.client.CoreV1().ConfigMaps(v.w.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: label + "=" + Name, ResourceVersion: version})
		if err == nil {
			v.isOpen()
			version, err = v.follow(ctx, w, version)
			w.Stop()
		}
		if ctx.Err() != nil {
			return
		}
		if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
			version = ""
		}
		v.isBroken(err)
		_ = pause.For(ctx, reopen) // the loop looks at its end
	}
}

// errClosed is how a watch breaks that says nothing.
var errClosed = errors.New("the server closed the watch")

// follow takes what a watch tells until it ends, and returns from where on the
// next one must continue.
func (v *Watch) follow(ctx context.Context, w kubewatch.Interface, version string) (string, error) {
	for {
		var e kubewatch.Event
		select {
		case <-ctx.Done():
			return version, ctx.Err()
		case got, ok := <-w.ResultChan():
			if !ok {
				return version, errClosed
			}
			e = got
		}
		if e.Type == kubewatch.Error {
			return version, apierrors.FromObject(e.Object)
		}
		m, ok := e.Object.(*corev1.ConfigMap)
		if !ok {
			continue
		}
		version = m.ResourceVersion
		if e.Type == kubewatch.Added {
			v.delivered(m.Name)
		}
	}
}

func (v *Watch) isOpen() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open, v.opened = true, time.Now()
}

func (v *Watch) isBroken(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lastErr = err
	if !v.open {
		return // it did not even open again
	}
	v.open = false
	if v.broke.IsZero() {
		v.broke = time.Now()
		v.events.Record(timeline.SourceProbe, timeline.KindLongWatchBroken, "probe/"+WatchName, map[string]string{
			"lasted": time.Since(v.opened).Round(time.Millisecond).String(), "error": err.Error(),
		})
	}
}

// delivered notes that the watch told of an object.
func (v *Watch) delivered(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.broke.IsZero() {
		v.events.Record(timeline.SourceProbe, timeline.KindLongWatchBack, "probe/"+WatchName, map[string]string{
			"silent": time.Since(v.broke).Round(time.Millisecond).String(),
		})
		v.broke = time.Time{}
	}
	c := v.entry(name)
	select {
	case <-c:
	default:
		close(c)
	}
}

// entry is closed once the object was told of. The caller holds the lock.
func (v *Watch) entry(name string) chan struct{} {
	c, ok := v.arrived[name]
	if !ok {
		c = make(chan struct{})
		v.arrived[name] = c
		v.order = append(v.order, name)
		if len(v.order) > remembered {
			delete(v.arrived, v.order[0])
			v.order = v.order[1:]
		}
	}
	return c
}

// written takes a write that was confirmed; only the last counts.
func (v *Watch) written(name string, at time.Time) {
	for {
		select {
		case v.writes <- write{name, at}:
			return
		default:
		}
		select {
		case <-v.writes:
		default:
		}
	}
}

// Name implements probes.Probe.
func (v *Watch) Name() string { return WatchName }

// Check implements probes.Probe.
func (v *Watch) Check(ctx context.Context) error {
	_, err := v.CheckFrom(ctx)
	return err
}

// CheckFrom implements probes.Timed: the observation begins when something was
// written.
func (v *Watch) CheckFrom(ctx context.Context) (time.Time, error) {
	var x write
	select {
	case x = <-v.writes:
	case <-ctx.Done():
		return time.Time{}, v.failed("nothing was written that it could have told of")
	}
	v.mu.Lock()
	c := v.entry(x.name)
	v.mu.Unlock()
	select {
	case <-c:
		return x.at, nil
	case <-ctx.Done():
		return x.at, v.failed("it did not tell of what was written")
	}
}

func (v *Watch) failed(what string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lastErr != nil && !v.open {
		return probes.Fail(probes.Classify(v.lastErr), "%s: %w", what, v.lastErr)
	}
	return probes.Fail(record.TimeoutResponse, "%s", what)
}
