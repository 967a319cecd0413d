package agentjob

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
)

const (
	name     = "load-agents"
	tokenKey = "token"
	portName = "agent"
	// nobody is the user that agents run as; their image has no /etc/passwd.
	nobody = 65532
	// finished is how long a Job that has ended stays to be looked at, where the
	// process that would delete it was killed.
	finished = 600
)

// Namespace is that of a run's agents. It is theirs alone, and goes with them.
func Namespace(runID string) string { return "rehearse-agents-" + runID }

func labels(c Config) map[string]string {
	return map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "rehearse", cluster.LabelRun: c.RunID}
}

const selector = "app.kubernetes.io/name=" + name

func namespace(c Config) *corev1.Namespace {
	l := labels(c)
	l["pod-security.kubernetes.io/enforce"] = "restricted"
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace(c.RunID), Labels: l}}
}

func secret(c Config, token string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace(c.RunID), Name: name, Labels: labels(c)},
		Immutable:  new(true), StringData: map[string]string{tokenKey: token},
	}
}

// job is one pod for each agent, each with an index of its own. None is started a
// second time: what an agent did not tell before it died cannot be made up for.
func job(c Config) *batchv1.Job {
	n := int32(c.Agents)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace(c.RunID), Name: name, Labels: labels(c)},
		Spec: batchv1.JobSpec{
			CompletionMode: new(batchv1.IndexedCompletion), Parallelism: &n, Completions: &n,
			BackoffLimit: new(int32(0)), TTLSecondsAfterFinished: new(int32(finished)),
			// A pod that was deleted is replaced only once it is gone: its index is
			// not there twice.
			PodReplacementPolicy: new(batchv1.Failed),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels(c), Annotations: map[string]string{"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
				Spec:       podSpec(c),
			},
		},
	}
}

func podSpec(c Config) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		TerminationGracePeriodSeconds: new(int64(2)),
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		// On different nodes as long as there are enough; a cluster with fewer will
		// do, and a finding says so.
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": name}},
		}},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(nobody)), RunAsGroup: new(int64(nobody)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "agent", Image: c.Image, ImagePullPolicy: corev1.PullIfNotPresent,
			Args: []string{"agent", "-port=" + strconv.Itoa(agent.DefaultPort)},
			Env: []corev1.EnvVar{
				{Name: agent.EnvName, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
				{Name: agent.EnvToken, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: tokenKey,
				}}},
			},
			Ports: []corev1.ContainerPort{{Name: portName, ContainerPort: agent.DefaultPort, Protocol: corev1.ProtocolTCP}},
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: agent.PathReady, Port: intstr.FromString(portName), Scheme: corev1.URISchemeHTTP}},
				PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 3,
			},
			Resources: corev1.ResourceRequirements{Requests: requests(c.Rate / float64(c.Agents))},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
}

// requests is what an agent needs for so many requests a second. A thousand cost
// some 45 ms of CPU (docs/benchmarks.md); twice that leaves room for the moment in
// which many come back at once, and as many wait with their buffers.
func requests(rate float64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(100+int64(rate*0.1), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity((64+int64(rate*0.05))<<20, resource.BinarySI),
	}
}
