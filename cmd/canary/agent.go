package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/agent"
)

// sendLoad is the whole life of a pod that sends a part of the load: see package
// agent. It ends when the runner says so, or is not heard of any more.
func sendLoad(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	flags := flag.NewFlagSet("canary agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	host := flags.String("address", "", "address to listen on; empty is every address")
	port := flags.Int("port", agent.DefaultPort, "port to listen on")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "canary agent: it takes no arguments, got %q\n", flags.Arg(0))
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, nil)).With("agent", getenv(agent.EnvName))
	a, err := agent.New(ctx, agent.Config{Name: getenv(agent.EnvName), Token: getenv(agent.EnvToken), Log: log})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort(*host, strconv.Itoa(*port)))
	if err != nil {
		fmt.Fprintf(stderr, "canary agent: listen: %v\n", err)
		return exitFailed
	}
	log.Info("waiting for the runner", "address", listener.Addr().String())
	server := &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = a.Run()
	// The answer to the request that ended it is still under way.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = server.Shutdown(last) // what it still had to tell goes with the pod
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	if err != nil {
		fmt.Fprintf(stderr, "canary agent: %v\n", err)
		return exitFailed
	}
	return exitOK
}
