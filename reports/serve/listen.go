package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// DefaultAddr is where the server listens unless it is told otherwise.
const DefaultAddr = "127.0.0.1:8099"

// ErrRemote is why an address is refused that other machines can reach.
var ErrRemote = errors.New("records name the nodes, pods and versions of clusters, and whoever can connect may read them: there is no password")

// Listen opens addr, a host and a port; port 0 is any free one. Unless remote is
// set it refuses, with ErrRemote and before anything is opened, an address that
// is not of this machine alone: only loopback addresses and localhost are.
func Listen(ctx context.Context, addr string, remote bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w; give a host and a port, such as %s", addr, err, DefaultAddr)
	}
	if host == "localhost" {
		host = "127.0.0.1" // whatever a resolver may make of the name
	}
	if !remote && !loopback(host) {
		return nil, fmt.Errorf("address %q can be reached from other machines: %w", addr, ErrRemote)
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// shutdownTime is how long requests that are under way may take to end.
const shutdownTime = 5 * time.Second

// Serve answers on l until ctx ends, and then until the requests under way are
// answered, for at most five seconds. It closes l. That ctx ended is no error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 5 * time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	stopped := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		select {
		case <-ended:
			stopped <- nil
		case <-ctx.Done():
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
			defer cancel()
			err := server.Shutdown(limited)
			if errors.Is(err, context.DeadlineExceeded) {
				err = server.Close()
			}
			stopped <- err
		}
	}()
	err := server.Serve(l)
	close(ended)
	if shut := <-stopped; errors.Is(err, http.ErrServerClosed) {
		err = shut
	}
	if err != nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
