package sim

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// How long a pod takes to start and to leave, beside its own process: sandbox
// and network, container start from a present image, removal of the sandbox.
const (
	startDelay   = 1500 * time.Millisecond
	removeDelay  = 800 * time.Millisecond
	probePeriod  = 2 * time.Second // of containers without a readiness probe
	crashBackoff = 10 * time.Second
)

// worker runs one pod on its node: start, probes, restarts, end.
type worker struct {
	k        *kubelet
	uid      types.UID
	ns, name string
	news     chan *corev1.Pod // capacity 1, the latest state wins; nil is "gone"
	// finished is set under the kubelet's lock when the pod ended by itself and
	// its object remains.
	finished bool

	pod      *corev1.Pod
	proc     process
	ip       string
	restarts int32
	ready    bool
	good     int
	bad      int
}

func newWorker(k *kubelet, p *corev1.Pod) *worker {
	return &worker{k: k, uid: p.UID, ns: p.Namespace, name: p.Name, pod: p, news: make(chan *corev1.Pod, 1)}
}

func (w *worker) tell(p *corev1.Pod) {
	for {
		select {
		case w.news <- p:
			return
		default:
		}
		select {
		case <-w.news:
		default:
		}
	}
}

// run returns when the pod has left the node or ctx has ended, and tells
// whether it ended by itself and its object remains.
func (w *worker) run(ctx context.Context) bool {
	if w.pod.Status.Phase == corev1.PodSucceeded || w.pod.Status.Phase == corev1.PodFailed {
		return true
	}
	defer w.release()
	if w.pod.DeletionTimestamp != nil || !w.launch(ctx) {
		w.remove(ctx, 0, "")
		return false
	}
	probe := time.NewTimer(w.firstProbe())
	defer probe.Stop()
	ended := make(chan int32, 1)
	stopping := false
	for {
		select {
		case p := <-w.news:
			if p == nil { // removed by force: nobody waits for the process
				w.proc.kill()
				return false
			}
			w.pod = p
			if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && isReady(p) != w.ready {
				w.setReady(ctx, w.ready) // somebody else wrote it, see monitorNodes
			}
			if p.DeletionTimestamp != nil && !stopping {
				stopping = true
				proc, grace := w.proc, w.grace(p)
				defer func(done chan int32) { <-done }(w.terminate(ctx, proc, grace, ended))
			}
		case <-probe.C:
			probe.Reset(w.period())
			if _, crashes := w.k.c.opt.Faults.crash(w.pod); crashes && w.proc.address() == "" {
				w.proc = crashed{text: "killed by a planted fault"}
				continue
			}
			if w.k.isRunning() {
				w.observe(ctx)
			}
		case <-w.proc.exited():
			if stopping {
				continue
			}
			if lives, finished := w.restart(ctx); !lives {
				return finished
			}
		case code := <-ended:
			w.closeNetwork()
			w.remove(ctx, code, "")
			return false
		case <-ctx.Done():
			w.proc.kill()
			return false
		}
	}
}

// launch starts the container and reports the pod Running. It returns false
// when the pod was asked to go before it had started.
func (w *worker) launch(ctx context.Context) bool {
	if w.k.c.clock.sleep(ctx, w.k.dice.spread(startDelay)) != nil || w.k.awaitRunning(ctx) != nil {
		return false
	}
	select {
	case p := <-w.news:
		if p == nil || p.DeletionTimestamp != nil {
			return false
		}
		w.pod = p
	default:
	}
	proc, err := w.k.start(ctx, w.pod)
	if err != nil {
		proc = crashed{text: err.Error()}
	}
	w.proc = proc
	w.ip = w.k.ip
	if !w.pod.Spec.HostNetwork {
		w.ip = w.k.allocateIP()
		w.k.c.net.addHost(w.ip, w.k.node)
		if s, ok := proc.(listener); ok {
			w.k.c.net.listen(w.ip, s.listensOn(), s.address())
		}
	}
	now := metav1.Now()
	w.status(func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodRunning
		p.Status.StartTime = &now
		p.Status.HostIP, p.Status.HostIPs = w.k.ip, []corev1.HostIP{{IP: w.k.ip}}
		p.Status.PodIP, p.Status.PodIPs = w.ip, []corev1.PodIP{{IP: w.ip}}
		setPodCondition(p, "PodReadyToStartContainers", corev1.ConditionTrue, "", "")
		setPodCondition(p, corev1.PodInitialized, corev1.ConditionTrue, "", "")
		setPodCondition(p, corev1.PodReady, corev1.ConditionFalse, "ContainersNotReady", "containers with unready status: ["+p.Spec.Containers[0].Name+"]")
		setPodCondition(p, corev1.ContainersReady, corev1.ConditionFalse, "ContainersNotReady", "containers with unready status: ["+p.Spec.Containers[0].Name+"]")
		w.containers(p, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}, true)
	})
	return true
}

func (w *worker) firstProbe() time.Duration {
	if r := w.pod.Spec.Containers[0].ReadinessProbe; r != nil {
		// A first probe comes at a random moment of the period, after the delay.
		d := time.Duration(r.InitialDelaySeconds) * time.Second
		return w.k.c.clock.of(d + time.Duration(w.k.dice.share()*float64(w.realPeriod())))
	}
	return w.k.c.clock.of(100 * time.Millisecond)
}

func (w *worker) realPeriod() time.Duration {
	if r := w.pod.Spec.Containers[0].ReadinessProbe; r != nil && r.PeriodSeconds > 0 {
		return time.Duration(r.PeriodSeconds) * time.Second
	}
	return probePeriod
}

func (w *worker) period() time.Duration { return w.k.c.clock.of(w.realPeriod()) }

// observe probes once and reports a change of readiness.
func (w *worker) observe(ctx context.Context) {
	success, failure := int32(1), int32(1)
	if r := w.pod.Spec.Containers[0].ReadinessProbe; r != nil {
		success, failure = or(r.SuccessThreshold, 1), or(r.FailureThreshold, 3)
	}
	err := w.k.probe(ctx, w.pod, w.proc)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		w.good, w.bad = w.good+1, 0
	} else {
		w.good, w.bad = 0, w.bad+1
	}
	switch {
	case !w.ready && int32(w.good) >= success:
		w.setReady(ctx, true)
	case w.ready && int32(w.bad) >= failure:
		w.k.c.event(w.pod, "Pod", corev1.EventTypeWarning, "Unhealthy", "Readiness probe failed: "+err.Error(), "kubelet")
		w.setReady(ctx, false)
	}
}

func (w *worker) setReady(ctx context.Context, ready bool) {
	w.ready = ready
	if w.k.c.plane.awaitAPI(ctx) != nil {
		return
	}
	w.status(func(p *corev1.Pod) {
		state := corev1.ContainerState{}
		if len(p.Status.ContainerStatuses) > 0 {
			state = p.Status.ContainerStatuses[0].State
		}
		if ready {
			setPodCondition(p, corev1.ContainersReady, corev1.ConditionTrue, "", "")
			setPodCondition(p, corev1.PodReady, corev1.ConditionTrue, "", "")
		} else {
			m := "containers with unready status: [" + p.Spec.Containers[0].Name + "]"
			setPodCondition(p, corev1.ContainersReady, corev1.ConditionFalse, "ContainersNotReady", m)
			setPodCondition(p, corev1.PodReady, corev1.ConditionFalse, "ContainersNotReady", m)
		}
		w.containers(p, state, true)
	})
}

// containers writes the status of the pod's containers: they share one state.
func (w *worker) containers(p *corev1.Pod, s corev1.ContainerState, started bool) {
	p.Status.ContainerStatuses = nil
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: "simulated://" + c.Image, ContainerID: "containerd://" + string(w.uid) + "-" + c.Name,
			Ready: w.ready, Started: &started, State: s, RestartCount: w.restarts,
		})
	}
}

// restart deals with a container that ended by itself and tells whether the
// pod lives on, and if not, whether that was its proper end.
func (w *worker) restart(ctx context.Context) (lives, finished bool) {
	code, text := w.proc.result()
	now := metav1.Now()
	end := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason(code), Message: text, FinishedAt: now, StartedAt: now}}
	w.ready, w.good, w.bad = false, 0, 0
	policy := w.pod.Spec.RestartPolicy
	if w.k.awaitRunning(ctx) != nil {
		return false, false
	}
	if policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && code == 0 {
		phase, why := corev1.PodSucceeded, "PodCompleted"
		if code != 0 {
			phase, why = corev1.PodFailed, "PodFailed"
		}
		w.closeNetwork()
		w.status(func(p *corev1.Pod) {
			p.Status.Phase = phase
			setPodCondition(p, corev1.PodReady, corev1.ConditionFalse, why, "")
			setPodCondition(p, corev1.ContainersReady, corev1.ConditionFalse, why, "")
			w.containers(p, end, false)
		})
		return false, true
	}
	backoff := min(crashBackoff<<min(w.restarts, 5), 5*time.Minute)
	w.restarts++
	w.status(func(p *corev1.Pod) {
		m := "containers with unready status: [" + p.Spec.Containers[0].Name + "]"
		setPodCondition(p, corev1.ContainersReady, corev1.ConditionFalse, "ContainersNotReady", m)
		setPodCondition(p, corev1.PodReady, corev1.ConditionFalse, "ContainersNotReady", m)
		w.containers(p, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff",
			Message: "back-off " + backoff.String() + " restarting failed container=" + p.Spec.Containers[0].Name + " pod=" + p.Name}}, false)
		for i := range p.Status.ContainerStatuses {
			p.Status.ContainerStatuses[i].LastTerminationState = end
		}
	})
	w.k.c.event(w.pod, "Pod", corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container "+w.pod.Spec.Containers[0].Name+" in pod "+w.name, "kubelet")
	t := time.NewTimer(w.k.c.clock.of(backoff))
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case p := <-w.news:
			if p == nil {
				return false, false
			}
			w.pod = p
			if p.DeletionTimestamp == nil {
				continue
			}
			w.closeNetwork()
			w.remove(ctx, code, text)
			return false, false
		case <-ctx.Done():
			return false, false
		}
		break
	}
	proc, err := w.k.start(ctx, w.pod)
	if err != nil {
		proc = crashed{text: err.Error()}
	}
	w.proc = proc
	if s, ok := proc.(listener); ok {
		w.k.c.net.listen(w.ip, s.listensOn(), s.address())
	}
	now = metav1.Now()
	w.status(func(p *corev1.Pod) {
		w.containers(p, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}, true)
	})
	return true, false
}

func reason(code int32) string {
	switch code {
	case 0:
		return "Completed"
	default:
		return "Error"
	}
}

// grace is how long the process has from its SIGTERM, in the cluster's time.
func (w *worker) grace(p *corev1.Pod) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if p.DeletionGracePeriodSeconds != nil {
		seconds = *p.DeletionGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// terminate stops the process as a kubelet does: preStop, SIGTERM, and SIGKILL
// when the grace period is over. The exit code is sent to ended; the returned
// channel is closed when nothing of it runs any more.
func (w *worker) terminate(ctx context.Context, proc process, grace time.Duration, ended chan<- int32) chan int32 {
	pod := w.pod
	done := make(chan int32)
	w.k.c.event(pod, "Pod", corev1.EventTypeNormal, "Killing", "Stopping container "+pod.Spec.Containers[0].Name, "kubelet")
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(ctx, w.k.c.clock.of(grace))
		defer cancel()
		if l := pod.Spec.Containers[0].Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
			_ = w.k.c.clock.sleep(ctx, time.Duration(l.PreStop.Sleep.Seconds)*time.Second)
		}
		code := int32(0)
		if !proc.stop(ctx) {
			proc.kill()
			code = 137
		}
		ended <- code
	}()
	return done
}

// remove reports the end and removes the object, when the kubelet can.
func (w *worker) remove(ctx context.Context, code int32, text string) {
	if w.k.c.clock.sleep(ctx, w.k.dice.spread(removeDelay)) != nil || w.k.awaitRunning(ctx) != nil {
		return
	}
	if w.ip != "" && w.ip != w.k.ip {
		w.k.c.net.removeHost(w.ip)
	}
	p, ok := get[*corev1.Pod](w.k.c.store, resPods, w.ns, w.name)
	if !ok || p.UID != w.uid || p.DeletionTimestamp == nil {
		return
	}
	now := metav1.Now()
	w.ready = false
	w.status(func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodSucceeded
		if code != 0 {
			p.Status.Phase = corev1.PodFailed
		}
		setPodCondition(p, corev1.PodReady, corev1.ConditionFalse, "PodCompleted", "")
		w.containers(p, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, Reason: reason(code), Message: text, FinishedAt: now}}, false)
	})
	if _, err := w.k.c.store.Delete(resPods, w.ns, w.name); err != nil {
		w.k.c.log.Debug("pod was gone before its kubelet removed it", "pod", w.ns+"/"+w.name, "error", err)
	}
}

func (w *worker) closeNetwork() {
	if w.ip != "" && w.ip != w.k.ip {
		if s, ok := w.proc.(listener); ok {
			w.k.c.net.listen(w.ip, s.listensOn(), "")
		}
	}
}

// release frees what the pod held on the node, whatever ended it.
func (w *worker) release() {
	if w.ip != "" && w.ip != w.k.ip {
		w.k.c.net.removeHost(w.ip)
	}
}

// status changes the pod's object if it is still this pod.
func (w *worker) status(change func(*corev1.Pod)) {
	w.k.c.must(update(w.k.c.store, resPods, w.ns, w.name, func(p *corev1.Pod) {
		if p.UID == w.uid {
			change(p)
		}
	}))
}
