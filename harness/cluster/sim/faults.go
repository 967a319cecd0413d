package sim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim/internal/balancer"
)

// Faults are planted in the components that they belong to, to prove that a
// rehearsal finds them. The zero value is a clean cluster. Each function is
// asked again and again while the cluster runs, so that a fault may begin and
// end; it must be safe for use from several goroutines and return at once. A
// nil function never acts.
type Faults struct {
	// KubeletVersion tells which version a node's kubelet really gets when it is
	// to be upgraded: an older, a newer, or none for the one it has.
	KubeletVersion func(node string, to cluster.Version) cluster.Version
	// FallBack tells whether a node's kubelet goes back to the version that the
	// cluster was created at, as configuration management does that nobody told
	// of the upgrade.
	FallBack func(node string) bool
	// UpgradeChangesNothing makes every upgrade take its time, report success and
	// change no version.
	UpgradeChangesNothing bool
	// PlanesTogether upgrades all control planes at once, with the first.
	PlanesTogether bool

	// APIDown tells whether a control plane's API server is down, beside its
	// restarts in the upgrade.
	APIDown func(node string) bool
	// KubeletStopped tells whether a node's kubelet is stopped.
	KubeletStopped func(node string) bool

	// BalancerDown tells whether the balancer before the canary is gone: its port
	// refuses and its connections are reset. Resolution 2 ms.
	BalancerDown func() bool
	// BalancerKeeps tells whether the balancer goes on sending to a node whatever
	// its health checks say.
	BalancerKeeps func(node string) bool
	// NodeUnreachable tells whether packets from the balancer to a node are lost.
	NodeUnreachable func(node string) bool
	// Response says what befalls one request on its way through the balancer
	// before the canary, which is then a reverse proxy; nil leaves it a TCP proxy.
	Response func(r Request) Effect

	// OverlayDown tells whether flannel crash-loops on a node: pods of other
	// nodes cannot be reached from it, nor its own from elsewhere.
	OverlayDown func(node string) bool
	// OverlayNotReady makes such a node NotReady as well, as it becomes when its
	// kubelet restarts meanwhile.
	OverlayNotReady bool
	// NoDaemon tells whether a DaemonSet's pod is missing on a node, as
	// kube-proxy's.
	NoDaemon func(daemonSet, node string) bool
	// DNSDown tells whether CoreDNS crash-loops.
	DNSDown func() bool
	// StaleSlices tells whether the EndpointSlices of a Service are no longer
	// kept up to date.
	StaleSlices func(namespace, service string) bool

	// Objects are stored as they are, status included, when the cluster is
	// created: a budget, a pod that nothing owns, a failed pod; see BlockingBudget,
	// BarePod and FailedPod.
	Objects []Object
}

// Object is something to store in a new cluster.
type Object struct{ runtime.Object }

// Request is one request as a fault sees it.
type Request struct {
	// Number counts the requests of this balancer from 1.
	Number uint64
	// Reused tells whether its connection carried another request before.
	Reused bool
	// Chance is a number in [0, 1), drawn for this request from the seed.
	Chance float64
}

// Effect is what befalls a request. The zero value is nothing.
type Effect struct {
	// Delay is added before the request is passed on.
	Delay time.Duration
	// Hang keeps the client waiting until it gives up.
	Hang bool
	// Reset resets the connection instead of an answer.
	Reset bool
	// Status answers in the backend's place, if not 0.
	Status int
	// Truncate announces the whole body and ends the connection after half of it.
	Truncate bool
}

func ask(f func(string) bool, s string) bool { return f != nil && f(s) }

func (f *Faults) overlayDown(node string) bool { return ask(f.OverlayDown, node) }

func (f *Faults) withoutDaemon(ds, node string) bool {
	return f.NoDaemon != nil && f.NoDaemon(ds, node)
}

// kubeletVersion returns the version that a kubelet gets; empty keeps its own.
func (f *Faults) kubeletVersion(node string, to cluster.Version) cluster.Version {
	switch {
	case f.UpgradeChangesNothing:
		return ""
	case f.KubeletVersion != nil:
		return f.KubeletVersion(node, to)
	}
	return to
}

func (f *Faults) frozenSlice(es *discoveryv1.EndpointSlice) bool {
	return f.StaleSlices != nil && f.StaleSlices(es.Namespace, es.Labels[discoveryv1.LabelServiceName])
}

// crash tells whether a pod's container ends with an error as soon as it starts.
func (f *Faults) crash(p *corev1.Pod) (string, bool) {
	switch {
	case p.Labels["app"] == "flannel" && f.overlayDown(p.Spec.NodeName):
		return "Failed to find any valid interface to use: failed to get default interface", true
	case p.Labels["k8s-app"] == "kube-dns" && f.DNSDown != nil && f.DNSDown():
		return "plugin/loop: Loop (127.0.0.1:55953 -> :53) detected for zone \".\"", true
	}
	return "", false
}

// injectPeriod is how often the faults that stop a process are asked.
const injectPeriod = 10 * time.Millisecond

// inject stops and starts the processes that faults name, until ctx ends.
func (c *simulation) inject(ctx context.Context) {
	f := &c.opt.Faults
	if f.APIDown == nil && f.KubeletStopped == nil && f.FallBack == nil {
		return
	}
	downAPI, downKubelet, fallen := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for pause(ctx, injectPeriod) == nil {
		for _, n := range c.plane.nodes {
			switch down := ask(f.APIDown, n); {
			case down && c.plane.isUp(n, compAPIServer):
				downAPI[n] = true
				c.must(c.setComponent(n, compAPIServer, false, ""))
			case !down && downAPI[n]:
				delete(downAPI, n)
				c.must(c.setComponent(n, compAPIServer, true, ""))
			}
		}
		for _, n := range c.nodeNames() {
			k := c.kubelet(n)
			if k == nil {
				continue
			}
			if stopped := ask(f.KubeletStopped, n); stopped != downKubelet[n] {
				downKubelet[n] = stopped
				k.set(!stopped, "")
			}
			if ask(f.FallBack, n) && !fallen[n] {
				fallen[n] = true
				k.set(true, c.spec.Version)
			}
		}
	}
}

// faulty wraps the canary's balancer in its faults.
func (c *simulation) faulty(cfg balancer.Config) balancer.Config {
	f := &c.opt.Faults
	cfg.Down = f.BalancerDown
	if dial := cfg.Dial; f.NodeUnreachable != nil {
		cfg.Dial = func(ctx context.Context, node string) (net.Conn, error) {
			if f.NodeUnreachable(node) {
				<-ctx.Done()
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}
			}
			return dial(ctx, node)
		}
	}
	check := cfg.Check
	cfg.Check = func(ctx context.Context, node string) error {
		switch {
		case ask(f.BalancerKeeps, node):
			return nil
		case ask(f.NodeUnreachable, node):
			<-ctx.Done()
			return errors.New("health check timed out")
		}
		return check(ctx, node)
	}
	if f.Response != nil {
		cfg.HTTP = func(next http.Handler) http.Handler {
			return &affected{c: c, next: next, dice: newDice(c.opt.Seed, "response")}
		}
	}
	return cfg
}

// affected is a handler that lets faults befall requests.
type affected struct {
	c      *simulation
	next   http.Handler
	dice   *dice
	number counter
}

// ServeHTTP implements http.Handler.
func (a *affected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := a.c.opt.Faults.Response(Request{Number: a.number.next(), Reused: balancer.Reused(r), Chance: a.dice.share()})
	if e.Delay > 0 && pause(r.Context(), e.Delay) != nil {
		return
	}
	switch {
	case e.Hang:
		<-r.Context().Done()
	case e.Reset:
		balancer.HijackReset(w)
	case e.Status != 0:
		http.Error(w, http.StatusText(e.Status), e.Status)
	case e.Truncate:
		a.next.ServeHTTP(&truncated{ResponseWriter: w}, r)
	default:
		a.next.ServeHTTP(w, r)
	}
}

// truncated passes on half of a body and ends the connection.
type truncated struct {
	http.ResponseWriter
	left int
}

// WriteHeader implements http.ResponseWriter.
func (t *truncated) WriteHeader(code int) {
	n, err := strconv.Atoi(t.Header().Get("Content-Length"))
	if err == nil {
		t.left = n / 2
	}
	t.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (t *truncated) Write(b []byte) (int, error) {
	n := min(len(b), t.left)
	if _, err := t.ResponseWriter.Write(b[:n]); err != nil {
		return 0, err
	}
	if t.left -= n; t.left == 0 {
		// What was written must leave before the connection ends.
		_ = http.NewResponseController(t.ResponseWriter).Flush()
		panic(http.ErrAbortHandler) // net/http's way to end a connection
	}
	return n, nil
}

// Unwrap lets http.ResponseController reach the connection.
func (t *truncated) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// BlockingBudget is a PodDisruptionBudget that allows no eviction of the pods
// with these labels, ever.
func BlockingBudget(namespace, name string, labels map[string]string) Object {
	zero := intstr.FromInt32(0)
	b := &policyv1.PodDisruptionBudget{Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &zero, Selector: &metav1.LabelSelector{MatchLabels: labels}}}
	b.Namespace, b.Name = namespace, name
	return Object{b}
}

// BarePod is a running pod that no controller owns; with an empty node the
// scheduler finds one.
func BarePod(namespace, name, node string) Object {
	p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "app", Image: "registry.k8s.io/pause:3.10"}}}}
	p.Namespace, p.Name = namespace, name
	p.Status.Phase = corev1.PodPending
	defaultTolerations(p)
	return Object{p}
}

// FailedPod is a pod that failed and that nobody removed.
func FailedPod(namespace, name, node string) Object {
	o := BarePod(namespace, name, node)
	p := o.Object.(*corev1.Pod)
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory."}
	return o
}
