package scenarios

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Default returns a scenario in which every optional field has its default;
// docs/scenarios.md gives the source of each number. Name and versions have
// none. There is no budget by default: whether evictions are held back is a
// decision about the workload, and one that changes the verdict.
func Default() Scenario {
	return Scenario{
		Cluster: Cluster{Driver: DriverSim, ControlPlanes: 1, Workers: 3, Network: NetworkFlannel},
		Canary: Canary{
			Replicas: 3, BodyBytes: 1024,
			// A balancer drops an instance after three failed checks two seconds
			// apart; the canary must serve on beyond that.
			ShutdownDelay: D(10 * time.Second),
			GracePeriod:   D(10 * time.Second),
		},
		Load: Load{
			Rate: 200, Lanes: []string{LaneNew, LaneReused}, Timeout: D(5 * time.Second),
			Warmup: D(10 * time.Second), Baseline: D(60 * time.Second), Settle: D(30 * time.Second),
		},
		Upgrade: Upgrade{
			Strategy:             StrategyInPlace,
			MaxUnavailable:       1,
			ControlPlaneInterval: D(15 * time.Second),
			NodeInterval:         D(15 * time.Second),
			DrainTimeout:         D(15 * time.Minute),
			PostDrainDelay:       D(5 * time.Second),
			OnStall:              OnStallFail,
			StallTimeout:         D(5 * time.Minute),
			ValidationTimeout:    D(15 * time.Minute),
			Validations:          2,
			ValidationInterval:   D(10 * time.Second),
			ControlPlaneTimeout:  D(15 * time.Minute),
			NodeTimeout:          D(10 * time.Minute),
		},
		Thresholds: Thresholds{
			SuccessRate:   Pct(99.9),
			ErrorIncrease: Pct(0.1),
			LongestOutage: D(time.Second),
			P50Increase:   Pct(10),
			P99Increase:   Pct(25),
			LatencyFloor:  D(2 * time.Millisecond),
			// A single control plane's API must go away while it is replaced, which is
			// measured and shown; only more than one can promise to stay.
			APIAvailability: Percent{Off: true},
		},
	}
}

// DefaultAPIAvailability is the threshold, in percent, where there are several
// control planes.
const DefaultAPIAvailability = 99.5

// DefaultSystemComponents are checked before and after unless the scenario
// names others.
func DefaultSystemComponents(network string) []string {
	all := []string{"coredns", "kube-proxy", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}
	if network == NetworkFlannel {
		return append([]string{"kube-flannel"}, all...)
	}
	return all
}

// derive fills in the defaults that depend on other fields.
func (s *Scenario) derive() {
	if i := s.Upgrade.Interval; i != nil && !i.Auto && i.invalid == "" {
		s.Upgrade = s.Upgrade.WithInterval(i.Duration.Duration)
	}
	s.deriveAgents()
	if s.Upgrade.Strategy == StrategyCommand && s.Upgrade.CommandTimeout == nil {
		d := D(DefaultCommandTimeout)
		s.Upgrade.CommandTimeout = &d
	}
	if s.Checks.SystemComponents == nil {
		s.Checks.SystemComponents = s.Cluster.systemComponents()
	}
}

// systemComponents are checked unless the scenario names others.
func (c *Cluster) systemComponents() []string {
	switch {
	case c.Driver == DriverExisting:
		// What a managed cluster shows too; the rest is for the scenario to name.
		return []string{"coredns", "kube-proxy"}
	case c.RollsItself():
		return c.rolledComponents()
	}
	return DefaultSystemComponents(c.Network)
}

// SetDriver puts another driver in the place of the scenario's. What only the one
// before reads is left out, and so are its defaults.
func (s *Scenario) SetDriver(driver string) {
	byDefault := slices.Equal(s.Checks.SystemComponents, s.Cluster.systemComponents())
	s.Cluster.Driver = driver
	if driver != DriverKops {
		s.Cluster.Kops = nil
	}
	if driver != DriverEKS {
		s.Cluster.EKS = nil
	}
	if byDefault {
		s.Checks.SystemComponents = s.Cluster.systemComponents()
	}
}

// underlay puts the defaults below what each scenario of the document gives, so
// that an explicit zero stays a zero and is judged as such.
func underlay(js []byte) ([]byte, error) {
	var doc map[string]any
	if json.Unmarshal(js, &doc) != nil {
		return js, nil // of another shape: the strict decoder says so
	}
	list, ok := doc["scenarios"].([]any)
	if !ok {
		return js, nil
	}
	b, err := json.Marshal(Default())
	if err != nil {
		return nil, fmt.Errorf("defaults: %w", err)
	}
	for _, given := range list {
		hops(given)
		rolledDefaults(given)
		judgesAPI := has(given, "thresholds", "apiAvailability")
		var defaults map[string]any
		if err := json.Unmarshal(b, &defaults); err != nil {
			return nil, fmt.Errorf("defaults: %w", err)
		}
		delete(defaults, "name")
		delete(defaults, "versions")
		fill(given, defaults)
		if !judgesAPI {
			judgeAPI(given)
		}
	}
	return json.Marshal(doc)
}

// hops turns versions that are given as a list into from, via and to.
func hops(given any) {
	s, _ := given.(map[string]any)
	list, ok := s["versions"].([]any)
	if !ok || len(list) == 0 {
		return
	}
	last := len(list) - 1
	v := map[string]any{"from": list[0]}
	if last > 0 {
		v["to"] = list[last]
	}
	if last > 1 {
		v["via"] = list[1:last]
	}
	s["versions"] = v
}

// judgeAPI sets the default of the API's availability that several control
// planes have.
func judgeAPI(given any) {
	s, _ := given.(map[string]any)
	shape, _ := s["cluster"].(map[string]any)
	thresholds, _ := s["thresholds"].(map[string]any)
	if n, ok := shape["controlPlanes"].(float64); ok && n > 1 && thresholds != nil {
		thresholds["apiAvailability"] = Pct(DefaultAPIAvailability)
	}
}

// has tells whether the document gives a value at the path.
func has(given any, path ...string) bool {
	for _, key := range path {
		m, ok := given.(map[string]any)
		if !ok || m[key] == nil {
			return false
		}
		given = m[key]
	}
	return true
}

func fill(given, defaults any) {
	g, ok1 := given.(map[string]any)
	d, ok2 := defaults.(map[string]any)
	if !ok1 || !ok2 {
		return
	}
	for k, v := range d {
		if v == nil {
			continue
		}
		if g[k] == nil {
			g[k] = v
			continue
		}
		fill(g[k], v)
	}
}
