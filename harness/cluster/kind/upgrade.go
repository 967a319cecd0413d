package kind

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

// Retries of kubeadm: every one of its upgrade commands may be run again.
const (
	kubeadmAttempts = 6
	kubeadmPause    = 5 * time.Second
)

// componentsTimeout bounds the wait for the control plane's pods to be seen at
// the new version, after kubeadm itself has waited for them.
const componentsTimeout = 3 * time.Minute

// ignorePreflight is what kubeadm would refuse a container for: it looks at the
// host's kernel and cgroups as if it owned them, and from 1.35 on refuses cgroup
// v1 even where the kubelet was told to accept it. kind skips all of kubeadm's
// preflight when it creates a node; everything but this stays on here.
const ignorePreflight = "--ignore-preflight-errors=SystemVerification"

// UpgradeControlPlane implements cluster.ControlPlaneUpgrader.
func (d *Driver) UpgradeControlPlane(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version, first bool) error {
	n, err := d.node(ctx, c, node)
	if err != nil {
		return err
	}
	if role := n.Labels[labelKindRole]; role != roleControlPlane {
		return fmt.Errorf("node %s is a %s, it has no control plane to upgrade", node, role)
	}
	if err := d.replace(ctx, node, to, "kubeadm"); err != nil {
		return err
	}
	args := []string{"kubeadm", "upgrade", "node", ignorePreflight}
	if first {
		args = []string{"kubeadm", "upgrade", "apply", to.String(), "--yes", ignorePreflight}
	}
	return d.withoutTraffic(ctx, c, node, func() error {
		if err := d.kubeadm(ctx, node, args...); err != nil {
			return err
		}
		return waitComponents(ctx, c, node, to, componentsTimeout)
	})
}

// UpgradeNode implements cluster.NodeUpgrader.
func (d *Driver) UpgradeNode(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version) error {
	n, err := d.node(ctx, c, node)
	if err != nil {
		return err
	}
	if n.Labels[labelKindRole] == roleControlPlane {
		return d.withoutTraffic(ctx, c, node, func() error {
			if err := d.replaceKubelet(ctx, node, to); err != nil || c.Spec.ControlPlanes < 2 {
				return err
			}
			return d.settleAPIServer(ctx, c, node, to)
		})
	}
	if err := d.replace(ctx, node, to, "kubeadm"); err != nil {
		return err
	}
	if err := d.kubeadm(ctx, node, "kubeadm", "upgrade", "node", ignorePreflight); err != nil {
		return err
	}
	return d.replaceKubelet(ctx, node, to)
}

// RollbackNode implements cluster.NodeRollbacker. kubeadm has no part in it: it
// lowers no version, and the node's configuration is the cluster's.
func (d *Driver) RollbackNode(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version) error {
	n, err := d.node(ctx, c, node)
	if err != nil {
		return err
	}
	if n.Labels[labelKindRole] != roleWorker {
		return fmt.Errorf("node %s is a control plane: Kubernetes supports no way back for it", node)
	}
	if err := d.replace(ctx, node, to, "kubeadm"); err != nil {
		return err
	}
	return d.replaceKubelet(ctx, node, to)
}

func (d *Driver) replaceKubelet(ctx context.Context, node string, to cluster.Version) error {
	if err := d.replace(ctx, node, to, "kubelet", "kubectl"); err != nil {
		return err
	}
	for _, args := range [][]string{{"systemctl", "daemon-reload"}, {"systemctl", "restart", "kubelet"}} {
		if _, err := d.on(ctx, node, args...); err != nil {
			return fmt.Errorf("restart the kubelet of node %s: %w", node, err)
		}
	}
	return nil
}

// replace puts staged commands in their place. A link made anew leaves the
// file that a running kubelet was started from as it is.
func (d *Driver) replace(ctx context.Context, node string, to cluster.Version, commands ...string) error {
	for _, name := range commands {
		staged := stageDir(to) + "/" + name
		if _, err := d.on(ctx, node, "test", "-x", staged); err != nil {
			if context.Cause(ctx) != nil {
				return err
			}
			return fmt.Errorf("node %s has no staged %s %s: stage the version before the upgrade: %w", node, name, to, err)
		}
		if _, err := d.on(ctx, node, "ln", "--force", staged, commandDir+"/"+name); err != nil {
			return fmt.Errorf("replace %s on node %s: %w", name, node, err)
		}
	}
	return nil
}

// kubeadm runs a kubeadm command, and again when it failed for a reason that
// passes: while an API server is replaced requests are refused or reset, and
// for a moment after it is back even forbidden.
func (d *Driver) kubeadm(ctx context.Context, node string, args ...string) error {
	_, err := d.kubeadmOutput(ctx, node, nil, args...)
	return err
}

// kubeadmOutput is kubeadm that returns what the command printed. A command
// that cannot simply be run again has one that is run in between, undo.
func (d *Driver) kubeadmOutput(ctx context.Context, node string, undo []string, args ...string) (string, error) {
	for attempt := 1; ; attempt++ {
		out, err := d.on(ctx, node, args...)
		if err == nil {
			return out, nil
		}
		reason, passes := passing(err.Error())
		if ctx.Err() != nil || !passes || attempt == kubeadmAttempts {
			return "", fmt.Errorf("node %s, attempt %d of %d: %w", node, attempt, kubeadmAttempts, err)
		}
		fmt.Fprintf(cluster.Output(ctx), "retry %d of %d in %s: %q passes\n", attempt, kubeadmAttempts-1, kubeadmPause, reason)
		cluster.Logger(ctx).Warn("kubeadm failed for a reason that passes; trying again",
			"node", node, "command", command.Quote(args), "attempt", attempt, "reason", reason)
		if err := pause.For(ctx, kubeadmPause); err != nil {
			return "", err
		}
		if len(undo) > 0 {
			if _, err := d.on(ctx, node, undo...); err != nil {
				return "", fmt.Errorf("node %s, before attempt %d of %d: %w", node, attempt+1, kubeadmAttempts, err)
			}
		}
	}
}

// passingReasons are, in lower case, what clients of an API server see while
// it, or its etcd, restarts.
var passingReasons = []string{
	"forbidden", "connection refused", "connection reset", "unexpected eof", ": eof", "broken pipe", "i/o timeout",
	"tls handshake timeout", "http2: client connection lost", "server has received too many requests",
	"unable to handle the request", "service unavailable", "etcdserver: leader changed", "etcdserver: request timed out",
	"etcdserver: no leader",
	// kubeadm's own check that pods start gives up after 15 s, which a machine
	// that is busy with its load can exceed.
	"did not complete in 15s",
}

// klogRemark is the beginning of a line that klog wrote as information or as
// a warning. Clients of etcd warn of refused connections in every upgrade that
// goes well.
var klogRemark = regexp.MustCompile(`^\s*[IW]\d{4} `)

func passing(message string) (reason string, ok bool) {
	for line := range strings.Lines(message) {
		if klogRemark.MatchString(line) {
			continue
		}
		line = strings.ToLower(line)
		for _, r := range passingReasons {
			if strings.Contains(line, r) {
				return r, true
			}
		}
	}
	return "", false
}

// controlPlaneComponents carry Kubernetes' own version as their image's tag.
var controlPlaneComponents = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// waitComponents waits until the API shows the node's components Ready at the
// version.
func waitComponents(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version, timeout time.Duration) error {
	last := "nothing was seen"
	err := wait.For(func(ctx context.Context) (bool, error) {
		for _, component := range controlPlaneComponents {
			pod, err := c.Client.CoreV1().Pods(metav1.NamespaceSystem).Get(ctx, component+"-"+node, metav1.GetOptions{})
			if err != nil {
				last = err.Error()
				return false, nil
			}
			if problem := componentProblem(pod, to); problem != "" {
				last = fmt.Sprintf("pod %s: %s", pod.Name, problem)
				return false, nil
			}
		}
		return true, nil
	}, wait.WithContext(ctx), wait.WithTimeout(timeout), wait.WithInterval(time.Second), wait.WithImmediate())
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fmt.Errorf("the control plane of node %s was not Ready at %s after %s: %s", node, to, timeout, last)
}

func componentProblem(pod *corev1.Pod, to cluster.Version) string {
	for _, container := range pod.Spec.Containers {
		if !strings.HasSuffix(container.Image, ":"+to.String()) {
			return "runs " + container.Image
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return ""
		}
	}
	return "is not Ready"
}
