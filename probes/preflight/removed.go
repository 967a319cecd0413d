package preflight

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// removedGates are the feature gates that are gone since a minor version: a
// component that is given one does not start. They are what the declarations in
// the features packages of kubernetes, apiserver, component-base, client-go,
// apiextensions-apiserver, controller-manager, kube-aggregator and
// cloud-provider of one minor have and of the next have not.
var removedGates = map[uint]string{
	30: "APISelfSubjectReview CSIMigrationAzureFile ExpandedDNSConfig ExperimentalHostUserNamespaceDefaulting IPTablesOwnershipCleanup KubeletPodResources KubeletPodResourcesGetAllocatable LegacyServiceAccountTokenTracking MinimizeIPTablesRestore ProxyTerminatingEndpoints RemoveSelfLink SecurityContextDeny",
	31: "APIPriorityAndFairness CSIMigrationRBD CSINodeExpandSecret ConsistentHTTPGetHandlers CustomResourceValidationExpressions DefaultHostNetworkHostPortsInPodTemplates InTreePluginAWSUnregister InTreePluginAzureDiskUnregister InTreePluginAzureFileUnregister InTreePluginGCEUnregister InTreePluginOpenStackUnregister InTreePluginRBDUnregister InTreePluginvSphereUnregister JobReadyPods ReadWriteOncePod ServiceNodePortStaticSubrange SkipReadOnlyValidationGCE",
	32: "CloudDualStackNodeIPs DRAControlPlaneController HPAContainerMetrics KMSv2 KMSv2KDF LegacyServiceAccountTokenCleanUp MinDomainsInPodTopologySpread NewVolumeManagerReconstruction NodeOutOfServiceVolumeDetach PodHostIPs ServerSideApply ServerSideFieldValidation StableLoadBalancerNodeSet ValidatingAdmissionPolicy ZeroLimitedNominalConcurrencyShares",
	33: "APIListChunking AdmissionWebhookMatchConditions AggregatedDiscoveryEndpoint AppArmor AppArmorFields CPUManager DisableCloudProviders DisableKubeletCloudCredentialProviders EfficientWatchResumption JobPodFailurePolicy KubeProxyDrainingTerminatingNodes PDBUnhealthyPodEvictionPolicy PersistentVolumeLastPhaseTransitionTime RemainingItemCount VolumeCapacityPriority WatchBookmark",
	34: "DevicePluginCDIDevices ElasticIndexedJob LegacySidecarContainers PodDisruptionConditions StatefulSetStartOrdinal",
	35: "AllowServiceLBStatusOnNonLB ComponentSLIs CronJobsScheduledAnnotation LoadBalancerIPMode PodIndexLabel ProbeHostPodSecurityStandards SizeMemoryBackedVolumes StatefulSetAutoDeletePVC StrictCostEnforcementForVAP StrictCostEnforcementForWebhooks UserNamespacesPodSecurityStandards",
	36: "CSIMigrationPortworx HonorPVReclaimPolicy InPlacePodVerticalScalingAllocatedStatus InTreePluginPortworxUnregister MemoryManager ServiceTrafficDistribution StructuredAuthorizationConfiguration TopologyAwareHints WatchFromStorageWithoutResourceVersion",
}

// removedFlags are the flags, by component, that are gone since a minor version;
// found as removedGates are.
var removedFlags = map[string]map[uint]string{
	"kubelet":        {31: "iptables-drop-bit iptables-masquerade-bit keep-terminated-pod-volumes", 34: "cloud-config register-schedulable", 35: "pod-infra-container-image"},
	"kube-apiserver": {33: "cloud-config cloud-provider"},
}

// gatesUpTo is the newest minor that removedGates knows.
const gatesUpTo = 36

// since returns the minor in which a name was taken out, where that is later
// than the minor from and not later than to.
func since(table map[uint]string, name string, from, to uint) (uint, bool) {
	for minor, names := range table {
		if minor > from && minor <= to && slices.Contains(strings.Fields(names), name) {
			return minor, true
		}
	}
	return 0, false
}

// removedSettings finds feature gates and flags that a component of the control
// plane or a kubelet is given and that the target no longer knows: it would not
// start.
func removedSettings(s *State) []record.Finding {
	from, to, ok := s.minors()
	if !ok {
		return nil
	}
	var out []record.Finding
	find := func(id, object, what, name string, minor uint, remedy string) {
		out = append(out, record.Finding{ID: id, Severity: record.SeverityBlock, Object: object,
			Cause: fmt.Sprintf("%s is given the %s, which Kubernetes v1.%d took out: at %s it does not start.", what, name, minor, s.Target), Remedy: remedy})
	}
	for _, c := range s.Components {
		object := "component/" + c.Name + "/" + c.Node
		what := c.Name + " on " + c.Node
		for _, g := range c.FeatureGates {
			if minor, gone := since(removedGates, g, from, to); gone {
				find("removed-feature-gate", object, what, "feature gate "+g, minor, "Take it out of the component's configuration (kubeadm: the ConfigMap kubeadm-config) before the upgrade.")
			}
		}
		for _, f := range c.Flags {
			if minor, gone := since(removedFlags[c.Name], f, from, to); gone {
				find("removed-flag", object, what, "flag --"+f, minor, "Take it out of the component's configuration (kubeadm: the ConfigMap kubeadm-config) before the upgrade.")
			}
		}
	}
	for _, k := range s.Kubelets {
		for _, g := range sortedKeys(k.FeatureGates) {
			if minor, gone := since(removedGates, g, from, to); gone {
				find("removed-feature-gate", "node/"+k.Node, "The kubelet of node "+k.Node, "feature gate "+g, minor, "Take it out of the kubelet's configuration (kubeadm: the ConfigMap kubelet-config) before the upgrade.")
			}
		}
	}
	if to > gatesUpTo && len(out) == 0 {
		return []record.Finding{{ID: "settings-not-judged", Severity: record.SeverityInfo, Object: "cluster",
			Cause:  fmt.Sprintf("The table of removed feature gates and flags ends at v1.%d; what v1.%d took out is not in it.", gatesUpTo, to),
			Remedy: "Read the release notes, or use a newer version of rehearse."}}
	}
	return out
}

// minors returns the minor versions of the API server and of the target.
func (s *State) minors() (from, to uint, ok bool) {
	a, err := version.ParseGeneric(s.Versions.Server)
	if err != nil {
		return 0, 0, false
	}
	b, err := version.ParseGeneric(s.Target)
	if err != nil {
		return 0, 0, false
	}
	return a.Minor(), b.Minor(), true
}
