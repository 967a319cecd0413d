// Package cloud holds what drivers of clusters in a cloud share: clients from a
// kubeconfig, a Service of type LoadBalancer before the canary, the canary's
// twin on this machine, and the proof that every kubelet runs a version.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

// LabelControlPlane is on every node that is a control plane.
const LabelControlPlane = "node-role.kubernetes.io/control-plane"

// Connect returns a cluster with clients of the configuration. Nothing is asked.
func Connect(s cluster.Spec, config *rest.Config) (*cluster.Cluster, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of cluster %s: %w", s.Name, err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of cluster %s: %w", s.Name, err)
	}
	// One address stands before all API servers; single ones cannot be reached from
	// outside, so their availability is seen only together.
	return &cluster.Cluster{Spec: s, Client: client, Dynamic: dyn, Config: config, APIServers: []cluster.APIServer{{Name: "api", Config: config}}}, nil
}

// AssertKubelets checks the kubelets of one role: that there is one, and that
// is(its version) holds for each. An error names every node that does not. A
// role may have no nodes only where none is allowed, as with a managed control
// plane.
func AssertKubelets(ctx context.Context, client kubernetes.Interface, controlPlane bool, to cluster.Version, is func(string) bool) error {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("ask every node for its kubelet's version: %w", err)
	}
	var wrong []string
	n := 0
	for i := range list.Items {
		node := &list.Items[i]
		if _, cp := node.Labels[LabelControlPlane]; cp != controlPlane {
			continue
		}
		n++
		if v := node.Status.NodeInfo.KubeletVersion; !is(v) {
			wrong = append(wrong, fmt.Sprintf("%s runs %s", node.Name, v))
		}
	}
	role := "worker"
	if controlPlane {
		role = "control plane"
	}
	if n == 0 {
		return fmt.Errorf("the roll to %s ended without an error, and the cluster shows no %s: there is nothing that it can have upgraded", to, role)
	}
	if len(wrong) > 0 {
		sort.Strings(wrong)
		return fmt.Errorf("the roll to %s ended without an error, and %d of %d nodes (%s) have not that version: %s", to, len(wrong), n, role, strings.Join(wrong, ", "))
	}
	return nil
}

// Annotations are those of a Service that shall have a network balancer in AWS,
// which sends to nodes in every zone, with the caller's over them.
func Annotations(more map[string]string) map[string]string {
	all := map[string]string{
		"service.beta.kubernetes.io/aws-load-balancer-type":                              "nlb",
		"service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled": "true",
	}
	maps.Copy(all, more)
	return all
}

// Balancer is how a Service becomes reachable.
type Balancer struct {
	// Annotations of the Service, which the cloud's controller reads.
	Annotations map[string]string
	Timeout     time.Duration // until its address answers
	Every       time.Duration
	// Client asks whether it answers; nil is a plain client with a short timeout.
	Client *http.Client
}

// Expose turns the Service into one of type LoadBalancer and returns when its
// address answers its health path with 200. Deleting the Service, or the cluster
// through its API, deletes the balancer; deleting the machines does not.
func (b Balancer) Expose(ctx context.Context, c *cluster.Cluster, s cluster.Service) (cluster.Endpoint, error) {
	services := c.Client.CoreV1().Services(s.Namespace)
	svc, err := services.Get(ctx, s.Name, metav1.GetOptions{})
	if err != nil {
		return cluster.Endpoint{}, fmt.Errorf("service %s/%s: %w", s.Namespace, s.Name, err)
	}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	if svc.Annotations == nil {
		svc.Annotations = map[string]string{}
	}
	for k, v := range b.Annotations {
		svc.Annotations[k] = v
	}
	if _, err := services.Update(ctx, svc, metav1.UpdateOptions{}); err != nil {
		return cluster.Endpoint{}, fmt.Errorf("service %s/%s: ask for a balancer: %w", s.Namespace, s.Name, err)
	}
	client := b.Client
	if client == nil {
		client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	}
	state := "it has no address yet"
	ctx, cancel := context.WithTimeoutCause(ctx, b.Timeout, errNoBalancer)
	defer cancel()
	for {
		svc, err := services.Get(ctx, s.Name, metav1.GetOptions{})
		if err == nil {
			if url := address(svc); url != "" {
				if state = answers(ctx, client, url+s.HealthPath); state == "" {
					return cluster.Endpoint{URL: url}, nil
				}
				state = url + " does not answer yet: " + state
			}
		} else if ctx.Err() == nil {
			state = err.Error()
		}
		if err := pause.For(ctx, b.Every); err != nil {
			if errors.Is(err, errNoBalancer) {
				return cluster.Endpoint{}, fmt.Errorf("service %s/%s: its balancer is not ready after %s: %s; look at the Service's events (kubectl -n %s describe service %s)",
					s.Namespace, s.Name, b.Timeout, state, s.Namespace, s.Name)
			}
			return cluster.Endpoint{}, err
		}
	}
}

var errNoBalancer = errors.New("balancer not ready")

func address(svc *corev1.Service) string {
	if len(svc.Spec.Ports) == 0 {
		return ""
	}
	port := fmt.Sprint(svc.Spec.Ports[0].Port)
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if host := in.Hostname + in.IP; in.Hostname == "" || in.IP == "" {
			if host != "" {
				return "http://" + net.JoinHostPort(host, port)
			}
		}
	}
	return ""
}

// answers returns why a GET was not answered with 200; "" where it was.
func answers(ctx context.Context, c *http.Client, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err.Error()
	}
	resp, err := c.Do(req)
	if err != nil {
		return err.Error()
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "status " + resp.Status
	}
	return ""
}

// Remove deletes the canary's namespace, with the balancer that its Service
// has, from a cluster that stays. One that is gone already is no error.
func Remove(ctx context.Context, c *cluster.Cluster, namespace string) error {
	err := c.Client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete namespace %s: %w", namespace, err)
	}
	return nil
}
