// Command canary is the web service that receives a rehearsal's traffic.
//
//	canary [flags]               serve until SIGTERM, then stop without losing a request
//	canary -dns NAME[,NAME]      resolve the names each second, and tell at /dns what came of it
//	canary lookup [flags] NAME   resolve NAME once and say what came of it
//	canary agent [flags]         send a part of a rehearsal's load, as the runner says
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
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: it serves until ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "lookup" {
		return lookup(ctx, args[1:], net.DefaultResolver, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "agent" {
		return sendLoad(ctx, args[1:], getenv, stderr)
	}
	return serve(ctx, args, getenv, stderr)
}

func serve(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	flags := flag.NewFlagSet("canary", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var cfg canary.Config
	host := flags.String("address", "", "address to listen on; empty is every address")
	port := flags.Int("port", canary.DefaultPort, "port to listen on")
	flags.StringVar(&cfg.Pod, "pod", getenv(canary.EnvPod), "name of this pod (default from "+canary.EnvPod+")")
	flags.StringVar(&cfg.Node, "node", getenv(canary.EnvNode), "name of this node (default from "+canary.EnvNode+")")
	flags.IntVar(&cfg.BodyBytes, "body-bytes", 1024, "size of an answer's body")
	flags.DurationVar(&cfg.Latency, "latency", 0, "how long to wait before an answer")
	flags.DurationVar(&cfg.ShutdownDelay, "shutdown-delay", 15*time.Second, "how long to serve on, unready, after SIGTERM")
	flags.DurationVar(&cfg.GracePeriod, "grace-period", 10*time.Second, "how long to wait for requests in flight after the delay")
	names := flags.String("dns", "", "serve no traffic, but resolve these names again and again, separated by commas, and tell at "+canary.PathDNS+" what came of it")
	every := flags.Duration("dns-every", time.Second, "with -dns, how often")
	timeout := flags.Duration("dns-timeout", 2*time.Second, "with -dns, how long to wait for an answer")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "canary: unknown command %q; the commands are lookup and agent\n", flags.Arg(0))
		return exitUsage
	}
	if *names != "" {
		return watchDNS(ctx, cfg.Node, net.JoinHostPort(*host, strconv.Itoa(*port)), canary.DNSConfig{
			Names: strings.Split(*names, ","), Resolver: net.DefaultResolver, Every: *every, Timeout: *timeout,
		}, stderr)
	}
	server, err := canary.New(cfg)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, nil)).With("pod", cfg.Pod, "node", cfg.Node, "boot", server.BootID())

	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort(*host, strconv.Itoa(*port)))
	if err != nil {
		fmt.Fprintf(stderr, "canary: listen: %v\n", err)
		return exitFailed
	}
	log.Info("serving", "address", listener.Addr().String())

	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		log.Info("told to stop", "delay", cfg.ShutdownDelay, "grace", cfg.GracePeriod)
		// The context that told us to stop has ended; stopping takes time of its own.
		stopped <- server.Shutdown(context.WithoutCancel(ctx))
	}()
	if err := server.Serve(listener); err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	if err := <-stopped; err != nil {
		log.Error("stopped", "error", err)
		return exitFailed
	}
	log.Info("stopped")
	return exitOK
}

// watchDNS is the whole life of a pod that watches the cluster's DNS.
func watchDNS(ctx context.Context, node, address string, cfg canary.DNSConfig, stderr io.Writer) int {
	agent, err := canary.NewDNSAgent(node, cfg)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", address)
	if err != nil {
		fmt.Fprintf(stderr, "canary: listen: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "canary: resolving %s every %s, told at %s\n", strings.Join(cfg.Names, ", "), cfg.Every, listener.Addr())
	server := &http.Server{Handler: agent, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	go func() {
		<-ctx.Done()
		_ = server.Close() // what it still had to tell goes with the pod
	}()
	agent.Run(ctx)
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintf(stderr, "canary: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// lookup is the whole life of a pod that checks the cluster's DNS: its message
// is read from the pod's status.
func lookup(ctx context.Context, args []string, resolver canary.Resolver, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("canary lookup", flag.ContinueOnError)
	flags.SetOutput(stderr)
	timeout := flags.Duration("timeout", 5*time.Second, "how long to wait for an answer")
	message := flags.String("termination-log", "/dev/termination-log", "file that the result is written to as well, where it exists")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if flags.NArg() != 1 {
		fmt.Fprintf(stderr, "canary lookup: want one name, got %d\n", flags.NArg())
		return exitUsage
	}
	result, err := canary.Lookup(ctx, resolver, flags.Arg(0), *timeout)
	fmt.Fprintln(stdout, result)
	if writeErr := writeMessage(*message, result); writeErr != nil {
		fmt.Fprintf(stderr, "canary lookup: %v\n", writeErr)
	}
	if err != nil {
		return exitFailed
	}
	return exitOK
}

// writeMessage writes to a file that exists: outside a pod there is none.
func writeMessage(path, message string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, message)
	return errors.Join(err, f.Close())
}
