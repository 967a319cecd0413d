package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/canary"
)

// CanaryImage is the image reference whose containers are real canaries. Every
// other image is only an object that starts, is ready and stops.
const CanaryImage = "rehearse.io/canary:simulated"

// process is what a pod's container runs.
type process interface {
	// address is where the process listens on loopback, empty if it does not.
	address() string
	// exited is closed when the process has ended by itself.
	exited() <-chan struct{}
	// result is the exit code and termination message after exited.
	result() (int32, string)
	// ready is one readiness observation of a process without an HTTP probe.
	ready() bool
	// stop is SIGTERM: it returns when the process has ended, at the latest when
	// ctx ends, which is SIGKILL. It tells whether the process ended by itself.
	stop(ctx context.Context) bool
	// kill is SIGKILL.
	kill()
}

// listener is a process that listens on a port of its pod.
type listener interface {
	process
	listensOn() int
}

// server is a canary: a real HTTP server on loopback.
type server struct {
	canary *canary.Server
	addr   string
	port   int
	done   chan struct{}
	err    error
}

// canaryFlags reads a canary's arguments as cmd/canary does. Durations of its
// end are scaled with everything else in the cluster; its latency is what
// clients measure, and is not.
func canaryFlags(args []string, c clock, pod, node string) (canary.Config, int, error) {
	cfg := canary.Config{Pod: pod, Node: node}
	f := flag.NewFlagSet("canary", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	port := f.Int("port", canary.DefaultPort, "")
	f.String("address", "", "")
	f.StringVar(&cfg.Pod, "pod", pod, "")
	f.StringVar(&cfg.Node, "node", node, "")
	f.IntVar(&cfg.BodyBytes, "body-bytes", 1024, "")
	f.DurationVar(&cfg.Latency, "latency", 0, "")
	f.DurationVar(&cfg.ShutdownDelay, "shutdown-delay", 15*time.Second, "")
	f.DurationVar(&cfg.GracePeriod, "grace-period", 10*time.Second, "")
	if err := f.Parse(args); err != nil {
		return cfg, 0, fmt.Errorf("canary arguments %q: %w", args, err)
	}
	cfg.ShutdownDelay, cfg.GracePeriod = c.of(cfg.ShutdownDelay), c.of(cfg.GracePeriod)
	return cfg, *port, nil
}

func startCanary(ctx context.Context, args []string, c clock, pod, node string) (*server, error) {
	cfg, port, err := canaryFlags(args, c, pod, node)
	if err != nil {
		return nil, err
	}
	s, err := canary.New(cfg)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("canary of pod %s: listen: %w", pod, err)
	}
	p := &server{canary: s, addr: l.Addr().String(), port: port, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = s.Serve(l)
	}()
	return p, nil
}

func (p *server) address() string         { return p.addr }
func (p *server) listensOn() int          { return p.port }
func (p *server) exited() <-chan struct{} { return nil }
func (p *server) result() (int32, string) { return 0, "" }
func (p *server) ready() bool             { return p.canary.Ready() }
func (p *server) stop(ctx context.Context) bool {
	err := p.canary.Shutdown(ctx)
	<-p.done
	return err == nil && ctx.Err() == nil
}
func (p *server) kill() { _ = p.canary.Close(); <-p.done }

// lookup is a pod that resolves one name through the simulated CoreDNS and
// ends.
type lookup struct {
	done    chan struct{}
	code    int32
	text    string
	stopped context.CancelFunc
}

func startLookup(ctx context.Context, args []string, c clock, r canary.Resolver) *lookup {
	ctx, cancel := context.WithCancel(ctx)
	p := &lookup{done: make(chan struct{}), stopped: cancel}
	f := flag.NewFlagSet("lookup", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	timeout := f.Duration("timeout", 5*time.Second, "")
	f.String("termination-log", "", "")
	go func() {
		defer close(p.done)
		defer cancel()
		if err := f.Parse(args); err != nil || f.NArg() != 1 {
			p.code, p.text = 64, fmt.Sprintf("canary lookup: want one name, got %q", args)
			return
		}
		text, err := canary.Lookup(ctx, r, f.Arg(0), c.of(*timeout))
		p.text = text
		if err != nil {
			p.code = 1
		}
	}()
	return p
}

func (p *lookup) address() string           { return "" }
func (p *lookup) exited() <-chan struct{}   { return p.done }
func (p *lookup) result() (int32, string)   { return p.code, p.text }
func (p *lookup) ready() bool               { return true }
func (p *lookup) stop(context.Context) bool { p.kill(); return true }
func (p *lookup) kill()                     { p.stopped(); <-p.done }

// inert is every other container: it holds no process, only a state.
type inert struct{ isReady func() bool }

func (p inert) address() string           { return "" }
func (p inert) exited() <-chan struct{}   { return nil }
func (p inert) result() (int32, string)   { return 0, "" }
func (p inert) ready() bool               { return p.isReady() }
func (p inert) stop(context.Context) bool { return true }
func (p inert) kill()                     {}

// crashed is a container that ends with an error as soon as it starts.
type crashed struct {
	inert
	text string
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (p crashed) exited() <-chan struct{} { return closedChannel }
func (p crashed) result() (int32, string) { return 1, p.text }

// start makes the process of a pod's first container.
func (k *kubelet) start(ctx context.Context, p *corev1.Pod) (process, error) {
	c := p.Spec.Containers[0]
	if c.Image == CanaryImage {
		args := append(append([]string(nil), c.Command...), c.Args...)
		if len(args) > 0 && strings.HasSuffix(args[0], "canary") {
			args = args[1:]
		}
		if len(args) > 0 && args[0] == "lookup" {
			return startLookup(ctx, args[1:], k.c.clock, resolver{k}), nil
		}
		if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-dns=") }) {
			return startDNSAgent(ctx, args, resolver{k}, k.node)
		}
		return startCanary(ctx, args, k.c.clock, p.Name, k.node)
	}
	if text, ok := k.c.opt.Faults.crash(p); ok {
		return crashed{text: text}, nil
	}
	if comp := p.Labels["component"]; comp != "" && p.Annotations[corev1.MirrorPodAnnotationKey] != "" {
		return inert{func() bool { return k.c.plane.isUp(k.node, comp) }}, nil
	}
	return inert{func() bool { return true }}, nil
}

// probe makes one readiness observation of a pod.
func (k *kubelet) probe(ctx context.Context, p *corev1.Pod, proc process) error {
	pr := p.Spec.Containers[0].ReadinessProbe
	if pr == nil || pr.HTTPGet == nil || proc.address() == "" {
		if !proc.ready() {
			return errors.New("not ready")
		}
		return nil
	}
	// The whole second of a probe's timeout is kept: the machine that runs the
	// simulation is not ten times faster than a node.
	ctx, cancel := context.WithTimeout(ctx, time.Duration(or(pr.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	return httpCheck(ctx, "http://"+proc.address()+pr.HTTPGet.Path, nil)
}

// httpCheck is one HTTP health check on a connection of its own.
func httpCheck(ctx context.Context, url string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	t := &http.Transport{DisableKeepAlives: true, DialContext: dial}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 10<<10)); err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", resp.StatusCode)
	}
	return nil
}

// resolver is CoreDNS as a pod on a node sees it: through the node's rules for
// the kube-dns Service.
type resolver struct{ k *kubelet }

// LookupHost implements canary.Resolver.
func (r resolver) LookupHost(ctx context.Context, host string) ([]string, error) {
	c := r.k.c
	proxy := c.proxy(r.k.node)
	if proxy == nil {
		return nil, &net.DNSError{Err: "the node is gone", Name: host}
	}
	e, ok := proxy.lookup(net.JoinHostPort(dnsServiceIP, "53"))
	if !ok || !c.dnsAnswers(r.k.node, e.ip) {
		<-ctx.Done()
		return nil, &net.DNSError{Err: "i/o timeout", Name: host, Server: net.JoinHostPort(dnsServiceIP, "53"), IsTimeout: true}
	}
	name := strings.TrimSuffix(host, ".")
	labels := strings.Split(name, ".")
	if len(labels) == 5 && strings.HasSuffix(name, ".svc.cluster.local") || len(labels) == 2 {
		if s, ok := get[*corev1.Service](c.store, resServices, labels[1], labels[0]); ok && s.Spec.ClusterIP != "" {
			return []string{s.Spec.ClusterIP}, nil
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, Server: net.JoinHostPort(dnsServiceIP, "53"), IsNotFound: true}
}
