package mirror

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// gateLine is the metric kubernetes_feature_enabled, which each component gives
// since 1.26: https://kubernetes.io/docs/reference/instrumentation/metrics/
var gateLine = regexp.MustCompile(`^kubernetes_feature_enabled\{name="([^"]+)",stage="([^"]*)"\} ([01])`)

// gates tells which of the API server's feature gates were set. Where its
// arguments are out of sight, what is on in alpha was set by somebody, since no
// alpha gate is on by itself.
func (r *reader) gates(ctx context.Context) {
	api := r.systemPod(func(p *corev1.Pod) bool {
		return p.Labels["component"] == "kube-apiserver" || p.Labels["k8s-app"] == "kube-apiserver"
	})
	if api != nil {
		set := argument(api, "feature-gates")
		if set == "" {
			set = "none set"
		}
		r.observed(FactAPIGates, set, "arguments of pod %s/%s", system, api.Name)
		return
	}
	if r.o.Get == nil {
		r.unknown(FactAPIGates, "/metrics cannot be fetched")
		return
	}
	text, err := r.o.Get(ctx, "/metrics")
	if err != nil {
		r.unknown(FactAPIGates, "/metrics: %s", why(err))
		return
	}
	seen := 0
	var on []string
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		m := gateLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		seen++
		if m[2] == "ALPHA" && m[3] == "1" {
			on = append(on, m[1]+"=true")
		}
	}
	switch {
	case seen == 0:
		r.unknown(FactAPIGates, "/metrics has no kubernetes_feature_enabled: it is there from 1.26 on")
	case len(on) == 0:
		r.inferred(FactAPIGates, "none set", "of %d gates in /metrics none in alpha is on; beta gates may still have been set", seen)
	default:
		slices.Sort(on)
		r.inferred(FactAPIGates, strings.Join(on, ","), "of %d gates in /metrics these are on in alpha, where none is by itself", seen)
	}
}

// kubelet reads the configuration of one worker's kubelet.
func (r *reader) kubelet(ctx context.Context) {
	node := r.sample()
	fail := func(format string, args ...any) {
		r.unknown(FactKubelet, format, args...)
		r.unknown(FactKubeletGates, format, args...)
	}
	if r.o.Get == nil {
		fail("configz cannot be fetched")
		return
	}
	text, err := r.o.Get(ctx, "/api/v1/nodes/"+node.Name+"/proxy/configz")
	if err != nil {
		fail("configz of node %s: %s", node.Name, why(err))
		return
	}
	var doc struct {
		Config struct {
			MaxPods             int             `json:"maxPods"`
			CgroupDriver        string          `json:"cgroupDriver"`
			ShutdownGracePeriod string          `json:"shutdownGracePeriod"`
			FailSwapOn          *bool           `json:"failSwapOn"`
			CPUManagerPolicy    string          `json:"cpuManagerPolicy"`
			FeatureGates        map[string]bool `json:"featureGates"`
		} `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		fail("configz of node %s is no JSON: %v", node.Name, err)
		return
	}
	c := doc.Config
	var parts []string
	part := func(name, value string) {
		if value != "" && value != "0s" && value != "none" {
			parts = append(parts, name+"="+value)
		}
	}
	if c.MaxPods > 0 {
		part("maxPods", fmt.Sprint(c.MaxPods))
	}
	part("cgroupDriver", c.CgroupDriver)
	part("shutdownGracePeriod", c.ShutdownGracePeriod)
	part("cpuManagerPolicy", c.CPUManagerPolicy)
	if c.FailSwapOn != nil {
		part("failSwapOn", fmt.Sprint(*c.FailSwapOn))
	}
	sure := Observed
	evidence := "configz of node " + node.Name
	if n := len(r.nodes); n > 1 {
		sure = Inferred
		evidence += fmt.Sprintf(", taken for all %d", n)
	}
	r.add(FactKubelet, strings.Join(parts, " "), sure, "%s", evidence)
	gates := make([]string, 0, len(c.FeatureGates))
	for _, g := range slices.Sorted(maps.Keys(c.FeatureGates)) {
		gates = append(gates, fmt.Sprintf("%s=%t", g, c.FeatureGates[g]))
	}
	if len(gates) == 0 {
		gates = []string{"none set"}
	}
	r.add(FactKubeletGates, strings.Join(gates, ","), sure, "%s", evidence)
}

// sample is a worker, or the first node where there is none.
func (r *reader) sample() *corev1.Node {
	for i := range r.nodes {
		if !isControlPlane(&r.nodes[i]) {
			return &r.nodes[i]
		}
	}
	return &r.nodes[0]
}
