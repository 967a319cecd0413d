package judge_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func TestPrecedenceCluster(t *testing.T) {
	for _, x := range []rule{
		{name: "at the target", outcome: judge.Go, id: "versions", result: judge.Pass,
			explain: "The API server and 4 of 4 nodes run v1.35.4 and are Ready."},
		{
			name: "an upgrade that changed nothing",
			change: func(r *record.Record) {
				r.After.ServerVersion = "v1.34.4"
				for i := range r.After.Nodes {
					r.After.Nodes[i].KubeletVersion = "v1.34.4"
				}
			},
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade changed nothing: the API server and all 4 nodes still run v1.34.4; v1.35.4 was asked for.",
		},
		{
			name: "EKS has chosen other patches",
			change: func(r *record.Record) {
				r.Run.Driver, r.After.ServerVersion = scenarios.DriverEKS, "v1.35.2-eks-3025e55"
				for i := range r.After.Nodes {
					r.After.Nodes[i].KubeletVersion = "v1.35.1-eks-7ab61a2"
				}
			},
			outcome: judge.Go, id: "versions", result: judge.Pass,
			explain: "The API server and 4 of 4 nodes run 1.35 and are Ready. EKS chooses the patch, so minors are compared; the API server runs v1.35.2-eks-3025e55.",
		},
		{
			name: "EKS left a node behind",
			change: func(r *record.Record) {
				r.Run.Driver, r.After.ServerVersion = scenarios.DriverEKS, "v1.35.4-eks-3025e55"
				r.After.Nodes[2].KubeletVersion = "v1.34.4-eks-7ab61a2"
			},
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to 1.35 is not complete: kubelet v1.34.4-eks-7ab61a2 still runs on worker-2. EKS chooses the patch, so minors are compared; the API server runs v1.35.4-eks-3025e55.",
		},
		{
			name: "EKS went back, control plane and all",
			change: func(r *record.Record) {
				r.Run.Driver, r.After.ServerVersion = scenarios.DriverEKS, "v1.34.5-eks-3025e55"
				for i := range r.After.Nodes {
					r.After.Nodes[i].KubeletVersion = "v1.34.5-eks-7ab61a2"
				}
				for _, c := range r.After.Components {
					for i := range c.Instances {
						c.Instances[i].Version = r.Before.ServerVersion
					}
				}
				turned(r)
			},
			outcome: judge.Go, id: "versions", result: judge.Pass,
			explain: "The API server and 4 of 4 nodes run 1.34 again and are Ready. EKS chooses the patch, so minors are compared; the API server runs v1.34.5-eks-3025e55.",
		},
		{
			name: "the control plane of EKS did not go back",
			change: func(r *record.Record) {
				r.Run.Driver, r.After.ServerVersion = scenarios.DriverEKS, "v1.35.2-eks-3025e55"
				for i := range r.After.Nodes {
					r.After.Nodes[i].KubeletVersion = "v1.34.5-eks-7ab61a2"
				}
				turned(r)
			},
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The way back to 1.34 is not complete: the API server runs v1.35.2-eks-3025e55; v1.35.4 still runs in kube-system/kube-proxy-cp-1, kube-system/kube-proxy-worker-1, kube-system/kube-proxy-worker-2, kube-system/kube-proxy-worker-3, kube-system/kube-apiserver-cp-1, kube-system/kube-controller-manager-cp-1 and 1 more. EKS chooses the patch, so minors are compared; the API server runs v1.35.2-eks-3025e55.",
		},
		{
			name:    "another patch on a driver that takes one",
			change:  func(r *record.Record) { r.After.Nodes[2].KubeletVersion = "v1.35.3" },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: kubelet v1.35.3 still runs on worker-2.",
		},
		{
			name:    "a node left behind",
			change:  func(r *record.Record) { r.After.Nodes[2].KubeletVersion = "v1.34.4" },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: kubelet v1.34.4 still runs on worker-2.",
		},
		{
			name: "a node left behind by a run that was killed",
			change: func(r *record.Record) {
				r.After.Nodes[2].KubeletVersion = "v1.34.4"
				r.Run.Outcome = record.OutcomeRunning
			},
			outcome: judge.Inconclusive, id: "versions", result: judge.Undecided,
			explain: "The run ended before the upgrade to v1.35.4 was complete: kubelet v1.34.4 still runs on worker-2.",
		},
		{
			name:    "a kubelet newer than its API server",
			change:  func(r *record.Record) { r.After.ServerVersion = "v1.34.9" },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: the API server runs v1.34.9; kubelet v1.35.4 is newer than the API server's v1.34.9 on cp-1, worker-1, worker-2 and worker-3.",
		},
		{
			name: "a node not Ready, one still cordoned",
			change: func(r *record.Record) {
				r.After.Nodes[1].Ready = false
				r.After.Nodes[2].Unschedulable = true
			},
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: not Ready: worker-1; still cordoned: worker-2.",
		},
		{
			name:    "a node lost",
			change:  func(r *record.Record) { r.After.Nodes = r.After.Nodes[:3] },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: 3 of 4 nodes are left.",
		},
		{
			name: "workers that were replaced",
			change: func(r *record.Record) {
				rename := strings.NewReplacer("worker-1", "worker-4", "worker-3", "worker-5")
				for i := range r.After.Nodes {
					r.After.Nodes[i].Name = rename.Replace(r.After.Nodes[i].Name)
				}
				for i := range r.After.Components {
					for k := range r.After.Components[i].Instances {
						p := &r.After.Components[i].Instances[k]
						p.Node, p.Pod = rename.Replace(p.Node), rename.Replace(p.Pod)
					}
				}
			},
			outcome: judge.Go, id: "versions", result: judge.Pass,
			explain: "The API server and 4 of 4 nodes run v1.35.4 and are Ready; 2 of them took the place of 2 that are gone.",
		},
		{
			name: "extra capacity that was left behind",
			change: func(r *record.Record) {
				extra := r.After.Nodes[1]
				extra.Name = "worker-9"
				r.After.Nodes = append(r.After.Nodes, extra)
			},
			outcome: judge.NoGo, id: "versions", result: judge.Pass,
			explain: "The API server and 5 of 5 nodes run v1.35.4 and are Ready; 1 more than before.",
		},
		{
			name:    "the API server's pod at the old version",
			change:  func(r *record.Record) { component(r.After, "kube-scheduler").Instances[0].Version = "v1.34.4" },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: v1.34.4 still runs in kube-system/kube-scheduler-cp-1.",
		},
		{
			name:    "a controller at another patch",
			change:  func(r *record.Record) { component(r.After, "kube-controller-manager").Instances[0].Version = "v1.35.3" },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: v1.35.3 still runs in kube-system/kube-controller-manager-cp-1.",
		},
		{
			name: "kube-proxy at a patch of its own in a managed cluster",
			change: func(r *record.Record) {
				r.Run.Driver = scenarios.DriverExisting
				component(r.After, "kube-proxy").Instances[0].Version = "v1.35.3"
			},
			outcome: judge.Go, id: "versions", result: judge.Pass,
			explain: "The API server and 4 of 4 nodes run v1.35.4 and are Ready.",
		},
		{
			name:    "no snapshot after",
			change:  func(r *record.Record) { r.After = nil },
			outcome: judge.Inconclusive, id: "versions", result: judge.Undecided,
			explain: "No snapshot of the cluster was taken after the upgrade.",
		},
		{
			name: "at the target already before",
			change: func(r *record.Record) {
				r.Before.ServerVersion, r.Before.Components = "v1.35.4", r.After.Components
				for i := range r.Before.Nodes {
					r.Before.Nodes[i].KubeletVersion = "v1.35.4"
				}
			},
			outcome: judge.Inconclusive, id: "versions", result: judge.Undecided,
			explain: "The cluster ran v1.35.4 already before: there was nothing to upgrade.",
		},
		{name: "a component that is healthy", outcome: judge.Go, id: "component/coredns", result: judge.Pass,
			explain: "coredns is healthy: 2 of 2 ready."},
		{
			name: "a component not ready",
			change: func(r *record.Record) {
				c := component(r.After, "coredns")
				c.Ready = 1
				c.Instances[1].Ready, c.Instances[1].Reason = false, "CrashLoopBackOff"
			},
			outcome: judge.NoGo, id: "component/coredns", result: judge.Fail,
			explain: "coredns is not healthy after the upgrade: 1 of 2 ready: pod kube-system/coredns-worker-2 (CrashLoopBackOff).",
		},
		{
			name: "a component gone",
			change: func(r *record.Record) {
				r.After.Components = without(r.After.Components, func(c record.Component) bool { return c.Name == "kube-flannel" })
			},
			outcome: judge.NoGo, id: "component/kube-flannel", result: judge.Fail,
			explain: "kube-flannel was there before the upgrade (4 of 4 ready) and is gone after it.",
		},
		{
			name: "a component that was never there",
			change: func(r *record.Record) {
				drop := func(c record.Component) bool { return c.Name == "kube-flannel" }
				r.After.Components, r.Before.Components = without(r.After.Components, drop), without(r.Before.Components, drop)
			},
			outcome: judge.Inconclusive, id: "component/kube-flannel", result: judge.Undecided,
			explain: "kube-flannel was found neither before nor after the upgrade: install it in the mirror, or take it off checks.systemComponents.",
		},
		{
			name: "a component that was never there and is not required",
			change: func(r *record.Record) {
				drop := func(c record.Component) bool { return c.Name == "kube-flannel" }
				r.After.Components, r.Before.Components = without(r.After.Components, drop), without(r.Before.Components, drop)
			},
			criteria: func(c []scenarios.Criterion) {
				for i := range c {
					c[i].Required = c[i].Required && c[i].Component != "kube-flannel"
				}
			},
			outcome: judge.Go, id: "component/kube-flannel", result: judge.Reported,
			explain: "kube-flannel was found neither before nor after the upgrade: install it in the mirror, or take it off checks.systemComponents. Reported, not judged.",
		},
		{
			name: "a component that was broken before",
			change: func(r *record.Record) {
				for _, s := range []*record.Snapshot{r.Before, r.After} {
					c := component(s, "coredns")
					c.Ready = 1
					c.Instances[1].Ready, c.Instances[1].Reason = false, "ImagePullBackOff"
				}
			},
			outcome: judge.Inconclusive, id: "component/coredns", result: judge.Undecided,
			explain: "coredns is not healthy after the upgrade (1 of 2 ready: pod kube-system/coredns-worker-2 (ImagePullBackOff)), but was not before it either (1 of 2 ready: pod kube-system/coredns-worker-2 (ImagePullBackOff)): repair it and rehearse again.",
		},
		{
			name: "a daemon set that lost a node",
			change: func(r *record.Record) {
				c := component(r.After, "kube-proxy")
				c.Instances, c.Desired, c.Ready = c.Instances[:3], 3, 3
			},
			outcome: judge.NoGo, id: "component/kube-proxy", result: judge.Fail,
			explain: "kube-proxy is not healthy after the upgrade: no ready pod on worker-3.",
		},
		{
			name: "a daemon set whose lost pod the cluster only counted",
			change: func(r *record.Record) {
				c := component(r.After, "kube-proxy")
				c.Instances, c.Ready, c.Problem = c.Instances[:3], 3, "3 of 4 pods are ready."
			},
			outcome: judge.NoGo, id: "component/kube-proxy", result: judge.Fail,
			explain: "kube-proxy is not healthy after the upgrade: 3 of 4 pods are ready; no ready pod on worker-3.",
		},
		{
			name:   "an etcd member lost",
			planes: 3,
			change: func(r *record.Record) {
				component(r.After, "etcd").Members[2] = record.Named{Name: "cp-3", Detail: "deadline exceeded"}
			},
			outcome: judge.NoGo, id: "component/etcd", result: judge.Fail,
			explain: "etcd is not healthy after the upgrade: member cp-3 is unhealthy (deadline exceeded).",
		},
		{
			name: "an APIService lost",
			change: func(r *record.Record) {
				r.After.APIServices[1] = record.Named{Name: "v1beta1.metrics.k8s.io", Detail: "MissingEndpoints"}
			},
			outcome: judge.NoGo, id: "apiservices", result: judge.Fail,
			explain: "1 of 2 APIServices are unavailable after the upgrade: v1beta1.metrics.k8s.io (MissingEndpoints).",
		},
		{
			name: "DNS lost",
			change: func(r *record.Record) {
				r.After.DNSLookup = record.Named{Name: "kubernetes.default", Detail: "i/o timeout"}
			},
			outcome: judge.NoGo, id: "dns", result: judge.Fail,
			explain: "A lookup of kubernetes.default from inside the cluster failed after the upgrade: i/o timeout.",
		},
		{
			name: "a system pod that broke",
			change: func(r *record.Record) {
				r.After.Lingering = []record.PodState{{Pod: "kube-system/metrics-server-1", Phase: "Running", Reason: "CrashLoopBackOff"}}
			},
			outcome: judge.NoGo, id: "lingering-pods", result: judge.Fail,
			explain: "1 pod of system namespaces broke with the upgrade: kube-system/metrics-server-1 (CrashLoopBackOff).",
		},
		{
			name: "a system pod that was evicted is named and no failure",
			change: func(r *record.Record) {
				r.After.Lingering = []record.PodState{{Pod: "kube-system/metrics-server-1", Phase: "Failed", Reason: "Evicted"}}
			},
			outcome: judge.Go, id: "lingering-pods", result: judge.Pass,
			explain: "No pod of system namespaces broke with the upgrade.",
		},
		{
			name:    "an API away, with one control plane",
			change:  apiAway,
			outcome: judge.Go, id: "api", result: judge.Reported,
			explain: "api-new answered 720 of 840 observations and was available 85.7% of the time, away for at most 30.3 s in one piece, at +01:40.0. Reported, not judged.",
		},
		{
			name: "an API away, with three control planes", planes: 3,
			change:  apiAway,
			outcome: judge.NoGo, id: "api", result: judge.Fail,
			explain: "api-new answered 720 of 840 observations and was available 85.7% of the time, away for at most 30.3 s in one piece, at +01:40.0; 99.5% is required.",
		},
		{
			name: "an API away while the runner, which asks it, was overloaded", planes: 3,
			faults:  []synth.Fault{{Kind: synth.Overload, Start: 25 * sec, Length: 40 * sec, Share: 0.5}},
			change:  apiAway,
			outcome: judge.Inconclusive, id: "api", result: judge.Undecided,
			explain: "api-new answered 720 of 840 observations and was available 85.7% of the time, away for at most 30.3 s in one piece, at +01:40.0, which is between 85.6% and 100%: too coarse to tell from the 99.5% required.",
		},
		{
			name: "an API away while agents were overloaded, which do not ask it", planes: 3,
			faults:  []synth.Fault{{Kind: synth.Overload, Start: 25 * sec, Length: 40 * sec, Share: 0.5}},
			change:  func(r *record.Record) { apiAway(r); byAgents()(r) },
			outcome: judge.NoGo, id: "api", result: judge.Fail,
			explain: "api-new answered 720 of 840 observations and was available 85.7% of the time, away for at most 30.3 s in one piece, at +01:40.0; 99.5% is required.",
		},
		{
			name: "an API away for about as long as it may be", planes: 3,
			change: func(r *record.Record) {
				for i := range r.Probes[0].Samples {
					s := &r.Probes[0].Samples[i]
					s.OK = s.T < int64(100*sec) || s.T >= int64(101*sec)
				}
			},
			outcome: judge.Inconclusive, id: "api", result: judge.Undecided,
			explain: "api-new answered 836 of 840 observations and was available 99.522% of the time, away for at most 1.25 s in one piece, at +01:40.0, which is between 99.403% and 99.643%: too coarse to tell from the 99.5% required.",
		},
		{
			name: "an API that was frozen: it answers late, and was away until then", planes: 3,
			change: func(r *record.Record) {
				p := &r.Probes[0]
				p.Samples = slices.DeleteFunc(p.Samples, func(s record.ProbeSample) bool {
					return s.T > int64(100*sec) && s.T < int64(108*sec) && s.T != int64(105*sec)
				})
				for i := range p.Samples {
					switch s := &p.Samples[i]; s.T {
					case int64(100 * sec):
						s.OK, s.D, s.Class = false, int64(5*sec), record.TimeoutResponse.String()
					case int64(105 * sec):
						s.D = int64(3 * sec)
					}
				}
			},
			outcome: judge.NoGo, id: "api", result: judge.Fail,
			explain: "api-new answered 809 of 810 observations and was available 96.2% of the time, away for at most 8.25 s in one piece, at +01:40.0; 99.5% is required.",
		},
		{
			name: "an API that answered", planes: 3,
			outcome: judge.Go, id: "api", result: judge.Pass,
			explain: "api-new answered 840 of 840 observations and was available 100% of the time; 99.5% is required.",
		},
	} {
		t.Run(x.name, x.run)
	}
}

// turned makes a record of a roll that was turned round in the middle of the
// upgrade.
func turned(r *record.Record) {
	up, _ := r.Phase(timeline.PhaseUpgrade)
	for i, e := range r.Events {
		if e.T > (up.Start+up.End)/2 {
			r.Events = slices.Insert(r.Events, i, timeline.Event{T: (up.Start + up.End) / 2, Source: timeline.SourceRun, Kind: timeline.KindPhase, Subject: "phase/" + timeline.PhaseRollback})
			return
		}
	}
}

// apiAway takes the API away for half a minute of the upgrade.
func apiAway(r *record.Record) {
	for i := range r.Probes[0].Samples {
		s := &r.Probes[0].Samples[i]
		s.OK = s.T < int64(100*sec) || s.T >= int64(130*sec)
	}
}
