package cloud

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Twin is the canary's twin on this machine: the control lane's target. It shows
// trouble of the machine that sends the load, and not of the network between it
// and the cloud, whose other end is the cluster's own balancer. Its zero value
// is ready.
type Twin struct {
	mu      sync.Mutex
	servers []*canary.Server
	done    sync.WaitGroup
}

// Start serves on a free port of 127.0.0.1 until Stop. Replicas have no meaning
// within one process.
func (t *Twin) Start(ctx context.Context, w cluster.Workload) (cluster.Endpoint, error) {
	cfg := canary.Config{Pod: "twin", Node: "outside"}
	flags := flag.NewFlagSet("twin", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&cfg.BodyBytes, "body-bytes", 1024, "")
	flags.DurationVar(&cfg.Latency, "latency", 0, "")
	if err := flags.Parse(w.Args); err != nil {
		return cluster.Endpoint{}, fmt.Errorf("start the twin: %w", err)
	}
	s, err := canary.New(cfg)
	if err != nil {
		return cluster.Endpoint{}, fmt.Errorf("start the twin: %w", err)
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return cluster.Endpoint{}, fmt.Errorf("start the twin: %w", err)
	}
	t.mu.Lock()
	t.servers = append(t.servers, s)
	t.mu.Unlock()
	t.done.Go(func() { _ = s.Serve(l) })
	return cluster.Endpoint{URL: "http://" + l.Addr().String()}, nil
}

// Stop ends every twin and waits until they are gone.
func (t *Twin) Stop() error {
	t.mu.Lock()
	servers := t.servers
	t.servers = nil
	t.mu.Unlock()
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Close())
	}
	t.done.Wait()
	return errors.Join(errs...)
}
