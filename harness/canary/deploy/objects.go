package deploy

import (
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/canary"
)

const portName = "http"

// nobody is the user that the canary runs as; its image has no /etc/passwd.
const nobody = 65532

// startMargin is added to the pod's grace period, for the time between the
// kubelet's clock and the canary's.
const startMargin = 5 * time.Second

// Args are the canary's arguments, for a pod and for its twin alike. It listens
// on canary.DefaultPort.
func (c Config) Args() []string {
	return []string{
		"-port=" + strconv.Itoa(canary.DefaultPort),
		"-body-bytes=" + strconv.Itoa(c.BodyBytes),
		"-latency=" + c.Latency.String(),
		"-shutdown-delay=" + c.ShutdownDelay.String(),
		"-grace-period=" + c.GracePeriod.String(),
	}
}

func labels(cfg Config) map[string]string {
	return map[string]string{"app.kubernetes.io/name": cfg.Name, "app.kubernetes.io/part-of": "rehearse"}
}

func selector(cfg Config) map[string]string {
	return map[string]string{"app.kubernetes.io/name": cfg.Name}
}

func meta(cfg Config) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: cfg.Namespace, Name: cfg.Name, Labels: labels(cfg)}
}

func service(cfg Config) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: meta(cfg),
		Spec: corev1.ServiceSpec{
			Type:                  corev1.ServiceTypeNodePort,
			ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyCluster,
			Selector:              selector(cfg),
			Ports: []corev1.ServicePort{{
				Name: portName, Port: 80, TargetPort: intstr.FromString(portName), NodePort: cfg.NodePort, Protocol: corev1.ProtocolTCP,
			}},
		},
	}
}

func budget(cfg Config) *policyv1.PodDisruptionBudget {
	limit := func(n *int) *intstr.IntOrString {
		if n == nil {
			return nil
		}
		v := intstr.FromInt32(int32(*n))
		return &v
	}
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: meta(cfg),
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector:       &metav1.LabelSelector{MatchLabels: selector(cfg)},
			MaxUnavailable: limit(cfg.Budget.MaxUnavailable),
			MinAvailable:   limit(cfg.Budget.MinAvailable),
		},
	}
}

func deployment(cfg Config) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: meta(cfg),
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(cfg.Replicas)),
			Selector: &metav1.LabelSelector{MatchLabels: selector(cfg)},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels(cfg)},
				Spec:       podSpec(cfg),
			},
		},
	}
}

func podSpec(cfg Config) corev1.PodSpec {
	grace := cfg.ShutdownDelay + cfg.GracePeriod + startMargin
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: new(int64((grace + time.Second - 1) / time.Second)),
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		TopologySpreadConstraints:     []corev1.TopologySpreadConstraint{spread(cfg)},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(nobody)), RunAsGroup: new(int64(nobody)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name:            "canary",
			Image:           cfg.Image,
			ImagePullPolicy: corev1.PullIfNotPresent,
			Args:            cfg.Args(),
			Env:             []corev1.EnvVar{fromField(canary.EnvPod, "metadata.name"), fromField(canary.EnvNode, "spec.nodeName")},
			Ports:           []corev1.ContainerPort{{Name: portName, ContainerPort: canary.DefaultPort, Protocol: corev1.ProtocolTCP}},
			// Readiness is what brings a new pod into service, so it looks often.
			// It need not be quick to take one out: a pod that is deleted leaves
			// the Service at once. Both probes are patient, since a machine that is
			// busy with the upgrade must not look like a canary that is broken.
			ReadinessProbe: probe(canary.PathReady, 1, 5, 3),
			LivenessProbe:  probe(canary.PathHealth, 10, 5, 6),
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
			}},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
}

// spread keeps the replicas on different nodes as long as there are enough. A
// cordoned node does not count as empty, or the pods of a drained node would
// find no place.
func spread(cfg Config) corev1.TopologySpreadConstraint {
	return corev1.TopologySpreadConstraint{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
		NodeTaintsPolicy: new(corev1.NodeInclusionPolicyHonor),
		LabelSelector:    &metav1.LabelSelector{MatchLabels: selector(cfg)},
	}
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func probe(path string, periodSeconds, timeoutSeconds, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString(portName), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds: periodSeconds, TimeoutSeconds: timeoutSeconds, FailureThreshold: failures, SuccessThreshold: 1,
	}
}

// Selector is the label selector that finds the canary's pods.
func Selector(name string) string {
	return metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: selector(Config{Name: name})})
}
