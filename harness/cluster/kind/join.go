package kind

import (
	"bytes"
	"context"
	"fmt"
	"regexp"

	"sigs.k8s.io/yaml"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
)

// joinDir and joinFile are where kind keeps a node's configuration for kubeadm.
const (
	joinDir  = "/kind"
	joinFile = "kubeadm.conf"
)

// tokenTTL is how long a token for one join lives.
const tokenTTL = "15m"

// invitation is what a new node needs to join a cluster.
type invitation struct{ endpoint, token, caHash string }

// joinCommand is what kubeadm prints for a person to run on the new node.
var joinCommand = regexp.MustCompile(`kubeadm join (\S+) --token (\S+) --discovery-token-ca-cert-hash (\S+)`)

// join makes the node a worker of the cluster with kubeadm.
func (d *Driver) join(ctx context.Context, name, plane, node, address string, v cluster.Version) error {
	out, err := d.kubeadmOutput(ctx, plane, nil, "kubeadm", "token", "create", "--ttl", tokenTTL, "--print-join-command")
	if err != nil {
		return fmt.Errorf("make a token to join with: %w", err)
	}
	m := joinCommand.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("make a token to join with: kubeadm on node %s printed no join command but: %s", plane, tail(out, outputKept))
	}
	config, err := joinConfig(name, node, address, v, invitation{m[1], m[2], m[3]})
	if err != nil {
		return err
	}
	archive, err := docker.OneFile(joinFile, 0o600, config)
	if err != nil {
		return err
	}
	if err := d.docker.Pipe(ctx, archive, nil, "cp", "-", node+":"+joinDir); err != nil {
		return fmt.Errorf("give kubeadm its configuration: %w", err)
	}
	// kubeadm does not join a second time over what the first has left.
	reset := []string{"kubeadm", "reset", "--force"}
	if _, err := d.kubeadmOutput(ctx, node, reset, "kubeadm", "join", "--config", joinDir+"/"+joinFile, ignorePreflight); err != nil {
		return fmt.Errorf("join the cluster: %w", err)
	}
	return nil
}

// listArguments is the first minor version whose kubeadm reads v1beta4, in
// which arguments are a list.
const listArguments = 31

// joinConfig is the JoinConfiguration that kind gives to a worker, save for the
// token and the certificate's hash, which kind does without
// (pkg/cluster/internal/kubeadm/config.go in kind v0.31).
func joinConfig(name, node, address string, v cluster.Version, in invitation) ([]byte, error) {
	arguments := [][2]string{{"node-ip", address}, {"node-labels", ""}, {"provider-id", "kind://docker/" + name + "/" + node}}
	api := "kubeadm.k8s.io/v1beta3"
	var extra any
	if v.Minor() >= listArguments {
		api = "kubeadm.k8s.io/v1beta4"
		var list []map[string]string
		for _, a := range arguments {
			list = append(list, map[string]string{"name": a[0], "value": a[1]})
		}
		extra = list
	} else {
		table := map[string]string{}
		for _, a := range arguments {
			table[a[0]] = a[1]
		}
		extra = table
	}
	out, err := yaml.Marshal(map[string]any{
		"apiVersion": api, "kind": "JoinConfiguration",
		"nodeRegistration": map[string]any{
			"name": node, "criSocket": "unix:///run/containerd/containerd.sock", "kubeletExtraArgs": extra,
		},
		"discovery": map[string]any{"bootstrapToken": map[string]any{
			"apiServerEndpoint": in.endpoint, "token": in.token, "caCertHashes": []string{in.caHash},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("render kubeadm's configuration: %w", err)
	}
	return bytes.TrimSpace(out), nil
}
