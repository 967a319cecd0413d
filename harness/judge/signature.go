package judge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Signature is what the requests of a burst saw, together with who was there to
// answer them (docs/guides/attribution.md).
type Signature string

// Signatures.
const (
	SignatureProcessGone  Signature = "process-gone"         // refused: nothing listens where a request was sent
	SignatureEndpointLag  Signature = "endpoint-lag"         // refused: the pod ended before its endpoint was removed
	SignatureRouteLag     Signature = "route-lag"            // refused or unanswered after the endpoint was removed: rules still led there
	SignatureNodeGone     Signature = "node-or-route-gone"   // no connection: a node or its route is gone
	SignatureUngraceful   Signature = "ungraceful-end"       // reset on kept connections alone
	SignatureCut          Signature = "cut-short"            // reset or truncated: the server did not finish
	SignatureNoEndpoint   Signature = "no-endpoint"          // 502, 503, 504: a balancer without endpoints
	SignatureServerError  Signature = "server-error"         // any other 5xx: the server itself failed
	SignatureNotAnswered  Signature = "not-answered"         // connected, and no answer
	SignatureDNS          Signature = "dns"                  // the name did not resolve
	SignatureHang         Signature = "hang"                 // answered when it was over
	SignatureSlow         Signature = "slow"                 // answered, far later than in the baseline
	SignatureSlowConnect  Signature = "slow-connect"         // the same, because connecting took that long
	SignatureKubeProxy    Signature = "kube-proxy-restart"   // explained by kube-proxy's pod
	SignatureBalancerGone Signature = "balancer-gone"        // every lane but control refused at once
	SignatureAPIServer    Signature = "api-server"           // the API away, and every lane served
	SignatureAPIAndLanes  Signature = "api-server-and-lanes" // the API away, and lanes lost requests too
	SignatureContention   Signature = "contention"           // the machine, not the upgrade
	SignatureOther        Signature = "other"
)

// remedy is what usually mends what a signature shows, and with which fields;
// those of the scenario are written as they are now.
type remedy struct {
	mend     string
	scenario []string
	fields   []string // of Kubernetes, or of what is in front of it
}

const (
	preStop      = "Pod spec.containers[].lifecycle.preStop.sleep.seconds"
	graceSeconds = "Pod spec.terminationGracePeriodSeconds"
	readiness    = "Pod spec.containers[].readinessProbe"
	deregister   = "balancer: deregistration delay, and its health check's interval"
)

var remedies = map[Signature]remedy{
	SignatureProcessGone:  {"Serve on after SIGTERM until no endpoint and no balancer sends there any more: a shutdown delay or preStop sleep, within the grace period.", []string{"canary.shutdownDelay"}, []string{preStop, graceSeconds}},
	SignatureEndpointLag:  {"Serve on after SIGTERM for longer than an endpoint takes to be removed: a shutdown delay or preStop sleep, within the grace period.", []string{"canary.shutdownDelay"}, []string{preStop, graceSeconds}},
	SignatureRouteLag:     {"Serve on after SIGTERM until every node's rules have followed: a longer shutdown delay or preStop sleep.", []string{"canary.shutdownDelay"}, []string{preStop, graceSeconds}},
	SignatureNodeGone:     {"Take the node out of the balancer before it stops, and wait until it is: a deregistration delay shorter than the wait after its drain.", []string{"upgrade.postDrainDelay", "upgrade.nodeInterval"}, []string{deregister, "Service spec.externalTrafficPolicy"}},
	SignatureUngraceful:   {"End kept connections in order: announce their end with the last answer, finish what is in flight, and only then exit.", []string{"canary.gracePeriod"}, []string{graceSeconds, preStop}},
	SignatureCut:          {"Give requests in flight the time to end: a grace period longer than the longest of them.", []string{"canary.gracePeriod"}, []string{graceSeconds}},
	SignatureNoEndpoint:   {"Keep an endpoint ready at all times: two replicas or more on different nodes, a disruption budget, and a readiness probe that is true only when the pod serves.", []string{"canary.replicas", "canary.podDisruptionBudget"}, []string{"PodDisruptionBudget spec.maxUnavailable", readiness, "Deployment spec.minReadySeconds"}},
	SignatureServerError:  {"Look into the server's own log: it answered, with an error.", nil, []string{readiness}},
	SignatureNotAnswered:  {"Let the balancer notice sooner: a shorter health check or readiness period takes what does not answer out.", []string{"upgrade.postDrainDelay"}, []string{readiness + ".periodSeconds", deregister}},
	SignatureDNS:          {"Keep DNS served while nodes are drained: two replicas or more with a budget, CoreDNS' lameduck, or a cache on every node.", nil, []string{"PodDisruptionBudget for kube-system/coredns", "CoreDNS health { lameduck 5s }"}},
	SignatureHang:         {"Give what was upgraded time to settle before the next: a longer interval.", []string{"upgrade.nodeInterval", "upgrade.controlPlaneInterval"}, []string{readiness}},
	SignatureSlow:         {"Give new pods time to warm up and nodes time to settle: a later readiness and a longer interval.", []string{"upgrade.nodeInterval"}, []string{readiness, "Deployment spec.minReadySeconds"}},
	SignatureSlowConnect:  {"Take the node out of the balancer before it stops: connections were opened only when a lost packet was sent again.", []string{"upgrade.postDrainDelay"}, []string{deregister, preStop}},
	SignatureKubeProxy:    {"Change kube-proxy node by node, with an interval, and let nothing be sent to a node meanwhile.", []string{"upgrade.nodeInterval"}, []string{"DaemonSet kube-proxy spec.updateStrategy.rollingUpdate.maxUnavailable", deregister}},
	SignatureBalancerGone: {"Look at the balancer in front of the cluster: nothing listened there.", nil, []string{"balancer: two instances or more"}},
	SignatureAPIServer:    {"Upgrade three control planes one at a time, each out of its balancer meanwhile: what needs the API then never misses it.", []string{"cluster.controlPlanes", "upgrade.controlPlaneInterval"}, []string{"API server's balancer: health check of /readyz"}},
	SignatureAPIAndLanes:  {"Look at what the API server and the lanes share: a node, its network, or the machine.", []string{"cluster.controlPlanes", "upgrade.controlPlaneInterval"}, nil},
	SignatureContention:   {"Rehearse on a machine with more to spare, or send less.", []string{"load.rate"}, nil},
}

// onlyReplica is the remedy where the pod that ended was the only one.
var onlyReplica = remedy{"Run two replicas or more, with a disruption budget: a single one is away whenever its node is drained.", []string{"canary.replicas", "canary.podDisruptionBudget"}, []string{"Deployment spec.replicas", "PodDisruptionBudget spec.maxUnavailable"}}

// crashed is the remedy where a container ended by itself, or did not start.
var crashed = remedy{"Look at why the container ended: its last state and its log.", nil, []string{"Pod status.containerStatuses[].lastState", "Pod spec.containers[].livenessProbe"}}

// How long bursts of some signatures usually last, at most, as measured.
const (
	kubeProxyRestart = 3 * secondNS
	podBeforeRoute   = 2 * secondNS
)

// sign gives an entry its signature, and compares its length with the usual one.
// E is the event that explains it, nil where none does.
func (b *bookkeeper) sign(x *entry, s *side, sc *scene, e *timeline.Event, events []*timeline.Event) {
	class := x.outage.mostly()
	alone := !slices.ContainsFunc(b.lanesSuffered(x), func(lane string) bool { return lane != x.Lane })
	ofProxy := e != nil && strings.HasPrefix(podName(podOf(e)), "kube-proxy")
	switch {
	case x.Kind == BurstAPI && alone:
		x.Signature = SignatureAPIServer
		return
	case x.Kind == BurstAPI:
		x.Signature = SignatureAPIAndLanes
		return
	case ofProxy && class != record.DNS.String():
		x.Signature = SignatureKubeProxy
		x.usually("A restart of kube-proxy", kubeProxyRestart)
		return
	case strings.HasPrefix(x.Cause, unattributed+": nothing listened"):
		x.Signature = SignatureBalancerGone
		return
	}
	switch class {
	case record.Refused.String():
		x.Signature = SignatureProcessGone
		b.lag(x, sc, e, events)
	case record.TimeoutConnect.String(), record.Unreachable.String():
		x.Signature = SignatureNodeGone
		if e != nil && sc.owners[owner(podOf(e))] {
			b.lag(x, sc, e, events)
		}
	case record.Reset.String(), record.Truncated.String():
		x.Signature = SignatureCut
		if x.Lane == scenarios.LaneReused && alone && slices.ContainsFunc(b.lanes, func(l *laneEvidence) bool { return l.lane.Name == scenarios.LaneNew }) {
			x.Signature = SignatureUngraceful
		}
	case record.HTTP5xx.String():
		x.Signature = SignatureNoEndpoint
		switch x.status(s) {
		case 0, 502, 503, 504:
		default:
			x.Signature = SignatureServerError
		}
	case record.TimeoutResponse.String():
		x.Signature = SignatureNotAnswered
	case record.DNS.String():
		x.Signature = SignatureDNS
	case stalled:
		x.Signature = SignatureHang
	case slow:
		x.Signature = SignatureSlow
		if x.connectedLate(s) {
			x.Signature = SignatureSlowConnect
		}
	default:
		x.Signature = SignatureOther
	}
}

func podName(pod string) string { return pod[strings.LastIndex(pod, "/")+1:] }

// lag tells, where a pod of the canary ended, whether its endpoint was removed
// later than requests began to fail, or before.
func (b *bookkeeper) lag(x *entry, sc *scene, e *timeline.Event, events []*timeline.Event) {
	if e == nil || !sc.owners[owner(podOf(e))] {
		return
	}
	ended, removed := int64(-1), int64(-1)
	for _, y := range timesIn(events, x.Start-nearbyBefore, x.End+nearbyBefore) {
		if podOf(y) != podOf(e) {
			continue
		}
		switch y.Kind {
		case timeline.KindPodTerminating, timeline.KindEvict, timeline.KindPodDeleted:
			if ended < 0 {
				ended = y.T
			}
		case timeline.KindEndpointRemoved:
			if removed < 0 {
				removed = y.T
			}
		}
	}
	switch {
	case removed > x.Start+watchLag:
		x.Signature = SignatureEndpointLag
		x.Usual = fmt.Sprintf("Its endpoint was removed %s after the first failure; usually that takes up to %s.", duration(float64(removed-x.Start)), duration(float64(endpointLag)))
	case removed >= 0:
		x.Signature = SignatureRouteLag
		x.usually("A pod that is gone before its route", podBeforeRoute)
	}
}

// usually compares the entry's length with what is usual.
func (x *entry) usually(what string, most int64) {
	x.Usual = fmt.Sprintf("%s usually shows for up to %s", what, duration(float64(most)))
	if x.LowerNS > most {
		x.Usual += fmt.Sprintf("; this lasted at least %s.", duration(float64(x.LowerNS)))
		return
	}
	x.Usual += "."
}

// connectedLate reports whether most of the slow requests that were recorded
// singly spent most of their time on connecting.
func (x *entry) connectedLate(s *side) bool {
	d := laneData(s.rec, x.Lane)
	if d == nil {
		return false
	}
	late, all := 0, 0
	for i := range d.Requests {
		r := &d.Requests[i]
		if r.Due < x.Start || r.Due > x.End || r.Class != record.OK.String() {
			continue
		}
		all++
		if 2*r.ConnectNS > r.Latency {
			late++
		}
	}
	return late > 0 && 2*late > all
}

// mend says what usually mends it. Where nothing explains a hang or slow
// requests, what they saw does not tell either.
func (x *entry) mend(sc *scene, e *timeline.Event) {
	r, known := remedies[x.Signature]
	if !known || e == nil && (x.Signature == SignatureHang || x.Signature == SignatureSlow) {
		return
	}
	if e != nil && sc.replicas == 1 && x.Signature != SignatureKubeProxy && x.Kind != BurstAPI && sc.owners[owner(podOf(e))] {
		r = onlyReplica
	}
	if e != nil && x.Kind != BurstAPI && x.Signature != SignatureKubeProxy && (e.Kind == timeline.KindRestart || e.Kind == timeline.KindPodFailed || e.Kind == timeline.KindPodWaiting) {
		r = crashed
	}
	x.Mend = r.mend
	for _, f := range r.scenario {
		if now := sc.setting(f); now != "" {
			f += " (now " + now + ")"
		}
		x.Set = append(x.Set, f)
	}
	x.Set = append(x.Set, r.fields...)
}

// setting returns what a field of the scenario is, as the record has it; empty
// where it is not there.
func (s *scene) setting(path string) string {
	var at any = s.scenario
	for _, key := range strings.Split(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = m[key]
	}
	switch v := at.(type) {
	case string:
		return v
	case nil:
		return ""
	}
	b, err := json.Marshal(at)
	if err != nil {
		return ""
	}
	return string(b)
}
