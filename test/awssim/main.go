// Command awssim is the world as kops sees it: an AWS account with an S3 bucket,
// machines that boot from their user data, a real API server behind the cluster's
// balancer, and the sites that kops asks for versions and checksums. It is used by
// `make e2e-kops`; see README.md.
//
// It prints one JSON object with the addresses once it is ready, and runs until
// its standard input ends or it is told to terminate.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/kube-rehearse/rehearse/test/awssim/account"
	"github.com/kube-rehearse/rehearse/test/awssim/bucket"
	"github.com/kube-rehearse/rehearse/test/awssim/internet"
	"github.com/kube-rehearse/rehearse/test/awssim/machine"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "awssim:", err)
		os.Exit(1)
	}
}

type status struct {
	Resources []string       `json:"resources"`
	Objects   []string       `json:"objects"`
	Gaps      map[string]int `json:"gaps"`
	Actions   map[string]int `json:"actions"`
}

func run() error {
	kube := flag.String("kube", "", "the executable with every component of Kubernetes")
	etcd := flag.String("etcd", "", "the executable of etcd")
	channels := flag.String("channels", "", "a directory with kops' channels")
	dir := flag.String("dir", "", "where certificates, data and logs go")
	name := flag.String("bucket", "kops-state", "the bucket of the state store")
	bootTime := flag.Duration("boot", 3*time.Second, "from a launch until an instance runs")
	verbose := flag.Bool("v", false, "log what the mocks log")
	flag.Parse()

	// cloudmock ends the process on input that it does not know. Here that is a gap.
	klog.OsExit = func(int) { panic("cloudmock does not know this input") }
	if !*verbose {
		klog.LogToStderr(false)
		klog.SetOutput(io.Discard)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))

	store, err := bucket.New(*name)
	if err != nil {
		return err
	}
	plane := &machine.Plane{Kube: *kube, Etcd: *etcd, Dir: *dir, Log: log}
	fleet := &machine.Fleet{Store: store, Plane: plane, Log: log}
	a := account.New(account.Options{Boot: *bootTime, Stop: time.Second, Drain: 2 * time.Second, Log: log, Machines: fleet})
	net1 := &internet.Internet{
		Cloud: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if account.Scope(r) == "s3" {
				store.ServeHTTP(w, r)
				return
			}
			a.ServeHTTP(w, r)
		}),
		IsBalancer: a.HasBalancer,
		Backend: func(host string, port int) string {
			if !a.Serving(host, port) {
				return ""
			}
			return plane.Address()
		},
		Channels: *channels, Log: log,
	}
	certificate, err := net1.Certificate()
	if err != nil {
		return err
	}
	caFile := filepath.Join(*dir, "internet.crt")
	if err := os.WriteFile(caFile, certificate, 0o600); err != nil {
		return err
	}
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- net1.Serve(proxy) }()
	go func() {
		s := &http.Server{Handler: controls(a, fleet, store), ReadHeaderTimeout: time.Minute}
		failed <- s.Serve(control)
	}()
	go a.Run(ctx)
	go fleet.Kubelets(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"proxy": "http://" + proxy.Addr().String(), "certificate": caFile, "control": "http://" + control.Addr().String()}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// controls is how a test looks into the simulation and plants faults.
func controls(a *account.Account, fleet *machine.Fleet, store *bucket.Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		keys, err := store.Keys()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(status{Resources: a.Resources(), Objects: keys, Gaps: a.Gaps(), Actions: a.Counts()})
	})
	mux.HandleFunc("POST /refuse", func(_ http.ResponseWriter, r *http.Request) { a.Refuse(r.FormValue("action"), r.FormValue("code")) })
	mux.HandleFunc("POST /break", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("group") == "" {
			http.Error(w, errors.New("no group given").Error(), http.StatusBadRequest)
			return
		}
		fleet.Break(r.FormValue("group"), r.FormValue("broken") == "true")
	})
	return mux
}
