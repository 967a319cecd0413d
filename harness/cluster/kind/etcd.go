package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// etcdPKI is where kubeadm keeps etcd's certificates.
const etcdPKI = "/etc/kubernetes/pki/etcd/"

// etcdMember is one member as etcd's JSON gateway renders it (etcdserverpb.Member).
type etcdMember struct {
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	IsLearner  bool     `json:"isLearner"`
}

// EtcdMembers implements cluster.EtcdProber. It asks the etcd of the first
// control plane that answers for the members, and each member for its health,
// with curl on the node: etcd's client is not in every node image.
func (d *Driver) EtcdMembers(ctx context.Context, c *cluster.Cluster) ([]record.Named, error) {
	name, err := clusterName(c.Spec)
	if err != nil {
		return nil, err
	}
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, n := range nodes.withRole(roleControlPlane) {
		out, err := d.curlEtcd(ctx, n.Name, "https://127.0.0.1:2379/v3/cluster/member/list", "--data", "{}")
		if err != nil {
			errs = append(errs, fmt.Errorf("etcd on node %s: %w", n.Name, err))
			continue
		}
		var answer struct {
			Members []etcdMember `json:"members"`
		}
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			errs = append(errs, fmt.Errorf("etcd on node %s: decode the member list %q: %w", n.Name, out, err))
			continue
		}
		members := make([]record.Named, 0, len(answer.Members))
		for _, m := range answer.Members {
			members = append(members, d.etcdHealth(ctx, n.Name, m))
		}
		// Without this an interrupt would look like unhealthy members.
		return members, context.Cause(ctx)
	}
	return nil, fmt.Errorf("ask etcd for its members: %w", errors.Join(errs...))
}

// etcdHealth asks one member. That it does not answer is data.
func (d *Driver) etcdHealth(ctx context.Context, from string, m etcdMember) record.Named {
	member := record.Named{Name: m.Name}
	switch {
	case m.Name == "" || len(m.ClientURLs) == 0:
		member.Name = strings.Join(m.PeerURLs, ",")
		member.Detail = "added, but never started"
		return member
	case m.IsLearner:
		member.Detail = "still a learner, it has no vote"
		return member
	}
	out, err := d.curlEtcd(ctx, from, m.ClientURLs[0]+"/health")
	if err != nil {
		member.Detail = err.Error()
		return member
	}
	var health struct{ Health, Reason string }
	if err := json.Unmarshal([]byte(out), &health); err != nil {
		member.Detail = fmt.Sprintf("answers %q", out)
		return member
	}
	member.OK, member.Detail = health.Health == "true", health.Reason
	return member
}

func (d *Driver) curlEtcd(ctx context.Context, node, url string, args ...string) (string, error) {
	curl := []string{"curl", "--silent", "--show-error", "--max-time", "5",
		"--cacert", etcdPKI + "ca.crt", "--cert", etcdPKI + "healthcheck-client.crt", "--key", etcdPKI + "healthcheck-client.key"}
	return d.query(ctx, node, append(append(curl, args...), url)...)
}
