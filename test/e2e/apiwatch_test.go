//go:build e2e

package e2e

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"net/http"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
)

// askEvery is how often apiWatch asks each address.
const askEvery = 250 * time.Millisecond

// apiWatch asks a cluster's API, by its common address and each API server by
// its own, for as long as it is there. It is the test's own witness.
type apiWatch struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	asked   map[string]int // by address: "api" or a node's name
	refused map[string]int
	worst   int // most API servers that refused connections in one round
}

// watchAPI waits for a cluster with that prefix of its name and begins then.
func watchAPI(t *testing.T, prefix string) *apiWatch {
	ctx, cancel := context.WithCancel(t.Context())
	w := &apiWatch{cancel: cancel, done: make(chan struct{}), asked: map[string]int{}, refused: map[string]int{}}
	go func() {
		defer close(w.done)
		w.run(ctx, t, prefix)
	}()
	t.Cleanup(func() { cancel(); <-w.done })
	return w
}

func (w *apiWatch) run(ctx context.Context, t *testing.T, prefix string) {
	clients := map[string]*http.Client{}
	urls := map[string]string{}
	for len(clients) == 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		name, config := whole(ctx, prefix)
		if config == nil {
			continue
		}
		for address, url := range addresses(ctx, name, config.Host) {
			own := rest.CopyConfig(config)
			own.Timeout = 2 * time.Second
			client, err := rest.HTTPClientFor(own)
			if err != nil {
				t.Errorf("watch the API: %v", err)
				return
			}
			clients[address], urls[address] = client, url+"/readyz"
		}
	}
	t.Logf("watching the API: %v", urls)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.round(ctx, clients, urls)
	}
}

// whole finds the cluster once every one of its nodes answers for itself.
func whole(ctx context.Context, prefix string) (string, *rest.Config) {
	out, err := exec.CommandContext(ctx, "docker", "ps", "--format", `{{.Label "io.x-k8s.kind.cluster"}}`, "--filter", "label=io.x-k8s.kind.role=control-plane").Output()
	if err != nil {
		return "", nil
	}
	names := strings.Fields(string(out))
	if len(names) != 3 || !strings.HasPrefix(names[0], prefix) {
		return "", nil
	}
	// The balancers stand before the canary: the cluster is whole.
	if out, err := exec.CommandContext(ctx, "docker", "ps", "--quiet", "--filter", "name="+names[0]+"-twin-balancer").Output(); err != nil || len(out) == 0 {
		return "", nil
	}
	kubeconfig, err := kindcluster.NewProvider(kindcluster.ProviderWithDocker()).KubeConfig(names[0], false)
	if err != nil {
		return "", nil
	}
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		return "", nil
	}
	return names[0], config
}

func addresses(ctx context.Context, name, common string) map[string]string {
	urls := map[string]string{"api": common}
	for _, node := range []string{name + "-control-plane", name + "-control-plane2", name + "-control-plane3"} {
		if out, err := exec.CommandContext(ctx, "docker", "port", node, "6443/tcp").Output(); err == nil {
			urls[node] = "https://" + strings.TrimSpace(string(out))
		}
	}
	return urls
}

func (w *apiWatch) round(ctx context.Context, clients map[string]*http.Client, urls map[string]string) {
	var all sync.WaitGroup
	down := 0
	for address, client := range clients {
		all.Go(func() {
			problem := askAPI(ctx, client, urls[address])
			if ctx.Err() != nil {
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked[address]++
			if problem {
				w.refused[address]++
				if address != "api" {
					down++
				}
			}
		})
	}
	all.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.worst = max(w.worst, down)
}

func askAPI(ctx context.Context, client *http.Client, url string) (problem bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return true
	}
	resp, err := client.Do(req)
	if err != nil {
		return true
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return true
	}
	return resp.StatusCode != http.StatusOK
}

// stop ends the watch: a cluster that is being deleted does not answer either.
func (w *apiWatch) stop() {
	w.cancel()
	<-w.done
}

// check ends the watch and compares what was seen.
func (w *apiWatch) check(t *testing.T, percent float64) {
	t.Helper()
	w.stop()
	t.Logf("asked %v, not answered %v, at most %d API servers at a time", w.asked, w.refused, w.worst)
	if len(w.asked) != 4 || w.asked["api"] < 500 {
		t.Fatalf("asked %v: want the common address and three API servers, and many times", w.asked)
	}
	if got := 100 * (1 - float64(w.refused["api"])/float64(w.asked["api"])); got < percent {
		t.Errorf("the API answered %.3f %% of %d requests, want %.1f %%", got, w.asked["api"], percent)
	}
	down := 0
	for address, n := range w.refused {
		if address != "api" && n > 0 {
			down++
		}
	}
	if down != 3 {
		t.Errorf("%d of 3 API servers were ever away: were they upgraded?", down)
	}
	if w.worst > 1 {
		t.Errorf("%d API servers were away at a time, want one at most", w.worst)
	}
}
