package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	restclient "k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/canary"
)

// dnsAgent is a pod that watches DNS as its node sees it: the real agent, which
// asks the simulated CoreDNS.
type dnsAgent struct {
	server *http.Server
	addr   string
	port   int
	cancel context.CancelFunc
	done   chan struct{}
}

// startDNSAgent reads the arguments as cmd/canary does. How often it asks, and for
// how long, is this machine's time: it is what a rehearsal measures.
func startDNSAgent(ctx context.Context, args []string, r canary.Resolver, node string) (*dnsAgent, error) {
	f := flag.NewFlagSet("canary", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	cfg := canary.DNSConfig{Resolver: r}
	port := f.Int("port", canary.DefaultPort, "")
	names := f.String("dns", "", "")
	f.DurationVar(&cfg.Every, "dns-every", time.Second, "")
	f.DurationVar(&cfg.Timeout, "dns-timeout", 2*time.Second, "")
	if err := f.Parse(args); err != nil {
		return nil, fmt.Errorf("canary arguments %q: %w", args, err)
	}
	cfg.Names = strings.Split(*names, ",")
	agent, err := canary.NewDNSAgent(node, cfg)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("DNS agent on %s: listen: %w", node, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &dnsAgent{
		server: &http.Server{Handler: agent, ReadHeaderTimeout: 10 * time.Second},
		addr:   l.Addr().String(), port: *port, cancel: cancel, done: make(chan struct{}),
	}
	go func() {
		defer close(p.done)
		ran := make(chan struct{})
		go func() { defer close(ran); agent.Run(ctx) }()
		// Serve always returns an error, and after Close the one that says so.
		_ = p.server.Serve(l)
		cancel()
		<-ran
	}()
	return p, nil
}

func (p *dnsAgent) address() string           { return p.addr }
func (p *dnsAgent) listensOn() int            { return p.port }
func (p *dnsAgent) exited() <-chan struct{}   { return nil }
func (p *dnsAgent) result() (int32, string)   { return 0, "" }
func (p *dnsAgent) ready() bool               { return true }
func (p *dnsAgent) stop(context.Context) bool { p.kill(); return true }
func (p *dnsAgent) kill()                     { p.cancel(); _ = p.server.Close(); <-p.done }

// podProxy is one GET through an API server's proxy, which connects to the pod
// from the node that the API server runs on.
type podProxy struct {
	c      *simulation
	action clienttesting.ProxyGetAction
}

// proxyTimeout is how long an API server waits for a connection to a pod, and for
// its answer, on this machine.
const proxyTimeout = 30 * time.Second

// Stream implements rest.ResponseWrapper.
func (p podProxy) Stream(context.Context) (io.ReadCloser, error) {
	return nil, unsupported(p.action)
}

// DoRaw implements rest.ResponseWrapper.
func (p podProxy) DoRaw(ctx context.Context) ([]byte, error) {
	from, up := p.c.plane.pick()
	if !up {
		return nil, p.c.api.unavailable(p.action)
	}
	pod, ok := get[*corev1.Pod](p.c.store, resPods, p.action.GetNamespace(), p.action.GetName())
	if !ok {
		return nil, apierrors.NewNotFound(resPods.GroupResource(), p.action.GetName())
	}
	port, err := strconv.Atoi(p.action.GetPort())
	if err != nil || pod.Status.PodIP == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s at %q has no port %q", pod.Name, pod.Status.PodIP, p.action.GetPort()))
	}
	ctx, cancel := context.WithTimeout(ctx, proxyTimeout)
	defer cancel()
	body, err := p.get(ctx, from, pod.Status.PodIP, port)
	if err != nil {
		return nil, apierrors.NewServiceUnavailable("error trying to reach service: " + err.Error())
	}
	return body, nil
}

func (p podProxy) get(ctx context.Context, from, ip string, port int) ([]byte, error) {
	url := "http://" + net.JoinHostPort(ip, strconv.Itoa(port)) + "/" + strings.TrimPrefix(p.action.GetPath(), "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	q := req.URL.Query()
	for k, v := range p.action.GetParams() {
		q.Set(k, v)
	}
	req.URL.RawQuery = q.Encode()
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return p.c.net.dial(ctx, from, ip, port)
	}}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return body, err
}

// proxied answers the fake clientset's proxy, without its lock.
func (c *simulation) proxied(action clienttesting.Action) (bool, restclient.ResponseWrapper, error) {
	a, ok := action.(clienttesting.ProxyGetAction)
	if !ok {
		return false, nil, nil
	}
	return true, podProxy{c, a}, nil
}
