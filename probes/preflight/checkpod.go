package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
)

// CheckPod says how to look at the machines under the nodes: by a privileged pod
// on each, for some seconds, with the machine's root directory read-only.
type CheckPod struct {
	// Image needs a shell and chroot, such as busybox.
	Image     string
	Namespace string
	// Timeout of each pod.
	Timeout time.Duration
	// Logs reads what a pod wrote; nil reads it from the API.
	Logs func(ctx context.Context, namespace, pod string) ([]byte, error)
}

// checkPodLabel is on every check pod.
const checkPodLabel = "app.kubernetes.io/name=rehearse-check"

// hosts runs a check pod on every Linux node, a few at a time, and removes each
// again, also when ctx has ended.
func (o *observer) hosts() {
	c := o.src.CheckPod
	if c == nil {
		o.note(Hosts, "it takes a privileged pod on each node: ask for it with --check-pod")
		return
	}
	found := make([]Host, len(o.s.Nodes))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range o.s.Nodes {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			node := &o.s.Nodes[i]
			found[i] = Host{Node: node.Name, Problem: "it does not run Linux"}
			if os := node.Status.NodeInfo.OperatingSystem; os == "" || os == "linux" {
				found[i] = o.host(c, node.Name)
			}
		})
	}
	wg.Wait()
	if o.ctx.Err() != nil {
		o.err = fmt.Errorf("look at the machines under the nodes: %w", context.Cause(o.ctx))
	}
	o.s.Hosts = found
	for i := range o.s.Kubelets {
		for _, h := range found {
			if k := &o.s.Kubelets[i]; k.Node == h.Node && k.Cgroup == 0 {
				k.Cgroup = h.Cgroup
			}
		}
	}
}

// host looks at one machine. What fails is the host's Problem.
func (o *observer) host(c *CheckPod, node string) Host {
	pods := o.src.Client.CoreV1().Pods(c.Namespace)
	ctx, cancel := context.WithTimeoutCause(o.ctx, c.Timeout, fmt.Errorf("not done after %s", c.Timeout))
	defer cancel()
	p, err := pods.Create(ctx, checkPod(c, node), metav1.CreateOptions{})
	if err != nil {
		return Host{Node: node, Problem: "create the check pod: " + strings.TrimSuffix(err.Error(), ".")}
	}
	h := o.watchHost(ctx, c, p.Name, node)
	now := int64(0)
	clean, stop := context.WithTimeout(context.WithoutCancel(o.ctx), 30*time.Second)
	defer stop()
	if err := pods.Delete(clean, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !apierrors.IsNotFound(err) {
		h.Problem = strings.TrimPrefix(h.Problem+fmt.Sprintf("; its check pod could not be removed, do it by hand: kubectl -n %s delete pod %s: %v", c.Namespace, p.Name, err), "; ")
	}
	return h
}

func (o *observer) watchHost(ctx context.Context, c *CheckPod, pod, node string) Host {
	for {
		p, err := o.src.Client.CoreV1().Pods(c.Namespace).Get(ctx, pod, metav1.GetOptions{})
		switch {
		case err != nil:
			return Host{Node: node, Problem: fmt.Sprintf("watch the check pod: %v", errors.Join(err, context.Cause(ctx)))}
		case p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed:
			text, err := c.logs(ctx, o, pod)
			if err != nil {
				return Host{Node: node, Problem: "read what the check pod wrote: " + err.Error()}
			}
			return parseHost(node, string(text))
		}
		select {
		case <-ctx.Done():
			why := string(p.Status.Phase)
			for _, s := range p.Status.ContainerStatuses {
				if s.State.Waiting != nil {
					why = s.State.Waiting.Reason
				}
			}
			return Host{Node: node, Problem: fmt.Sprintf("the check pod is %s: %v", why, context.Cause(ctx))}
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (c *CheckPod) logs(ctx context.Context, o *observer, pod string) ([]byte, error) {
	if c.Logs != nil {
		return c.Logs(ctx, c.Namespace, pod)
	}
	return o.src.Client.CoreV1().Pods(c.Namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
}

// checkPod is the pod for one node. It is bound there directly, so that it runs
// on cordoned and tainted nodes too.
func checkPod(c *CheckPod, node string) *corev1.Pod {
	yes, no, zero := true, false, int64(0)
	name, value, _ := strings.Cut(checkPodLabel, "=")
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "rehearse-check-" + rand.String(5), Namespace: c.Namespace, Labels: map[string]string{name: value}},
		Spec: corev1.PodSpec{
			NodeName: node, HostPID: true, HostNetwork: true, RestartPolicy: corev1.RestartPolicyNever,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no, TerminationGracePeriodSeconds: &zero,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "check", Image: c.Image, Command: []string{"chroot", "/host", "/bin/sh", "-c", hostScript},
				SecurityContext: &corev1.SecurityContext{Privileged: &yes},
				VolumeMounts:    []corev1.VolumeMount{{Name: "root", MountPath: "/host", ReadOnly: true}},
			}},
			Volumes: []corev1.Volume{{Name: "root", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}},
		},
	}
}

// hostScript looks and writes nothing. Each line is key=value; what a machine
// does not have it leaves out. Of the kubelet's flags only the names are told.
const hostScript = `
for s in kubelet containerd crio docker; do
  systemctl cat $s >/dev/null 2>&1 && echo "service.$s=$(systemctl is-active $s 2>/dev/null)"
done
systemctl list-units --state=failed --no-legend --plain 2>/dev/null | while read u _; do echo "failed=$u"; done
t=$(timedatectl show -p NTPSynchronized --value 2>/dev/null) && echo "time=$t"
for k in net.ipv4.ip_forward vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops; do
  f=/proc/sys/$(echo $k | tr . /); [ -r $f ] && echo "kernel.$k=$(cat $f)"
done
[ -e /sys/fs/cgroup/cgroup.controllers ] && echo cgroup=2 || echo cgroup=1
h=$(curl -sS -m 3 http://127.0.0.1:10248/healthz 2>&1 || wget -qO- -T 3 http://127.0.0.1:10248/healthz 2>&1) && echo "kubelet=$h"
for p in /proc/[0-9]*; do
  [ "$(cat $p/comm 2>/dev/null)" = kubelet ] && tr '\0' '\n' <$p/cmdline | sed -n 's/^--\([a-z0-9-]*\).*/flag=\1/p'
done
echo done=yes
`

func parseHost(node, text string) Host {
	h := Host{Node: node, Services: map[string]string{}, Kernel: map[string]string{}}
	done := false
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		switch {
		case strings.HasPrefix(key, "service."):
			h.Services[strings.TrimPrefix(key, "service.")] = value
		case strings.HasPrefix(key, "kernel."):
			h.Kernel[strings.TrimPrefix(key, "kernel.")] = value
		case key == "failed":
			h.Failed = append(h.Failed, value)
		case key == "time":
			h.TimeSynchronised = value
		case key == "kubelet":
			h.KubeletHealth = value
		case key == "flag":
			h.KubeletFlags = append(h.KubeletFlags, value)
		case key == "cgroup" && (value == "1" || value == "2"):
			h.Cgroup = int(value[0] - '0')
		case key == "done":
			done = true
		}
	}
	slices.Sort(h.KubeletFlags)
	if !done {
		return Host{Node: node, Problem: "the check pod ended early: " + strings.TrimSpace(lastLine(text))}
	}
	return h
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
