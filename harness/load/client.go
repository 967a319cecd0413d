package load

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
)

// client sends a lane's one request. *http1.Client is one.
type client interface {
	Do(deadline time.Time, a *http1.Answer)
	Close()
}

// newClient returns the client of a lane's kind. Its connections outlive ctx's
// cancellation: load ends with its requests answered or timed out.
func newClient(ctx context.Context, l Lane) (client, error) {
	u, err := url.Parse(l.Target)
	if err != nil {
		return nil, fmt.Errorf("lane %s: target: %w", l.Name, err)
	}
	if l.Kind == HTTP2 {
		return newHTTP2(context.WithoutCancel(ctx), u, l.TLS), nil
	}
	c := http1.Config{URL: u, TLS: l.TLS, Dial: l.Dial, Header: canaryHeaders, KeepAlive: l.Kind == Reused, Connections: l.Connections}
	if c.Connections == 0 {
		c.Connections = DefaultConnections
	}
	if l.Kind == CachedDNS {
		if c.Addrs, err = resolve(ctx, u, l.Timeout); err != nil {
			return nil, fmt.Errorf("lane %s: target %s: %w", l.Name, l.Target, err)
		}
	}
	return http1.New(context.WithoutCancel(ctx), c)
}

// resolve returns the addresses of u's host as HOST:PORT.
func resolve(ctx context.Context, u *url.URL, timeout time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	hosts, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	for i := range hosts {
		hosts[i] = net.JoinHostPort(hosts[i], port)
	}
	return hosts, nil
}
