// Package machine is what runs on the instances: it boots from the user data that
// kops wrote into the launch template, reads its configuration from the state
// store and checks its hash as nodeup does, joins the API server as a Node and
// runs pods in name only.
package machine

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"regexp"
	"strings"

	"k8s.io/kops/pkg/apis/nodeup"
	"sigs.k8s.io/yaml"
)

// boot is what a machine knows of itself once it has read its configuration.
type boot struct {
	cluster, group string
	role           string // control-plane or node
	version        string // of its kubelet, such as v1.34.4
}

func (b boot) controlPlane() bool { return b.role == "control-plane" }

var (
	packed = regexp.MustCompile(`echo "([A-Za-z0-9+/=]+)" \| base64 -d \| gzip -d > conf/kube_env\.yaml`)
	plain  = regexp.MustCompile(`(?s)cat > conf/kube_env\.yaml << '__EOF_KUBE_ENV'\n(.*?)\n__EOF_KUBE_ENV`)
)

// read follows the machine's user data to its configuration in the state store.
// Workers get theirs from kops-controller on the control plane, which reads the
// same object.
func read(userData, bucket string, object func(key string) ([]byte, error)) (boot, error) {
	script, err := base64.StdEncoding.DecodeString(userData)
	if err != nil {
		return boot{}, fmt.Errorf("user data: %w", err)
	}
	env, err := environment(script)
	if err != nil {
		return boot{}, fmt.Errorf("user data: %w", err)
	}
	var config nodeup.BootConfig
	if err := yaml.Unmarshal(env, &config); err != nil {
		return boot{}, fmt.Errorf("user data: kube_env.yaml: %w", err)
	}
	if config.ClusterName == "" || config.InstanceGroupName == "" || config.NodeupConfigHash == "" {
		return boot{}, fmt.Errorf("user data: kube_env.yaml lacks the cluster, the group or the hash: %s", env)
	}
	role := strings.ToLower(string(config.InstanceGroupRole))
	if role == "controlplane" || role == "master" {
		role = "control-plane"
	}
	key := strings.Join([]string{config.ClusterName, "igconfig", role, config.InstanceGroupName, "nodeupconfig.yaml"}, "/")
	text, err := object(key)
	if err != nil {
		return boot{}, err
	}
	if sum := sha256.Sum256(text); base64.StdEncoding.EncodeToString(sum[:]) != config.NodeupConfigHash {
		return boot{}, fmt.Errorf("s3://%s/%s has not the hash that the user data wants: nodeup ends here", bucket, key)
	}
	var up nodeup.Config
	if err := yaml.Unmarshal(text, &up); err != nil {
		return boot{}, fmt.Errorf("%s: %w", key, err)
	}
	return boot{cluster: config.ClusterName, group: config.InstanceGroupName, role: role, version: "v" + strings.TrimPrefix(up.KubernetesVersion, "v")}, nil
}

func environment(script []byte) ([]byte, error) {
	if m := plain.FindSubmatch(script); m != nil {
		return m[1], nil
	}
	m := packed.FindSubmatch(script)
	if m == nil {
		return nil, fmt.Errorf("no kube_env.yaml in %d bytes", len(script))
	}
	b, err := base64.StdEncoding.DecodeString(string(m[1]))
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
