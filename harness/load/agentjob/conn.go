package agentjob

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/load/fleet"
)

// conn reaches one pod through the API server. It implements fleet.Conn.
type conn struct {
	client    kubernetes.Interface
	http      *http.Client
	base      url.URL // of the pod's proxy
	token     string
	namespace string
	pod       string
	uid       types.UID
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// agents returns the pods as a fleet's, in their order.
func agents(c *Cluster, pods []corev1.Pod, token string) ([]fleet.Agent, error) {
	client, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		return nil, fmt.Errorf("reach the load agents: %w", err)
	}
	host, _, err := rest.DefaultServerUrlFor(c.Config)
	if err != nil {
		return nil, fmt.Errorf("reach the load agents: %w", err)
	}
	var out []fleet.Agent
	for i := range pods {
		p := &pods[i]
		out = append(out, fleet.Agent{Name: p.Name, Node: p.Spec.NodeName, Conn: &conn{
			client: c.Client, http: client, token: token, namespace: p.Namespace, pod: p.Name, uid: p.UID,
			base: *host.JoinPath("api", "v1", "namespaces", p.Namespace, "pods", p.Name+":"+strconv.Itoa(agent.DefaultPort), "proxy"),
		}})
	}
	return out, nil
}

// Do implements fleet.Conn.
func (c *conn) Do(ctx context.Context, method, path, query string, body []byte) ([]byte, error) {
	u := *c.base.JoinPath(path)
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set(agent.HeaderToken, c.token)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 != 2 {
		text := strings.TrimSpace(string(got[:min(len(got), 500)]))
		return nil, fmt.Errorf("%s %s: status %d: %s", method, path, resp.StatusCode, text)
	}
	if err != nil && len(got) == 0 {
		return nil, err
	}
	return got, nil // one that was cut short is used as far as it came
}

// Gone implements fleet.Conn.
func (c *conn) Gone(ctx context.Context) (string, error) {
	p, err := c.client.CoreV1().Pods(c.namespace).Get(ctx, c.pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "its pod was deleted", nil
	case err != nil:
		return "", err
	case p.UID != c.uid:
		return "its pod was replaced by another", nil
	}
	return over(p), nil
}
