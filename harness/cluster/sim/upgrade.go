package sim

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// How long kubeadm takes on a node, phase by phase, in the cluster's time. The
// sum is the three minutes that kubeadm took on a real cluster of this size.
const (
	applyPreflight = 30 * time.Second // checks, manifests, certificates
	applyBackup    = 10 * time.Second // between two components
	restartEtcd    = 3 * time.Second
	restartAPI     = 8 * time.Second
	restartOther   = 4 * time.Second
	applySettle    = 20 * time.Second // waits for each static pod's new hash
	applyAddons    = 15 * time.Second
	swapKubelet    = 8 * time.Second
)

// upgradeControlPlane is kubeadm upgrade apply (first) or node: the static pods
// of a node are replaced one after another, each down while it restarts. As with
// kind, the API's balancer does not send to the node meanwhile.
func (c *simulation) upgradeControlPlane(ctx context.Context, node string, to cluster.Version) error {
	apply := func() error { return c.applyKubeadm(ctx, node, to, newDice(c.opt.Seed, "kubeadm/"+node)) }
	c.mu.Lock()
	common := c.common
	c.mu.Unlock()
	if common == nil {
		return apply()
	}
	return common.Without(ctx, node, apply)
}

func (c *simulation) applyKubeadm(ctx context.Context, node string, to cluster.Version, d *dice) error {
	steps := func(mean time.Duration) error { return c.clock.sleep(ctx, d.spread(mean)) }
	if err := steps(applyPreflight); err != nil {
		return err
	}
	tags := images(to)
	for _, comp := range planeComponents {
		if err := steps(applyBackup); err != nil {
			return err
		}
		tag := tags[comp]
		if c.plane.tag(node, comp) == tag {
			continue
		}
		if c.opt.Faults.UpgradeChangesNothing {
			tag = c.plane.tag(node, comp)
		}
		down := restartOther
		switch comp {
		case compEtcd:
			down = restartEtcd
		case compAPIServer:
			down = restartAPI
		}
		if err := c.restartStatic(ctx, node, comp, tag, d.spread(down)); err != nil {
			return fmt.Errorf("restart %s: %w", comp, err)
		}
		if err := steps(applySettle); err != nil {
			return err
		}
	}
	for _, n := range c.plane.nodes {
		if c.plane.tag(n, compAPIServer) != to.String() {
			return nil // addons follow the last control plane
		}
	}
	if err := steps(applyAddons); err != nil {
		return err
	}
	return c.upgradeAddons(ctx, to)
}

// upgradeTogether is the planted fault of control planes that nobody takes one
// at a time. All draw the same chances, so that their restarts fall together.
func (c *simulation) upgradeTogether(ctx context.Context, to cluster.Version) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range c.plane.nodes {
		g.Go(func() error { return c.applyKubeadm(ctx, n, to, newDice(c.opt.Seed, "kubeadm/together")) })
	}
	return g.Wait()
}

// restartStatic replaces a static pod: its process goes, a new one of the tag
// comes after down.
func (c *simulation) restartStatic(ctx context.Context, node, comp, tag string, down time.Duration) error {
	name := comp + "-" + node
	if err := c.setComponent(node, comp, false, ""); err != nil {
		return err
	}
	interrupted := c.clock.sleep(ctx, down)
	// The rest is the kubelet's doing, which no interrupt of kubeadm ends.
	ctx = c.ctx
	if err := c.setComponent(node, comp, true, tag); err != nil {
		return err
	}
	if err := c.plane.awaitAPI(ctx); err != nil {
		return err
	}
	if _, err := c.store.Delete(resPods, "kube-system", name); ignoreGone(err) != nil {
		return err
	}
	if err := c.mirrorPod(node, comp, tag); err != nil {
		return err
	}
	if err := c.awaitPod(ctx, "kube-system", name); err != nil {
		return err
	}
	return interrupted
}

// awaitPod blocks until a pod is Ready.
func (c *simulation) awaitPod(ctx context.Context, ns, name string) error {
	w := c.store.Wake(resPods)
	defer w.Stop()
	for {
		if p, ok := get[*corev1.Pod](c.store, resPods, ns, name); ok && isReady(p) {
			return nil
		}
		select {
		case <-w.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for pod %s/%s: %w", ns, name, ctx.Err())
		}
	}
}

// upgradeAddons gives CoreDNS and kube-proxy the images of the version; their
// controllers roll them.
func (c *simulation) upgradeAddons(ctx context.Context, to cluster.Version) error {
	if err := c.plane.awaitAPI(ctx); err != nil {
		return err
	}
	tags := images(to)
	if err := update(c.store, resDeployments, "kube-system", "coredns", func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = image("coredns", tags["coredns"])
		d.Generation++
	}); err != nil {
		return err
	}
	if err := update(c.store, resDaemonSets, "kube-system", "kube-proxy", func(d *appsv1.DaemonSet) {
		d.Spec.Template.Spec.Containers[0].Image = image("kube-proxy", tags["kube-proxy"])
		d.Generation++
	}); err != nil {
		return err
	}
	return update(c.store, resConfigMaps, "kube-system", "kubeadm-config", func(m *corev1.ConfigMap) {
		m.Data = map[string]string{"ClusterConfiguration": clusterConfiguration(to)}
	})
}

// upgradeNode is kubeadm upgrade node and the swap of the kubelet: it stops,
// its binary is replaced, it starts.
func (c *simulation) upgradeNode(ctx context.Context, node string, to cluster.Version) error {
	k := c.kubelet(node)
	if k == nil {
		return errStale
	}
	d := newDice(c.opt.Seed, "swap/"+node)
	to = c.opt.Faults.kubeletVersion(node, to)
	k.set(false, "")
	err := c.clock.sleep(ctx, d.spread(swapKubelet))
	// A kubelet that a fault stops does not come back with its new binary either.
	k.set(!ask(c.opt.Faults.KubeletStopped, node), to)
	return err
}
