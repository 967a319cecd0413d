package kops

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
)

// bed is a driver whose kops is the script in testdata.
type bed struct {
	t    *testing.T
	dir  string
	d    *Driver
	spec cluster.Spec
	c    *cluster.Cluster
	log  bytes.Buffer
}

const ours = `{"metadata":{"name":"t.example.com","creationTimestamp":"2026-11-21T15:58:23Z"},"spec":{"cloudLabels":{"io.rehearse.run":"ab12cd"},"kubernetesVersion":"1.34.4"}}`

func newBed(t *testing.T, change func(*Options), nodes ...runtime.Object) *bed {
	t.Helper()
	script, err := filepath.Abs("testdata/kops")
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, dir: t.TempDir(), spec: cluster.Spec{RunID: "ab12cd", Name: "rehearse-x", Version: "v1.34.4", ControlPlanes: 3, Workers: 3, Network: "default"}}
	t.Setenv("FAKE", b.dir)
	b.c = &cluster.Cluster{Spec: b.spec, Client: fake.NewClientset(nodes...)}
	o := Options{
		Path: script, StateStore: "s3://kops-state", Name: "t.example.com", Zones: []string{"us-east-1a", "us-east-1b", "us-east-1c"}, CanaryImage: "registry.example/canary:1",
		Connect: func(_ cluster.Spec, kubeconfig []byte) (*cluster.Cluster, error) {
			if string(kubeconfig) != "fake\n" {
				return nil, errors.New("not the kubeconfig that kops exported: " + string(kubeconfig))
			}
			return b.c, nil
		},
	}
	if change != nil {
		change(&o)
	}
	b.d = New(o)
	b.put("version.stdout", "1.35.0\n")
	b.put("get-clusters.stdout", ours)
	t.Cleanup(func() { _ = b.d.forget() })
	return b
}

func (b *bed) put(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// golden lets kops answer what the real one printed; see output/testdata.
func (b *bed) golden(key, name, rc string) {
	b.t.Helper()
	for _, stream := range []string{".stdout", ".stderr"} {
		text, err := os.ReadFile(filepath.Join("output", "testdata", name+stream))
		if err != nil {
			b.t.Fatal(err)
		}
		b.put(key+stream, string(text))
	}
	b.put(key+".rc", rc)
}

func (b *bed) ctx() context.Context {
	return cluster.WithLog(b.t.Context(), slog.New(slog.DiscardHandler), &b.log)
}

// calls are the command lines, without the state store that all have.
func (b *bed) calls() []string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, "calls"))
	if err != nil {
		b.t.Fatal(err)
	}
	s := strings.ReplaceAll(string(text), " --name t.example.com --state s3://kops-state", "")
	if b.d.dir != "" {
		s = strings.ReplaceAll(s, b.d.dir, "DIR")
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

func node(name, version string, controlPlane bool) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	if controlPlane {
		n.Labels[cloud.LabelControlPlane] = ""
	}
	n.Status.NodeInfo.KubeletVersion = version
	return n
}

var options = cluster.RollOptions{
	ControlPlaneInterval: 10 * time.Minute, DrainTimeout: 15 * time.Minute, PostDrainDelay: 5 * time.Second, ValidationTimeout: 15 * time.Minute, Validations: 2,
}

const rollFlags = " --control-plane-interval=10m0s --node-interval=0s --drain-timeout=15m0s --post-drain-delay=5s --validation-timeout=15m0s --validate-count=2 --fail-on-drain-error=true --yes"
