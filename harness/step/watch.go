package step

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes"
	"github.com/kube-rehearse/rehearse/probes/apiserver"
	"github.com/kube-rehearse/rehearse/probes/watch"
	"github.com/kube-rehearse/rehearse/probes/writer"
)

// Watch starts what observes the cluster until StopLoad: a watch of its
// objects, and probes of its API.
type Watch struct {
	APIEvery, APITimeout time.Duration
}

// Describe implements Step.
func (s Watch) Describe() string {
	return fmt.Sprintf("Watch the cluster, and probe its API every %s on new and on reused connections, with writes and with a watch", s.APIEvery)
}

// watchSynced bounds the first listing of everything that is watched.
const watchSynced = time.Minute

// Restore implements Restorer: it watches and probes again.
func (s Watch) Restore(ctx context.Context, env *Env) error {
	if !env.State.Measuring {
		return nil
	}
	return s.Run(ctx, env)
}

// Run implements Step.
func (s Watch) Run(ctx context.Context, env *Env) error {
	apis := make([]apiserver.Server, len(env.Cluster.APIServers))
	for i, a := range env.Cluster.APIServers {
		apis[i] = apiserver.Server{Name: a.Name, Config: a.Config}
	}
	ps, err := apiserver.New(apis)
	if err != nil {
		return fmt.Errorf("API probes: %w", err)
	}
	scheduler := probes.NewScheduler(env.Timeline, &probeFiles{dir: env.Dir, see: env.Observer.Sample}, env.Log)
	for _, p := range ps {
		if err := scheduler.Add(p, s.APIEvery, s.APITimeout); err != nil {
			return err
		}
	}
	w := writer.New(env.client(), deploy.DefaultNamespace, fmt.Sprintf("%s-%d", env.Run.ID, env.Timeline.Clock().Now().Milliseconds()))
	long := writer.NewWatch(w, env.Timeline)
	for _, p := range []probes.Probe{w, long} {
		if err := scheduler.Add(p, writer.Interval, writer.Timeout); err != nil {
			return err
		}
	}
	for _, p := range scheduler.Probes() {
		env.addProbe(p)
	}
	// What is observed must belong to a probe of the record, also if the process
	// is killed before this step ends.
	if err := env.Dir.SaveRun(*env.Run); err != nil {
		return err
	}

	// Both go on after this step, until StopLoad or the cleanup ends them.
	outlive := context.WithoutCancel(ctx)
	watcher := watch.New(env.client(), env.Timeline, watch.ForCanary(deploy.DefaultNamespace), env.Log)
	env.stopWatch = env.Cleanup.Add(cleanup.Entry{What: "watch and probes", Undo: func(ctx context.Context) error {
		scheduler.Stop()
		long.Stop()
		watcher.Stop()
		env.keepFindings(append(w.Findings(), watcher.Repeated()...))
		if err := w.Sweep(ctx); err != nil {
			env.Log.Debug("left to the cluster's end", "error", err)
		}
		return nil
	}})
	if env.Observer.Nodes != nil {
		env.Observer.Nodes(watcher.Nodes)
	}
	watcher.Start(outlive)
	err = bounded(ctx, watchSynced, watcher.Synced)
	if err != nil {
		return fmt.Errorf("watch the cluster: %w", err)
	}
	long.Start(outlive)
	scheduler.Start(outlive)
	return nil
}

// addProbe puts a probe into run.json, in place of one of its name that an
// interrupted process has put there.
func (e *Env) addProbe(p record.Probe) {
	for i := range e.Run.Probes {
		if e.Run.Probes[i].Name == p.Name {
			e.Run.Probes[i] = p
			return
		}
	}
	e.Run.Probes = append(e.Run.Probes, p)
}

// probeFiles writes each probe's observations to its file in the record,
// opened with the first.
type probeFiles struct {
	dir *record.Dir
	see func(probe string, s record.ProbeSample) // nil where nobody looks on

	mu   sync.Mutex
	open map[string]*record.ProbeWriter
}

// ProbeSample implements probes.Sink.
func (f *probeFiles) ProbeSample(probe string, s record.ProbeSample) error {
	w, err := f.writer(probe)
	if err != nil {
		return err
	}
	if err := w.Write(s); err != nil {
		return err
	}
	if f.see != nil {
		f.see(probe, s)
	}
	return nil
}

func (f *probeFiles) writer(probe string) (*record.ProbeWriter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.open[probe]; w != nil {
		return w, nil
	}
	w, err := f.dir.Probe(probe)
	if err != nil {
		return nil, err
	}
	if f.open == nil {
		f.open = map[string]*record.ProbeWriter{}
	}
	f.open[probe] = w
	return w, nil
}
