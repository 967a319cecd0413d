package kind

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

// Balancer is how the balancers before the canary and its twin check what is
// behind them. The defaults are those of a cloud's balancer at its quickest.
type Balancer struct {
	Interval  time.Duration // between two checks of one server; 2 s when 0
	Unhealthy int           // consecutive bad checks that take a server out; 3 when 0
	Healthy   int           // consecutive good checks that bring it back; 2 when 0
	// Drain bounds the wait for requests that are under way when a server is
	// taken out, which a cloud calls the deregistration delay; 30 s when 0.
	Drain time.Duration
}

func (b Balancer) withDefaults() Balancer {
	if b.Interval == 0 {
		b.Interval = 2 * time.Second
	}
	if b.Unhealthy == 0 {
		b.Unhealthy = 3
	}
	if b.Healthy == 0 {
		b.Healthy = 2
	}
	if b.Drain == 0 {
		b.Drain = 30 * time.Second
	}
	return b
}

const (
	balancerPort       = 8080
	balancerAdminPort  = 9999
	balancerConfigDir  = "/usr/local/etc/haproxy"
	balancerConfigFile = "haproxy.cfg"
	// balancerShares is the weight of a balancer's CPU against a node's 1024. A
	// balancer stands for a machine of its own in production; here it must not
	// be what slows down when a node upgrades beside it.
	balancerShares = "4096"
	// answerTimeout bounds the wait until a new balancer's first answers.
	answerTimeout = 2 * time.Minute
	answersWanted = 3
)

// server is one line of a balancer's backend.
type server struct{ Name, Address string }

// balancerConfig is haproxy's configuration, for 2.2 and later.
//
// Clients keep their connections while servers come and go behind them. A
// client's first request always opens a connection of its own to a server
// (http-reuse safe), so the lane of new connections is new on both sides.
// A connection that a server refuses is tried once more, on another server;
// a request that was sent is never sent again, since that would hide what the
// rehearsal looks for. Idle connections are given up here before the canary's
// own timeout (two minutes), so that it is never the canary that closes one
// under a request. Lines of a stream are passed on at once (http-no-delay): else
// haproxy collects them for up to 200 ms. A client that begins with HTTP/2 is
// served so without more ado.
var balancerConfig = template.Must(template.New(balancerConfigFile).Parse(`global
  nbthread 1
  # Connections follow from the limit on open files; without a bound of its own
  # haproxy would reserve memory for a million of them.
  fd-hard-limit 20000
  # Servers come and go by this address, without a reload, which would cut the
  # connections that clients keep.
  stats socket ipv4@:{{.AdminPort}} level admin

defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive 60s
  option http-keep-alive
  option http-no-delay
  http-reuse safe
  retries 1
  option redispatch 1
  retry-on conn-failure

frontend canary
  bind :{{.Port}}
  default_backend servers

backend servers
  balance roundrobin
  option httpchk
  http-check send meth GET uri {{.HealthPath}} ver HTTP/1.1 hdr Host canary
  http-check expect status 200
  default-server check inter {{.Interval}} fall {{.Unhealthy}} rise {{.Healthy}}
{{- range .Servers}}
  server {{.Name}} {{.Address}}
{{- end}}
  server-template {{.SlotPrefix}} {{.Slots}} 127.0.0.1:1 disabled
`))

func (b Balancer) config(healthPath string, servers []server) ([]byte, error) {
	if len(servers) == 0 {
		return nil, fmt.Errorf("a balancer without a server")
	}
	var out bytes.Buffer
	err := balancerConfig.Execute(&out, struct {
		Port, AdminPort    int
		HealthPath         string
		Interval           string
		Unhealthy, Healthy int
		Servers            []server
		SlotPrefix         string
		Slots              int
	}{
		balancerPort, balancerAdminPort, healthPath, fmt.Sprintf("%dms", b.Interval.Milliseconds()),
		b.Unhealthy, b.Healthy, servers, slotPrefix, slots,
	})
	if err != nil {
		return nil, fmt.Errorf("render the balancer's configuration: %w", err)
	}
	return out.Bytes(), nil
}

// startBalancer runs a haproxy of that name in the run's network and returns
// once it has passed requests on. One that runs already, because an earlier
// process of the same run has started it, is taken as it is: its servers may
// have changed since. labels are --label arguments beside the run's.
func (d *Driver) startBalancer(ctx context.Context, s cluster.Spec, name, network, healthPath string, servers []server, labels ...string) (cluster.Endpoint, error) {
	container, found, err := d.docker.Container(ctx, name)
	if err != nil {
		return cluster.Endpoint{}, err
	}
	if found && container.State != running {
		if err := d.docker.RemoveContainer(ctx, name); err != nil {
			return cluster.Endpoint{}, err
		}
	}
	if !found || container.State != running {
		if container, err = d.createBalancer(ctx, s, name, network, healthPath, servers, labels...); err != nil {
			return cluster.Endpoint{}, err
		}
	}
	published := container.Ports[fmt.Sprintf("%d/tcp", balancerPort)]
	if len(published) == 0 {
		return cluster.Endpoint{}, fmt.Errorf("balancer %s is %q and publishes no port; %s", name, container.State, d.printed(ctx, name))
	}
	url := "http://" + published[0]
	if err := awaitAnswers(ctx, url+healthPath, answerTimeout); err != nil {
		return cluster.Endpoint{}, fmt.Errorf("balancer %s: %w", name, err)
	}
	return cluster.Endpoint{URL: url}, nil
}

func (d *Driver) createBalancer(ctx context.Context, s cluster.Spec, name, network, healthPath string, servers []server, labels ...string) (docker.Container, error) {
	config, err := d.balancer.config(healthPath, servers)
	if err != nil {
		return docker.Container{}, err
	}
	image, err := d.images.Balancer(ctx)
	if err != nil {
		return docker.Container{}, err
	}
	publish := func(port int) []string { return []string{"--publish", fmt.Sprintf("%s::%d/tcp", loopback, port)} }
	// The image's own entrypoint is made for kind's configuration.
	create := slices.Concat([]string{"create", "--name", name, "--hostname", name}, runLabels(s, roleBalancer), labels,
		[]string{"--network", network, "--cpu-shares", balancerShares}, publish(balancerPort), publish(balancerAdminPort),
		[]string{"--entrypoint", "haproxy", image, "-W", "-db", "-f", balancerConfigDir + "/" + balancerConfigFile})
	if _, err := d.docker.Output(ctx, create...); err != nil {
		return docker.Container{}, fmt.Errorf("create balancer %s: %w", name, err)
	}
	archive, err := docker.OneFile(balancerConfigFile, 0o644, config)
	if err != nil {
		return docker.Container{}, err
	}
	if err := d.docker.Pipe(ctx, archive, nil, "cp", "-", name+":"+balancerConfigDir); err != nil {
		return docker.Container{}, fmt.Errorf("configure balancer %s: %w", name, err)
	}
	if err := d.docker.Run(ctx, "start", name); err != nil {
		return docker.Container{}, fmt.Errorf("start balancer %s: %w", name, err)
	}
	container, found, err := d.docker.Container(ctx, name)
	if err != nil {
		return docker.Container{}, err
	}
	if !found {
		return docker.Container{}, fmt.Errorf("start balancer %s: the container is gone", name)
	}
	return container, nil
}

// awaitAnswers returns when url has answered 200 several times in a row, each
// on a connection of its own.
func awaitAnswers(ctx context.Context, url string, timeout time.Duration) error {
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	var last string
	for good := 0; good < answersWanted; {
		problem, err := ask(inner, client, url)
		if err != nil {
			return err
		}
		if problem == "" {
			good++
			continue
		}
		good, last = 0, problem
		if err := pause.For(inner, 200*time.Millisecond); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return fmt.Errorf("%s did not answer with 200 within %s: %s", url, timeout, last)
		}
	}
	return nil
}

// ask sends one request. What is wrong with the answer is data.
func ask(ctx context.Context, client *http.Client, url string) (problem string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("make a request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error(), nil
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err.Error(), nil
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status, nil
	}
	return "", nil
}

// Expose implements cluster.Exposer. The balancer's servers are the workers,
// or every node where there is none: a cloud's balancer leaves control planes
// out too (kubeadm labels them node.kubernetes.io/exclude-from-external-load-balancers).
func (d *Driver) Expose(ctx context.Context, c *cluster.Cluster, svc cluster.Service) (cluster.Endpoint, error) {
	name, err := clusterName(c.Spec)
	if err != nil {
		return cluster.Endpoint{}, err
	}
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return cluster.Endpoint{}, err
	}
	if workers := nodes.withRole(roleWorker); len(workers) > 0 {
		nodes = workers
	}
	servers, err := serversOf(nodes, name, int(svc.NodePort))
	if err != nil {
		return cluster.Endpoint{}, err
	}
	endpoint, err := d.startBalancer(ctx, c.Spec, name+"-balancer", name, svc.HealthPath, servers,
		"--label", fmt.Sprintf("%s=%d", labelNodePort, svc.NodePort))
	if err != nil {
		return cluster.Endpoint{}, fmt.Errorf("expose service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	return endpoint, nil
}

// StartTwin implements cluster.TwinHost.
func (d *Driver) StartTwin(ctx context.Context, c *cluster.Cluster, w cluster.Workload) (cluster.Endpoint, error) {
	name, err := clusterName(c.Spec)
	if err != nil {
		return cluster.Endpoint{}, err
	}
	if w.Replicas < 1 {
		return cluster.Endpoint{}, fmt.Errorf("start the twin: %d replicas: want at least 1", w.Replicas)
	}
	var twins []docker.Container
	for i := range w.Replicas {
		twin := fmt.Sprintf("%s-twin-%d", name, i+1)
		container, found, err := d.docker.Container(ctx, twin)
		if err != nil {
			return cluster.Endpoint{}, fmt.Errorf("start the twin: %w", err)
		}
		if found && container.State == running {
			// An earlier process of the same run has started it.
			twins = append(twins, container)
			continue
		}
		run := append([]string{"--name", twin, "--hostname", twin}, runLabels(c.Spec, roleTwin)...)
		run = append(run, "--network", name,
			"--env", canary.EnvPod+"="+twin, "--env", canary.EnvNode+"=outside", w.Image)
		if _, err := d.docker.RunDetached(ctx, append(run, w.Args...)...); err != nil {
			return cluster.Endpoint{}, fmt.Errorf("start the twin: %w", err)
		}
		if container, found, err = d.docker.Container(ctx, twin); err != nil {
			return cluster.Endpoint{}, fmt.Errorf("start the twin: %w", err)
		}
		if !found {
			return cluster.Endpoint{}, fmt.Errorf("start the twin: container %s is gone", twin)
		}
		twins = append(twins, container)
	}
	servers, err := serversOf(twins, name, int(w.Port))
	if err != nil {
		return cluster.Endpoint{}, fmt.Errorf("start the twin: %w", err)
	}
	endpoint, err := d.startBalancer(ctx, c.Spec, name+"-twin-balancer", name, canary.PathReady, servers)
	if err != nil {
		return cluster.Endpoint{}, fmt.Errorf("start the twin: %w", err)
	}
	return endpoint, nil
}

// serversOf are the containers' addresses in the network. Addresses rather
// than names, because haproxy resolves a name only when it starts, and none of
// these addresses changes while its container runs.
func serversOf(containers []docker.Container, network string, port int) ([]server, error) {
	var out []server
	for _, c := range containers {
		address := c.Addresses[network]
		if address == "" {
			return nil, fmt.Errorf("container %s (%s) has no address in network %s", c.Name, c.State, network)
		}
		out = append(out, server{Name: strings.TrimPrefix(c.Name, network+"-"), Address: fmt.Sprintf("%s:%d", address, port)})
	}
	return out, nil
}
