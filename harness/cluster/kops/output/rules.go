package output

import (
	"regexp"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// rule is one form of line that a phase is told by.
type rule struct {
	phase   Phase
	pattern *regexp.Regexp
	apply   func(t *Tracker, m []string) []timeline.Event
}

func nothing(*Tracker, []string) []timeline.Event { return nil }

// rules are tried in order; the first that matches counts. The texts are those
// of pkg/instancegroups/instancegroups.go and rollingupdate.go, of
// awsup/aws_cloud.go, and of k8s.io/kubectl/pkg/drain.
var rules = []rule{
	{Validating, regexp.MustCompile(`^Validating the cluster\.$`), nothing},
	{Validating, regexp.MustCompile(`^Cluster validated; revalidating in (.*) to make sure it does not flap\.$`), (*Tracker).passed},
	{Validating, regexp.MustCompile(`^Cluster validated\.$`), (*Tracker).validated},
	{Validating, regexp.MustCompile(`^Cluster did not pass validation, will retry in "[^"]*": (.*)\.$`), (*Tracker).blocked},
	{Validating, regexp.MustCompile(`^Cluster did not pass validation within deadline: (.*)\.$`), (*Tracker).blocked},
	{Validating, regexp.MustCompile(`^Cluster did not validate, will retry in "[^"]*": (.*)\.$`), (*Tracker).blocked},
	{Validating, regexp.MustCompile(`^Cluster did not validate within deadline: (.*)\.$`), (*Tracker).blocked},
	{Failed, regexp.MustCompile(`^(Cluster did not validate within .*)$`), (*Tracker).failed},
	{Validating, regexp.MustCompile(`^(Not validating cluster as cloudonly flag is set\.|Not validating the cluster as instance is a bastion\.|skipping cluster validation because validate-count was 0|Cluster validation failed.*, proceeding since fail-on-validate is set to false: .*)$`), (*Tracker).unvalidated},

	{Taint, regexp.MustCompile(`^Tainting (\d+) nodes? in "([^"]+)" instancegroup\.$`), (*Tracker).taint},
	{Taint, regexp.MustCompile(`^Ignoring error tainting node "([^"]*)": .*$`), nothing},

	{Surge, regexp.MustCompile(`^Detaching instance "([^"]*)"(?:, node "([^"]*)")?, in group "([^"]*)"\.$`), (*Tracker).detach},
	{Surge, regexp.MustCompile(`^waiting for (\S+) after detaching instance$`), wait("detaching an instance")},
	{Surge, regexp.MustCompile(`^Failed to detach instance "([^"]*)": (.*)$`), (*Tracker).detachFailed},

	{Drain, regexp.MustCompile(`^Draining the node: "([^"]*)"\.$`), (*Tracker).drain},
	{Drain, regexp.MustCompile(`^evicting pod (\S+)/(\S+)$`), nothing},
	{Drain, regexp.MustCompile(`^error when evicting pods/"([^"]+)" -n "([^"]+)" \(will retry after [^)]*\): (.*)$`), (*Tracker).refused},
	{Drain, regexp.MustCompile(`^(?:error when evicting pods?/"[^"]+" -n "[^"]+": )?global timeout reached: (\S+)$`), nothing},
	{Drain, regexp.MustCompile(`^Waiting for (\S+) for pods to stabilize after draining\.$`), (*Tracker).drained},
	{Drain, regexp.MustCompile(`^Ignoring error draining node "([^"]*)": (.*)$`), (*Tracker).drainIgnored},
	{Drain, regexp.MustCompile(`^(Not draining cluster nodes as 'cloudonly' flag is set\.|Skipping drain of instance ".*", because it is not registered in kubernetes)$`), nothing},
	{Drain, regexp.MustCompile(`^(?:WARNING|Warning): (ignoring DaemonSet-managed Pods|deleting Pods).*$`), nothing},

	{Deregister, regexp.MustCompile(`^Deregistering instance from (?:targetGroup|classic loadBalancers): (.*)$`), deregister("draining")},
	{Deregister, regexp.MustCompile(`^Successfully drained instance from targetGroup: (.*)$`), deregister("gone")},
	{Deregister, regexp.MustCompile(`^skipping deregistration of instance "[^"]*", as part of instancegroup with role ".*"$`), nothing},

	{Terminate, regexp.MustCompile(`^Stopping instance "([^"]*)"(?:, node "([^"]*)")?, in group "([^"]*)" \(this may take a while\)\.$`), (*Tracker).stop},
	{Terminate, regexp.MustCompile(`^error deleting instance "([^"]*)", node "([^"]*)": (.*)$`), (*Tracker).stopFailed},
	{Terminate, regexp.MustCompile(`^(deleting node "[^"]*" from kubernetes|no kubernetes Node associated with .*, skipping node deletion|deleting warm pool instance "[^"]*")$`), nothing},
	{Interval, regexp.MustCompile(`^waiting for (\S+) after terminating instance$`), (*Tracker).stopped},

	{Prompt, regexp.MustCompile(`^(Pausing after finished .*|User signaled to stop|Always Yes, stop prompting for rest of hosts|Continue\? \(Y\)es.*)$`), nothing},

	{Failed, regexp.MustCompile(`^failed to roll InstanceGroup "([^"]*)": (.*)$`), (*Tracker).groupFailed},
	{Failed, regexp.MustCompile(`^error reconciling instance group "[^"]*": .*$`), (*Tracker).whole},
	{Failed, regexp.MustCompile(`^Error: (.*)$`), (*Tracker).final},
	{Plan, regexp.MustCompile(`^(No rolling-update required\.|Must specify --yes to rolling-update\.|Cloud Instance Group length is zero\. Not doing a rolling-update\.|Rolling updates for InstanceGroup .* are disabled)$`), nothing},
	{Done, regexp.MustCompile(`^(?:Completed rolling update for cluster "[^"]*" instance groups \[(.*)\]|Rolling update completed for cluster .*)$`), (*Tracker).done},
}

// ignored are the forms of line that are known to tell nothing of the roll, each
// with why.
var ignored = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`^\s*$`), "an empty line"},
	{regexp.MustCompile(`^FeatureFlag ".*"=(true|false)$`), "a feature flag of kops itself"},
	{regexp.MustCompile(`^ParseFlags: parsed \d+ flags from `), "feature flags of kops itself"},
	{regexp.MustCompile(`^state store \S+$`), "where the state is, which the scenario says"},
	{regexp.MustCompile(`^Found S3_ENDPOINT=`), "a state store that is not AWS's, which the environment says"},
	{regexp.MustCompile(`^Querying EC2 for all valid (regions|zones)\b`), "kops checks the names of regions and zones"},
	{regexp.MustCompile(`^--use-kubeconfig is set; `), "how kops connects, which the command line says"},
	{regexp.MustCompile(`^"Feature gate default state" feature=`), "a feature gate of client-go"},
	{regexp.MustCompile(`^Listing all Autoscaling groups matching cluster tags$`), "each validation lists the groups; its result is told by the line after it"},
	{regexp.MustCompile(`^AWS request: retrying request `), "a throttled call that kops repeats; the timeout of the call bounds it"},
	{regexp.MustCompile(`^AWS request: failed to (discard remaining|close) HTTP response body, this may affect connection reuse(: |$)`), "a warning of the SDK (smithy-go, middleware_close_response_body.go) about a call that was answered"},
	{regexp.MustCompile(`^SDK \d{4}/\d\d/\d\d \d\d:\d\d:\d\d WARN Response has no supported checksum\. `), "an object of the state store that was written without a checksum"},
	{regexp.MustCompile(`^Using cluster from kubectl context: `), "which cluster, which the command line says"},
}
