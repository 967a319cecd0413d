package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// kind is the type of a metric.
type kind int

const (
	counter kind = iota
	gauge
	histogram
	pulledGauge // a gauge whose value is asked for at each scrape
)

func (k kind) String() string {
	return [...]string{"counter", "gauge", "histogram", "gauge"}[k]
}

// definition is one metric.
type definition struct {
	name    string
	kind    kind
	labels  []string
	help    string
	buckets []float64 // of a histogram, beside the native ones
}

// Names of metrics.
const (
	buildInfo       = "rehearse_build_info"
	runInfo         = "rehearse_run_info"
	runStart        = "rehearse_run_start_timestamp_seconds"
	runExpected     = "rehearse_run_expected_seconds"
	runSteps        = "rehearse_run_steps"
	stepsEnded      = "rehearse_steps_ended_total"
	stepInProgress  = "rehearse_step_in_progress"
	stepStart       = "rehearse_step_start_timestamp_seconds"
	stepExpected    = "rehearse_step_expected_seconds"
	stepDuration    = "rehearse_step_duration_seconds"
	phaseNow        = "rehearse_phase"
	requests        = "rehearse_requests_total"
	requestsUnsent  = "rehearse_requests_unsent_total"
	inFlight        = "rehearse_requests_in_flight"
	latency         = "rehearse_request_latency_seconds"
	sendLag         = "rehearse_request_send_lag_seconds"
	connections     = "rehearse_connections_opened_total"
	lanesLost       = "rehearse_lanes_lost_total"
	observations    = "rehearse_probe_observations_total"
	probeUp         = "rehearse_probe_up"
	nodesNow        = "rehearse_nodes"
	nodesCordoned   = "rehearse_nodes_cordoned"
	drainStalls     = "rehearse_drain_stalls_total"
	stalledPods     = "rehearse_drain_stalled_pods"
	events          = "rehearse_timeline_events_total"
	criterionResult = "rehearse_criterion_result"
	verdict         = "rehearse_verdict"
)

// definitions are all metrics, in the order of the guide.
var definitions = []definition{
	{buildInfo, gauge, []string{"version", "revision", "goversion"}, "1, with the version of rehearse that is running.", nil},
	{runInfo, gauge, []string{"run", "scenario", "driver", "from", "to"}, "1, with the rehearsal that all others are about.", nil},
	{runStart, gauge, nil, "When the rehearsal began.", nil},
	{runExpected, gauge, nil, "How long the rehearsal is expected to take.", nil},
	{runSteps, gauge, nil, "Steps of the plan.", nil},
	{stepsEnded, counter, []string{"outcome"}, "Steps that have ended: passed, failed, skipped.", nil},
	{stepInProgress, gauge, []string{"number", "section", "description"}, "1 for the step that is being carried out.", nil},
	{stepStart, gauge, nil, "When the step that is being carried out began; absent between steps.", nil},
	{stepExpected, gauge, nil, "How long the step that is being carried out is expected to take; absent where nobody knows.", nil},
	{stepDuration, gauge, []string{"number", "section", "description", "outcome"}, "How long each step took that has ended.", nil},
	{phaseNow, gauge, []string{"phase"}, "1 for the phase that is under way, 0 for those that are over.", nil},
	{requests, counter, []string{"lane", "phase", "outcome"}, "Requests that were sent, by their outcome: ok, or the class of failure.", nil},
	{requestsUnsent, counter, []string{"lane", "phase"}, "Requests that were due and that the runner could not send in time.", nil},
	{inFlight, pulledGauge, []string{"lane"}, "Requests that are due or under way and have no outcome yet.", nil},
	{latency, histogram, []string{"lane", "phase"}, "Time from when a request was due to its answer, of those answered ok.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}},
	{sendLag, histogram, []string{"lane", "phase"}, "How late the runner sent each request.", []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25}},
	{connections, counter, []string{"lane", "phase"}, "Connections that requests opened.", nil},
	{lanesLost, counter, []string{"lane"}, "Lanes whose generator died: without their data there is no verdict.", nil},
	{observations, counter, []string{"probe", "outcome"}, "Observations of the API, DNS and other probes: ok, or the class of failure.", nil},
	{probeUp, gauge, []string{"probe"}, "1 where the probe's last observation was fine, 0 where it was not.", nil},
	{nodesNow, pulledGauge, []string{"version", "role", "ready"}, "Nodes by the version of their kubelet, control-plane or worker, and whether they are Ready.", nil},
	{nodesCordoned, pulledGauge, nil, "Nodes that take no new pods.", nil},
	{drainStalls, counter, []string{"node", "cause"}, "Pods that held the drain of a node up: budget, overlap, webhook, busy, refused, terminating, api.", nil},
	{stalledPods, gauge, []string{"node"}, "Pods that hold the drain of a node up now.", nil},
	{events, counter, []string{"source", "kind"}, "Events of the timeline.", nil},
	{criterionResult, gauge, []string{"criterion", "result"}, "1 for the result of each criterion, once it is judged: pass, fail, inconclusive, reported.", nil},
	{verdict, gauge, []string{"outcome"}, "1 for the verdict, 0 for the two others: GO, NO-GO, INCONCLUSIVE; absent until it is judged.", nil},
}

// find returns the definition of a metric of this package.
func find(name string) definition {
	return definitions[slices.IndexFunc(definitions, func(d definition) bool { return d.name == name })]
}

func (d definition) desc() *prometheus.Desc {
	return prometheus.NewDesc(d.name, d.help, d.labels, nil)
}
