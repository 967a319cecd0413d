package step

import (
	"context"
	"strconv"
	"sync"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/order"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// orderWatch holds the order of the upgrade against its rules while it happens.
// The judge does the same again from the record; this is for whoever looks on.
type orderWatch struct {
	env     *Env
	monitor *order.Monitor

	mu    sync.Mutex
	queue []timeline.Event
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}
}

// watchOrder begins to watch the order of what follows before, until the cleanup
// or StopLoad. Resumed is whether the process that took the snapshot has ended
// since, and what changed after it is unknown.
func watchOrder(env *Env, before *record.Snapshot, resumed bool) {
	var probes []string
	for _, p := range env.Run.Probes {
		probes = append(probes, p.Name)
	}
	w := &orderWatch{
		env: env, monitor: order.New(before, order.Options{Probes: probes, Service: deploy.DefaultName}),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if resumed {
		w.monitor.Event(&timeline.Event{T: int64(env.Timeline.Clock().Now()), Source: timeline.SourceRun, Kind: timeline.KindResumed, Subject: "run"})
	}
	log := env.Log // the environment's changes with each step
	env.Timeline.Tap(w.hear)
	go func() {
		defer close(w.done)
		for {
			select {
			case <-w.wake:
			case <-w.quit:
				return
			}
			for _, e := range w.take() {
				for _, v := range w.monitor.Event(&e) {
					log.Error("the order of the upgrade is broken: "+v.What, "rule", v.Rule)
					env.Timeline.Record(timeline.SourceProbe, timeline.KindOrderViolated, v.Object,
						map[string]string{"rule": string(v.Rule), "what": v.What, "from": strconv.FormatInt(v.From, 10)})
				}
			}
		}
	}()
	env.Cleanup.Add(cleanup.Entry{What: "watch of the order", Undo: func(context.Context) error {
		close(w.quit)
		<-w.done
		return nil
	}})
}

// hear is the timeline's tap: it neither blocks nor records.
func (w *orderWatch) hear(e timeline.Event) {
	if e.Kind == timeline.KindOrderViolated {
		return
	}
	w.mu.Lock()
	w.queue = append(w.queue, e)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *orderWatch) take() []timeline.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.queue
	w.queue = nil
	return out
}
