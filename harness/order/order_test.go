package order_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/order"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const (
	from   = "v1.34.4"
	target = "v1.35.4"
)

// cluster is a snapshot of a healthy cluster with two workers.
func cluster(planes int) *record.Snapshot {
	s := &record.Snapshot{ServerVersion: from}
	names := []string{}
	for i := range planes {
		names = append(names, fmt.Sprintf("cp%d", i+1))
		s.Nodes = append(s.Nodes, record.Node{Name: names[i], ControlPlane: true, KubeletVersion: from})
	}
	s.Nodes = append(s.Nodes, record.Node{Name: "w1", KubeletVersion: from}, record.Node{Name: "w2", KubeletVersion: from})
	for _, c := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		v := from
		if c == "etcd" {
			v = "3.6.5-0"
		}
		comp := record.Component{Name: c, Kind: "Static"}
		for _, n := range names {
			comp.Instances = append(comp.Instances, record.PodState{Pod: "kube-system/" + c + "-" + n, Node: n, Version: v, Ready: true})
		}
		s.Components = append(s.Components, comp)
	}
	s.Canary = []record.PodState{{Pod: "rehearse/canary-a", Ready: true}, {Pod: "rehearse/canary-b", Ready: true}}
	return s
}

// event parses "12.5s kind subject key=value ..."; the source follows the kind.
func event(t *testing.T, line string) timeline.Event {
	t.Helper()
	f := strings.Fields(line)
	at, err := time.ParseDuration(f[0])
	if err != nil {
		t.Fatal(err)
	}
	e := timeline.Event{T: int64(at), Source: timeline.SourceKube, Kind: f[1], Subject: f[2], Detail: map[string]string{}}
	switch {
	case strings.HasPrefix(f[1], "probe"):
		e.Source = timeline.SourceProbe
	case strings.HasPrefix(f[1], "upgrade"):
		e.Source = timeline.SourceStep
	}
	for _, kv := range f[3:] {
		k, v, _ := strings.Cut(kv, "=")
		e.Detail[k] = v
	}
	return e
}

// plane is the upgrade of one control plane that begins at t seconds.
func plane(t int, n, to string) []string {
	static := func(at int, c, to string) []string {
		pod := "pod/kube-system/" + c + "-" + n
		return []string{
			fmt.Sprintf("%ds pod-not-ready %s", at, pod), fmt.Sprintf("%ds pod-deleted %s", at, pod),
			fmt.Sprintf("%ds pod-version %s container=%s node=%s to=%s", at+1, pod, c, n, to), fmt.Sprintf("%ds pod-ready %s", at+2, pod),
		}
	}
	out := []string{fmt.Sprintf("%ds upgrade-start node/%s to=%s", t, n, to)}
	out = append(out, static(t+1, "etcd", "for-"+to)...)
	out = append(out, fmt.Sprintf("%ds probe-down probe/api-%s-new class=refused", t+5, n), fmt.Sprintf("%ds probe-up probe/api-%s-new atLeast=2s", t+8, n))
	out = append(out, static(t+5, "kube-apiserver", to)...)
	out = append(out, static(t+10, "kube-controller-manager", to)...)
	out = append(out, static(t+15, "kube-scheduler", to)...)
	return append(out,
		fmt.Sprintf("%ds node-version node/%s component=kubelet from=%s to=%s", t+20, n, from, to),
		fmt.Sprintf("%ds upgrade-end node/%s to=%s", t+22, n, to),
		fmt.Sprintf("%ds restart pod/kube-system/kube-apiserver-%s container=kube-apiserver count=1", t+25, n))
}

// worker is the upgrade of one worker, from which a canary moves.
func worker(t int, n, to, pod string) []string {
	return []string{
		fmt.Sprintf("%ds upgrade-start node/%s to=%s", t, n, to),
		fmt.Sprintf("%ds endpoint-removed endpoint/10.0.0.1:80 service=canary pod=rehearse/%s", t+1, pod),
		fmt.Sprintf("%ds endpoint-added endpoint/10.0.0.2:80 service=canary pod=rehearse/%s-next", t+3, pod),
		fmt.Sprintf("%ds node-version node/%s component=kubelet from=%s to=%s", t+5, n, from, to),
		fmt.Sprintf("%ds upgrade-end node/%s to=%s", t+6, n, to),
	}
}

func join(parts ...[]string) []string {
	var out []string
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// clean is a whole upgrade in order.
func clean(planes int) []string {
	var out []string
	t := 10
	for i := range planes {
		out = append(out, plane(t, fmt.Sprintf("cp%d", i+1), target)...)
		t += 100
	}
	return join(out, worker(t, "w1", target, "canary-a"), worker(t+20, "w2", target, "canary-b"))
}

func run(t *testing.T, s *record.Snapshot, lines []string) (results []order.Result, live []string) {
	t.Helper()
	var probes []string
	for _, n := range s.Nodes {
		if n.ControlPlane {
			probes = append(probes, "api-"+n.Name+"-new", "api-"+n.Name+"-reused")
		}
	}
	m := order.New(s, order.Options{Probes: probes, Service: "canary"})
	last := int64(0)
	for _, line := range lines {
		e := event(t, line)
		last = max(last, e.T)
		for _, v := range m.Event(&e) {
			live = append(live, fmt.Sprintf("%s %s: %s", time.Duration(e.T), v.Rule, v.What))
		}
	}
	for _, v := range m.End(last + int64(10*time.Second)) {
		live = append(live, fmt.Sprintf("end %s: %s", v.Rule, v.What))
	}
	return m.Results(true), live
}

func outcomes(results []order.Result) map[order.Rule]order.Outcome {
	out := map[order.Rule]order.Outcome{}
	for _, r := range results {
		out[r.Rule] = r.Outcome
	}
	return out
}

func TestACleanUpgradeIsInOrder(t *testing.T) {
	for _, planes := range []int{1, 3} {
		results, live := run(t, cluster(planes), clean(planes))
		several := order.Held
		if planes == 1 {
			several = order.NotAvailable
		}
		want := map[order.Rule]order.Outcome{
			order.Restarts: order.Held, order.APIServers: several, order.Kubelets: order.Held, order.PlanesFirst: order.Held,
			order.Balancer: order.Held, order.Quorum: several,
		}
		if diff := cmp.Diff(want, outcomes(results)); diff != "" || len(live) > 0 {
			t.Errorf("%d control planes (-want +got):\n%s%s\n%+v", planes, diff, live, results)
		}
	}
}

// Several hops are that many upgrades, and a rollback takes workers back to a
// version that the control plane may have.
func TestHopsReplacementsAndRollbackAreInOrder(t *testing.T) {
	const next = "v1.36.0"
	hops := join(clean(1), plane(300, "cp1", next), worker(400, "w1", next, "canary-a-next"))
	replaced := join(plane(10, "cp1", target), []string{
		"100s upgrade-start node/w1 to=" + target + " strategy=replace",
		"101s node-added node/w3 version=" + target, "110s node-removed node/w1 version=" + from, "111s upgrade-end node/w1 to=" + target,
		"112s endpoint-removed endpoint/1:1 service=canary pod=rehearse/canary-a", "113s endpoint-added endpoint/1:1 service=canary pod=rehearse/canary-c",
	})
	back := join(clean(1), []string{"400s upgrade-start node/w1 to=" + from, "401s node-version node/w1 component=kubelet from=" + target + " to=" + from, "402s upgrade-end node/w1 to=" + from})
	// EKS takes its control plane back, too, when its nodes have gone before it.
	whole := join(clean(1), worker(400, "w1", from, "canary-a-next"), worker(420, "w2", from, "canary-b-next"),
		[]string{"440s node-version node/cp1 component=kubelet from=" + target + " to=" + from}, drop(plane(450, "cp1", from), "node-version node/cp1"))
	for name, lines := range map[string][]string{"hops": hops, "replaced": replaced, "rollback": back, "rollback of all": whole} {
		results, live := run(t, cluster(1), lines)
		for _, r := range results {
			if r.Outcome != order.Held && r.Outcome != order.NotAvailable {
				t.Errorf("%s: %s is %s: %s", name, r.Rule, r.Outcome, r.Explain)
			}
		}
		if len(live) > 0 {
			t.Errorf("%s: %s", name, live)
		}
	}
}

// A driver that rolls machines itself replaces the nodes of control planes.
func TestReplacedControlPlanesAreInOrder(t *testing.T) {
	lines := []string{"10s roll-start role/control-plane to=" + target}
	for i, at := range []int{20, 60, 100} {
		was, is := fmt.Sprintf("cp%d", i+1), fmt.Sprintf("cp%d", i+11)
		lines = append(lines,
			fmt.Sprintf("%ds probe-down probe/api-%s-new class=refused", at, was), fmt.Sprintf("%ds pod-deleted pod/kube-system/etcd-%s", at, was),
			fmt.Sprintf("%ds node-removed node/%s version=%s", at+1, was, from),
			fmt.Sprintf("%ds node-added node/%s version=%s controlPlane=true", at+10, is, target),
			fmt.Sprintf("%ds pod-scheduled pod/kube-system/kube-apiserver-%s node=%s version=%s", at+11, is, is, target),
			fmt.Sprintf("%ds restart pod/kube-system/kube-apiserver-%s container=kube-apiserver count=1", at+12, is),
			fmt.Sprintf("%ds pod-ready pod/kube-system/etcd-%s", at+15, is))
	}
	lines = append(lines, "140s roll-end role/control-plane to="+target, "150s roll-start role/worker to="+target,
		"155s node-added node/w3 version="+target, "160s node-removed node/w1 version="+from, "200s roll-end role/worker to="+target)
	results, live := run(t, cluster(3), lines)
	want := map[order.Rule]order.Outcome{
		order.Restarts: order.Held, order.APIServers: order.NotObserved, order.Kubelets: order.Held, order.PlanesFirst: order.Held,
		order.Balancer: order.Unknown, order.Quorum: order.Held,
	}
	if diff := cmp.Diff(want, outcomes(results)); diff != "" || len(live) > 0 {
		t.Errorf("(-want +got):\n%s%s\n%+v", diff, live, results)
	}
}

// A command of the user's upgrades everything: whose turn it is nobody tells, and
// what was not in order shows by the versions alone.
func TestACommandUpgradesInOrder(t *testing.T) {
	commanded := func(lines []string) []string {
		return join([]string{"9s upgrade-start cluster to=" + target}, drop(drop(lines, "upgrade-start node/"), "upgrade-end node/"), []string{"900s upgrade-end cluster to=" + target})
	}
	for _, planes := range []int{1, 3} {
		results, live := run(t, cluster(planes), commanded(clean(planes)))
		for _, r := range results {
			if r.Outcome != order.Held && r.Outcome != order.NotAvailable {
				t.Errorf("%d control planes: %s is %s: %s", planes, r.Rule, r.Outcome, r.Explain)
			}
		}
		if len(live) > 0 {
			t.Errorf("told %q of an upgrade in order", live)
		}
	}
	results, _ := run(t, cluster(1), commanded(join(worker(10, "w1", target, "canary-a"), plane(100, "cp1", target))))
	got := outcomes(results)
	if got[order.PlanesFirst] != order.Violated || got[order.Kubelets] != order.Violated {
		t.Errorf("a worker before the control plane: %v", got)
	}
}

// What was broken stays broken when a control plane comes later that has no probe
// of its own.
func TestAViolationIsNotForgottenWhenAControlPlaneJoins(t *testing.T) {
	results, live := run(t, cluster(3), []string{
		"10s roll-start role/control-plane to=" + target,
		"20s probe-down probe/api-cp1-new class=refused", "20s probe-down probe/api-cp2-new class=refused", "20s probe-down probe/api-cp3-new class=refused",
		"25s probe-up probe/api-cp1-new atLeast=5s", "25s probe-up probe/api-cp2-new atLeast=5s", "25s probe-up probe/api-cp3-new atLeast=5s",
		"40s node-added node/cp4 version=" + target + " controlPlane=true",
	})
	if got := outcomes(results)[order.APIServers]; got != order.Violated || len(live) != 1 {
		t.Errorf("%s, told %q", got, live)
	}
}

// Of a control plane that is the cloud's own nothing is seen; the canary's
// balancer is seen as ever.
func TestAManagedControlPlane(t *testing.T) {
	results, _ := run(t, cluster(0), []string{
		"10s roll-start role/worker to=" + target,
		"20s endpoint-removed endpoint/1:1 service=canary pod=rehearse/canary-a", "20s endpoint-removed endpoint/2:1 service=canary pod=rehearse/canary-b",
		"25s endpoint-added endpoint/3:1 service=canary pod=rehearse/canary-c",
	})
	for _, r := range results {
		want, explain := order.NotObserved, "Not observed: the control plane is not among the cluster's nodes."
		if r.Rule == order.Balancer {
			want, explain = order.Violated, "The canary's balancer had no ready member for at least 5s at +00:20.0."
		}
		if r.Outcome != want || r.Explain != explain {
			t.Errorf("%s is %s: %s", r.Rule, r.Outcome, r.Explain)
		}
	}
}

// After an interruption the watch begins anew: what changed meanwhile is unknown,
// and not what it was before.
func TestAnInterruptionLeavesTheOrderOpen(t *testing.T) {
	lines := join(plane(10, "cp1", target)[:6], []string{"100s resumed run", "110s upgrade-end node/cp1 to=" + target}, worker(200, "w1", target, "canary-a"))
	results, live := run(t, cluster(1), lines)
	got := outcomes(results)
	if got[order.Kubelets] != order.Unknown || got[order.Restarts] != order.Unknown || len(live) > 0 {
		t.Errorf("%v, told %s", got, live)
	}
}

func TestViolations(t *testing.T) {
	for _, tc := range []struct {
		name    string
		planes  int
		lines   []string
		rule    order.Rule
		outcome order.Outcome
		explain string
		live    string // one of those told while it ran, "" for none
	}{
		{"a component that was not replaced", 1, drop(clean(1), "pod-version pod/kube-system/kube-scheduler-cp1"), order.Restarts, order.Violated,
			"Kube-scheduler on cp1 was never replaced: it runs v1.34.4 after the upgrade to v1.35.4.", ""},
		{"a component that is replaced twice", 1, join(clean(1), []string{
			"500s pod-version pod/kube-system/kube-apiserver-cp1 to=" + from, "501s pod-version pod/kube-system/kube-apiserver-cp1 to=" + target,
		}), order.Restarts, order.Violated,
			"Kube-apiserver on cp1 changed to v1.34.4 at +08:20.0, when it was not that node's turn; kube-apiserver on cp1 changed to v1.35.4 at +08:21.0, when it was not that node's turn; kube-apiserver on cp1 changed to v1.35.4 for the second time: something put the old version back meanwhile.", ""},
		{"planes upgraded together", 3, join(clean(3), []string{"15s pod-version pod/kube-system/kube-apiserver-cp2 to=" + target}), order.Restarts, order.Violated, "", ""},
		{"etcd that crashes when it is nobody's turn", 3, join(clean(3), []string{"500s restart pod/kube-system/etcd-cp2 container=etcd count=1 reason=Error exitCode=2"}), order.Restarts, order.Violated,
			"Etcd on cp2 restarted at +08:20.0, when nothing was done to that node (Error, exit code 2).",
			"8m20s restarts: etcd on cp2 restarted at +08:20.0, when nothing was done to that node (Error, exit code 2)"},
		{"a controller that lost its lease with the API", 3, join(clean(3), []string{
			"500s probe-down probe/api-cp1-new class=refused", "501s probe-up probe/api-cp1-new atLeast=1s", "502s restart pod/kube-system/kube-scheduler-cp2 container=kube-scheduler count=1",
		}), order.Restarts, order.Held, "Each component of 3 control planes was replaced once, and none restarted beyond what that takes.", ""},
		{"a crash loop while its node is upgraded", 1, crash(clean(1)), order.Restarts, order.Violated,
			"Kube-apiserver on cp1 restarted 6 times while its node was upgraded.", ""},
		{"all API servers away", 3, join(clean(3), []string{
			"500s probe-down probe/api-cp1-new class=refused", "500.1s probe-down probe/api-cp2-new class=http-5xx", "500.2s probe-down probe/api-cp3-new class=reset",
			"503s probe-up probe/api-cp1-new atLeast=2s", "503s probe-up probe/api-cp2-new atLeast=2s", "503s probe-up probe/api-cp3-new atLeast=2s",
		}), order.APIServers, order.Violated, "All 3 API servers were unready together, for at least 1.8s at +08:20.2.", "8m23s api-servers: all 3 API servers were unready together, for at least 1.8s at +08:20.2"},
		{"two of three away", 3, join(clean(3), []string{
			"500s probe-down probe/api-cp1-new class=refused", "500.1s probe-down probe/api-cp2-new class=http-5xx",
			"503s probe-up probe/api-cp1-new atLeast=2s", "503s probe-up probe/api-cp2-new atLeast=2s",
		}), order.APIServers, order.Held, "At least one of 3 API servers was ready at every observation.", ""},
		{"all timed out and nothing was heard", 3, join(clean(3), timeouts()), order.APIServers, order.Unknown,
			"For 1.8s at +08:20.2 every API server timed out, which a busy machine does as well.", ""},
		{"all timed out and the watch heard of a pod", 3, join(clean(3), timeouts(), []string{"501s pod-ready pod/rehearse/x"}), order.APIServers, order.Held,
			"At least one of 3 API servers was ready at every observation.", ""},
		{"a kubelet newer than its API server", 1, join(clean(1), []string{"500s node-version node/w1 component=kubelet to=v1.99.0", "510s node-ready node/w1"}), order.Kubelets, order.Violated,
			"The kubelet of w1 ran v1.99.0 while the API server on cp1 ran v1.35.4.", "8m30s kubelets: the kubelet of w1 ran v1.99.0 while the API server on cp1 ran v1.35.4"},
		{"a worker newer than one of three API servers", 3, join(plane(10, "cp1", target), plane(100, "cp2", target), worker(200, "w1", target, "canary-a"), plane(300, "cp3", target)), order.Kubelets, order.Violated,
			"The kubelet of w1 ran v1.35.4 while the API server on cp3 ran v1.34.4.", ""},
		{"news of two watches in the wrong order", 1, join([]string{
			"10s upgrade-start node/cp1 to=" + target, "20s node-version node/cp1 component=kubelet to=" + target, "21s pod-version pod/kube-system/kube-apiserver-cp1 to=" + target, "22s upgrade-end node/cp1 to=" + target,
		}), order.Kubelets, order.Held, "No kubelet was newer than an API server it talks to, over 1 change.", ""},
		{"an order that lies in a gap", 1, join([]string{
			"10s upgrade-start node/cp1 to=" + target, "20s node-version node/cp1 component=kubelet to=" + target, "21s watch-blind watch/kube",
			"40s pod-version pod/kube-system/kube-apiserver-cp1 gap=21s to=" + target, "41s watch-seeing watch/kube",
		}), order.Kubelets, order.Unknown, "Node/cp1 may have been so at +00:20.0, within a gap of the watch of 21s.", ""},
		{"a worker before the control plane", 1, join(worker(10, "w1", target, "canary-a"), plane(100, "cp1", target)), order.PlanesFirst, order.Violated,
			"The upgrade of worker w1 to v1.35.4 began while the API server on cp1 ran v1.34.4.", "13s control-plane-first: the upgrade of worker w1 to v1.35.4 began while the API server on cp1 ran v1.34.4"},
		{"a worker while a control plane is under way", 1, join(plane(10, "cp1", target)[:20], worker(28, "w1", target, "canary-a")), order.PlanesFirst, order.Violated,
			"The upgrade of worker w1 to v1.35.4 began while that of control plane cp1 was under way.", ""},
		{"a balancer without members", 1, join(clean(1)[:22], []string{
			"200s endpoint-removed endpoint/1:1 service=canary pod=rehearse/canary-a", "200.5s endpoint-removed endpoint/2:1 service=canary pod=rehearse/canary-b",
			"202s endpoint-added endpoint/3:1 service=canary pod=rehearse/canary-c",
		}), order.Balancer, order.Violated, "The canary's balancer had no ready member for at least 1.5s at +03:20.5.", "3m22s balancer: the canary's balancer had no ready member"},
		{"a balancer whose last member is replaced in one update", 1, join(clean(1)[:22], []string{
			"200s endpoint-removed endpoint/1:1 service=canary pod=rehearse/canary-a", "200.5s endpoint-removed endpoint/2:1 service=canary pod=rehearse/canary-b",
			"200.501s endpoint-added endpoint/3:1 service=canary pod=rehearse/canary-c",
		}), order.Balancer, order.Held, "The canary's balancer had a ready member throughout, over 3 changes.", ""},
		{"a balancer that was renewed out of sight", 1, join(clean(1)[:22], []string{
			"200s endpoint-removed endpoint/1:1 service=canary pod=rehearse/canary-a gap=9s", "200s endpoint-removed endpoint/2:1 service=canary pod=rehearse/canary-b gap=9s",
			"200s endpoint-added endpoint/3:1 service=canary pod=rehearse/canary-c gap=9s",
		}), order.Balancer, order.Unknown, "Every member was replaced within a gap of the watch of 9s at +03:20.0.", ""},
		{"another service", 1, join(clean(1)[:22], []string{
			"200s endpoint-removed endpoint/1:1 service=other pod=rehearse/canary-a", "200.5s endpoint-removed endpoint/2:1 service=other pod=rehearse/canary-b", "202s node-ready node/w1",
		}), order.Balancer, order.Held, "", ""},
		{"a quorum that was lost", 3, join(clean(3), []string{
			"500s pod-not-ready pod/kube-system/etcd-cp1", "500s pod-not-ready pod/kube-system/etcd-cp2",
			"500.1s probe-down probe/api-cp1-new class=http-5xx", "500.1s probe-down probe/api-cp2-new class=http-5xx", "500.1s probe-down probe/api-cp3-new class=http-5xx",
			"502s node-ready node/w1",
		}), order.Quorum, order.Violated, "", "8m22s quorum: 2 of 3 etcd members were unready and no API server answered, for at least 1.9s at +08:20.1"},
		{"members that look unready while the API answers", 3, join(clean(3), []string{
			"500s pod-not-ready pod/kube-system/etcd-cp1", "500s pod-not-ready pod/kube-system/etcd-cp2", "502s node-ready node/w1",
		}), order.Quorum, order.Held, "More than half of 3 etcd members ran at every instant.", ""},
		{"a watch that was lost", 1, join(clean(1), []string{"500s probe-lost probe/watch reason=panicked"}), order.Kubelets, order.Unknown, "The watch of the cluster was lost: panicked.", ""},
		{"an upgrade that came to no worker", 1, plane(10, "cp1", target), order.PlanesFirst, order.Unknown, "No worker's upgrade was seen.", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			results, live := run(t, cluster(tc.planes), tc.lines)
			for _, r := range results {
				if r.Rule == tc.rule && (r.Outcome != tc.outcome || tc.explain != "" && r.Explain != tc.explain) {
					t.Errorf("%s is %s: %q\nwant %s: %q", r.Rule, r.Outcome, r.Explain, tc.outcome, tc.explain)
				}
				if r.Outcome != order.Violated && len(r.Violations) > 0 {
					t.Errorf("%s is %s with violations %+v", r.Rule, r.Outcome, r.Violations)
				}
			}
			if !strings.Contains(strings.Join(live, "\n"), tc.live) {
				t.Errorf("told %q, want %q among them", live, tc.live)
			}
			if tc.outcome == order.Held && len(live) > 0 {
				t.Errorf("told %q of an upgrade in order", live)
			}
		})
	}
}

// TestOneReplica: a canary of one pod is away while its node is drained, and how
// long that may be is the outage's business.
func TestOneReplica(t *testing.T) {
	s := cluster(1)
	s.Canary = s.Canary[:1]
	results, live := run(t, s, join(clean(1)[:22], []string{
		"200s endpoint-removed endpoint/1:1 service=canary pod=rehearse/canary-a", "230s endpoint-added endpoint/3:1 service=canary pod=rehearse/canary-c", "240s node-ready node/w1",
	}))
	for _, r := range results {
		if r.Rule == order.Balancer && (r.Outcome != order.NotAvailable || r.Explain != "There is one replica, which must go away while its node is drained: the outage that this makes is judged by its length.") {
			t.Errorf("%s: %q", r.Outcome, r.Explain)
		}
	}
	if strings.Contains(strings.Join(live, " "), "balancer") {
		t.Errorf("told %q", live)
	}
}

func timeouts() []string {
	return []string{
		"500s probe-down probe/api-cp1-new class=timeout-connect", "500.1s probe-down probe/api-cp2-new class=timeout-connect", "500.2s probe-down probe/api-cp3-new class=timeout-response",
		"503s probe-up probe/api-cp1-new atLeast=2s", "503s probe-up probe/api-cp2-new atLeast=2s", "503s probe-up probe/api-cp3-new atLeast=2s",
	}
}

// drop leaves the lines with text out.
func drop(lines []string, text string) []string {
	var out []string
	for _, l := range lines {
		if !strings.Contains(l, text) {
			out = append(out, l)
		}
	}
	return out
}

// crash lets the API server restart again and again in its node's turn.
func crash(lines []string) []string {
	out := lines[:20:20]
	for i := range 6 {
		out = append(out, fmt.Sprintf("%ds restart pod/kube-system/kube-apiserver-cp1 container=kube-apiserver count=%d", 30, i+1))
	}
	return append(out, lines[20:]...)
}

func TestWithoutASnapshotNothingIsSaid(t *testing.T) {
	m := order.New(nil, order.Options{})
	e := event(t, "5s node-version node/w1 component=kubelet to="+target)
	if got := m.Event(&e); len(got) > 0 {
		t.Errorf("told %+v", got)
	}
	for _, r := range m.Results(true) {
		if r.Outcome != order.NotObserved {
			t.Errorf("%s is %s", r.Rule, r.Outcome)
		}
	}
}
