package kops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops/output"
)

// Create implements cluster.Driver: register, preview, apply, wait until kops
// says twice in a row that the cluster is healthy.
func (d *Driver) Create(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	name := d.name(s)
	if err := d.register(ctx, name, s); err != nil {
		return nil, fmt.Errorf("register cluster %s: %w", name, err)
	}
	for _, call := range []struct {
		what string
		args []string
	}{
		{"preview", d.updateArgs(name, false)},
		{"create", d.updateArgs(name, true)},
	} {
		if err := d.update(ctx, call.args); err != nil {
			return nil, fmt.Errorf("%s cluster %s: %w", call.what, name, err)
		}
	}
	c, err := d.attach(ctx, name, s)
	if err != nil {
		return nil, err
	}
	return c, d.validate(ctx, name)
}

func (d *Driver) update(ctx context.Context, args []string) error {
	return d.run(ctx, d.o.Timeouts.Update, call{args: args})
}

// register puts the cluster into the state store, where nothing costs money yet.
func (d *Driver) register(ctx context.Context, name string, s cluster.Spec) error {
	if d.o.Manifest == "" {
		return d.run(ctx, d.o.Timeouts.Query, call{args: d.createArgs(name, s)})
	}
	given, err := os.ReadFile(d.o.Manifest)
	if err != nil {
		return fmt.Errorf("cluster.kops.manifest: %w", err)
	}
	rendered, err := Render(given, Rendering{Name: name, StateStore: d.o.StateStore, RunID: s.RunID, Version: s.Version, Workers: s.Workers, ControlPlanes: s.ControlPlanes})
	if err != nil {
		return fmt.Errorf("cluster.kops.manifest: %s: %w", d.o.Manifest, err)
	}
	path, err := d.private("manifest.yaml")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, rendered.Manifest, 0o600); err != nil {
		return fmt.Errorf("write the rendered manifest: %w", err)
	}
	if err := d.run(ctx, d.o.Timeouts.Query, call{args: d.args(name, "create", "-f", path)}); err != nil {
		return err
	}
	if d.o.SSHPublicKey == "" {
		return nil
	}
	return d.run(ctx, d.o.Timeouts.Query, call{args: d.args(name, "create", "sshpublickey", "-i", d.o.SSHPublicKey)})
}

// validate waits for a healthy cluster and names what kept it from being so.
func (d *Driver) validate(ctx context.Context, name string) error {
	kubeconfig, err := d.private("kubeconfig")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	err = d.run(ctx, d.o.Timeouts.Validate+time.Minute, call{args: d.validateArgs(name, kubeconfig), stdout: &out})
	docs, parseErr := output.ParseValidations(&out)
	if err != nil {
		if len(docs) > 0 && !docs[len(docs)-1].Passed() {
			return fmt.Errorf("cluster %s did not become healthy: %s: %w", name, docs[len(docs)-1].BlockedBy(), err)
		}
		return fmt.Errorf("validate cluster %s: %w", name, err)
	}
	if parseErr != nil {
		return fmt.Errorf("validate cluster %s: %w", name, parseErr)
	}
	if last := docs[len(docs)-1]; !last.Passed() {
		return fmt.Errorf("validate cluster %s: kops ended with 0, and its last answer is: %s", name, last.BlockedBy())
	}
	return nil
}

// Attach implements cluster.Attacher. kops runs nothing inside nodes.
func (d *Driver) Attach(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	name := d.name(s)
	if _, err := d.own(ctx, name, s.RunID); err != nil {
		return nil, err
	}
	return d.attach(ctx, name, s)
}

func (d *Driver) attach(ctx context.Context, name string, s cluster.Spec) (*cluster.Cluster, error) {
	path, err := d.private("kubeconfig")
	if err != nil {
		return nil, err
	}
	if err := d.run(ctx, d.o.Timeouts.Query, call{args: d.exportArgs(name, path)}); err != nil {
		return nil, fmt.Errorf("export the kubeconfig of cluster %s: %w", name, err)
	}
	kubeconfig, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig that kops exported: %w", err)
	}
	return d.o.Connect(s, kubeconfig)
}

// registered is the part of a cluster in the state store that is used.
type registered struct {
	Metadata struct {
		Name              string    `json:"name"`
		CreationTimestamp time.Time `json:"creationTimestamp"`
	} `json:"metadata"`
	Spec struct {
		CloudLabels       map[string]string `json:"cloudLabels"`
		KubernetesVersion string            `json:"kubernetesVersion"`
	} `json:"spec"`
}

var errNotOurs = errors.New("not a cluster of this run")

// own reads the cluster and refuses one that does not carry the run's id.
func (d *Driver) own(ctx context.Context, name, runID string) (*registered, error) {
	var out bytes.Buffer
	if err := d.run(ctx, d.o.Timeouts.Query, call{args: d.args(name, "get", "clusters", "-o", "json"), stdout: &out}); err != nil {
		return nil, fmt.Errorf("look for cluster %s in %s: %w", name, d.o.StateStore, err)
	}
	all, err := parseClusters(out.Bytes())
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Metadata.Name != name {
			continue
		}
		if got := all[i].Spec.CloudLabels[cluster.LabelRun]; runID == "" || got != runID {
			return nil, fmt.Errorf("cluster %s in %s carries the run id %q, this run's is %q: %w, so it is left alone", name, d.o.StateStore, got, runID, errNotOurs)
		}
		return &all[i], nil
	}
	return nil, fmt.Errorf("cluster %s is not in %s: %w", name, d.o.StateStore, errNoCluster)
}

var errNoCluster = errors.New("no such cluster")

// parseClusters reads one object or a list: kops prints either.
func parseClusters(b []byte) ([]registered, error) {
	text := strings.TrimSpace(string(b))
	if text == "" {
		return nil, nil
	}
	if strings.HasPrefix(text, "{") {
		text = "[" + text + "]"
	}
	var all []registered
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("what kops get clusters printed: %w", err)
	}
	return all, nil
}
