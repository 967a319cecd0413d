package sim

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// proxyLag is how long kube-proxy takes from an EndpointSlice's change to new
// rules: it syncs at most once a second (iptables minSyncPeriod).
const proxyLag = 700 * time.Millisecond

// kubeProxy is one node's kube-proxy: the rules that the node routes by. The
// rules outlive the process, as iptables' do; while its pod does not run they
// only grow old.
type kubeProxy struct {
	c    *simulation
	node string
	dice *dice

	mu    sync.Mutex
	rules map[string]rule // by "nodePort/30080" or "10.96.0.10:53"
}

type rule struct {
	service   string // namespace/name
	endpoints []endpoint
}

type endpoint struct {
	ip   string
	port int
}

func nodePortKey(port int32) string { return "nodePort/" + strconv.Itoa(int(port)) }

func (k *kubeProxy) run(ctx context.Context) {
	w := k.c.store.Wake(resEndpointSlices, resServices, resPods)
	defer w.Stop()
	for {
		if k.c.plane.awaitAPI(ctx) != nil {
			return
		}
		if k.alive() {
			rules := k.compute()
			k.mu.Lock()
			k.rules = rules
			k.mu.Unlock()
		}
		select {
		case <-w.C:
		case <-ctx.Done():
			return
		}
		if k.c.clock.sleep(ctx, k.dice.spread(proxyLag)) != nil {
			return
		}
	}
}

// alive tells whether kube-proxy's pod runs on this node.
func (k *kubeProxy) alive() bool {
	for _, p := range list[*corev1.Pod](k.c.store, resPods, "kube-system") {
		if p.Spec.NodeName == k.node && p.Labels["k8s-app"] == "kube-proxy" && isReady(p) && p.DeletionTimestamp == nil {
			return true
		}
	}
	return false
}

func (k *kubeProxy) compute() map[string]rule {
	slices := list[*discoveryv1.EndpointSlice](k.c.store, resEndpointSlices, "")
	rules := map[string]rule{}
	for _, s := range list[*corev1.Service](k.c.store, resServices, "") {
		for _, port := range s.Spec.Ports {
			var ready, draining, localReady, localDraining []endpoint
			for _, es := range slices {
				if es.Namespace != s.Namespace || es.Labels[discoveryv1.LabelServiceName] != s.Name {
					continue
				}
				target := 0
				for _, p := range es.Ports {
					if p.Name != nil && *p.Name == port.Name && p.Port != nil {
						target = int(*p.Port)
					}
				}
				if target == 0 {
					continue
				}
				for _, e := range es.Endpoints {
					if len(e.Addresses) == 0 {
						continue
					}
					ep := endpoint{e.Addresses[0], target}
					local := e.NodeName != nil && *e.NodeName == k.node
					isReady := e.Conditions.Ready == nil || *e.Conditions.Ready
					serving := e.Conditions.Serving == nil || *e.Conditions.Serving
					switch {
					case isReady:
						ready = append(ready, ep)
						if local {
							localReady = append(localReady, ep)
						}
					case serving:
						draining = append(draining, ep)
						if local {
							localDraining = append(localDraining, ep)
						}
					}
				}
			}
			name := s.Namespace + "/" + s.Name
			if s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone {
				rules[net.JoinHostPort(s.Spec.ClusterIP, strconv.Itoa(int(port.Port)))] = rule{name, fallback(ready, draining)}
			}
			if port.NodePort != 0 {
				r := rule{name, fallback(ready, draining)}
				if s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
					r.endpoints = fallback(localReady, localDraining)
				}
				rules[nodePortKey(port.NodePort)] = r
			}
		}
	}
	return rules
}

// fallback is kube-proxy's ProxyTerminatingEndpoints: endpoints that drain get
// traffic when no other is left.
func fallback(ready, draining []endpoint) []endpoint {
	if len(ready) > 0 {
		return ready
	}
	return draining
}

// lookup returns an endpoint of a rule at random, or false where the node
// rejects the connection.
func (k *kubeProxy) lookup(key string) (endpoint, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	eps := k.rules[key].endpoints
	if len(eps) == 0 {
		return endpoint{}, false
	}
	return eps[k.dice.pick(len(eps))], true
}

// dialNodePort connects to a node's port from outside the cluster, through this
// node's rules.
func (k *kubeProxy) dialNodePort(ctx context.Context, port int32) (net.Conn, error) {
	e, ok := k.lookup(nodePortKey(port))
	if !ok {
		return nil, fmt.Errorf("node %s port %d: %w", k.node, port, syscall.ECONNREFUSED)
	}
	return k.c.net.dial(ctx, k.node, e.ip, e.port)
}
